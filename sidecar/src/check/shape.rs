//! The file against the schema of its types: as much of JSON Schema as they need.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use postern_config::standalone::Standalone;
use serde_json::Value;

use super::Faults;
use super::tree::{Kind, Node};

/// What the types say.
pub(crate) fn schema() -> Value {
    schemars::schema_for!(Standalone).to_value()
}

/// Finds everything that is not as the types want it.
pub(super) fn judge(tree: &Node, faults: &mut Faults<'_>) {
    let root = schema();
    Judge { root: &root, faults }.value(tree, &root, "");
}

struct Judge<'a, 'b, 'c> {
    root: &'a Value,
    faults: &'b mut Faults<'c>,
}

impl<'a> Judge<'a, '_, '_> {
    fn value(&mut self, node: &Node, schema: &'a Value, path: &str) {
        let schema = resolve(self.root, schema);
        if let Some(branches) = list(schema, "oneOf") {
            return self.one_of(node, branches, path);
        }
        if let Some(branches) = list(schema, "anyOf") {
            return self.any_of(node, branches, path);
        }
        if let Some(names) = list(schema, "enum") {
            return self.word(node, &names.iter().filter_map(Value::as_str).collect::<Vec<_>>(), path);
        }
        let kinds = kinds(schema);
        if !kinds.iter().any(|kind| is_of(node, kind)) {
            let wanted = described(schema, &kinds);
            return self.faults.at(
                node,
                path,
                format!("this is {}, and should be {wanted}", named(&node.kind)),
            );
        }
        match &node.kind {
            Kind::Map(members) => self.members(node, members, schema, path),
            Kind::List(items) => {
                if let Some(of) = schema.get("items") {
                    for (at, item) in items.iter().enumerate() {
                        self.value(item, of, &format!("{path}[{at}]"));
                    }
                }
            }
            Kind::Integer(number) => {
                let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
                let is_within = bound("minimum").is_none_or(|least| *number >= least)
                    && bound("maximum").is_none_or(|most| *number <= most);
                if !is_within {
                    self.faults.at(node, path, format!("{number} is not {}", described(schema, &kinds)));
                }
            }
            Kind::Text(text) => {
                let is_address = schema.get("format").and_then(Value::as_str) == Some("socket-address");
                if is_address && text.parse::<SocketAddr>().is_err() {
                    let remedy = "write an IP address and a port, such as 127.0.0.1:8443 or \"[::]:8443\"";
                    self.faults.at(
                        node,
                        path,
                        format!("{text:?} is no address to listen on or to call; {remedy}"),
                    );
                }
            }
            Kind::Null | Kind::Bool | Kind::Number => {}
        }
    }

    fn members(
        &mut self,
        node: &Node,
        members: &[(String, super::tree::Place, Node)],
        schema: &'a Value,
        path: &str,
    ) {
        let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
        let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let mut seen = BTreeSet::new();
        for (key, place, value) in members {
            if !seen.insert(key) {
                self.faults.add(Some(*place), format!("{}: it is there twice; remove one", inner(key)));
            }
            if let Some(of) = known.get(key) {
                self.value(value, of, &inner(key));
            } else {
                let names = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let message = format!("{}: there is no such field; here may stand {names}", inner(key));
                self.faults.add(Some(*place), message);
            }
        }
        for name in list(schema, "required").into_iter().flatten().filter_map(Value::as_str) {
            if !members.iter().any(|(key, ..)| key == name) {
                let meaning =
                    known.get(name).map(|of| resolve_description(self.root, of)).unwrap_or_default();
                self.faults.at(node, &inner(name), format!("it is missing; write it: {meaning}"));
            }
        }
    }

    /// A word of several, or an object whose `type` says which of several it is.
    fn one_of(&mut self, node: &Node, branches: &'a [Value], path: &str) {
        let words: Vec<&str> = branches.iter().filter_map(|it| it.get("const")?.as_str()).collect();
        if words.len() == branches.len() {
            return self.word(node, &words, path);
        }
        let tag = |branch: &'a Value| branch.pointer("/properties/type/const").and_then(Value::as_str);
        let tags: Vec<&str> = branches.iter().filter_map(tag).collect();
        let Kind::Map(_) = node.kind else {
            let message = format!(
                "this is {}, and should be a map whose type is one of {}",
                named(&node.kind),
                tags.join(", ")
            );
            return self.faults.at(node, path, message);
        };
        let inner = format!("{path}.type");
        match node.get("type") {
            None => self.faults.at(node, &inner, format!("it is missing; write one of {}", tags.join(", "))),
            Some(written) => match branches
                .iter()
                .find(|it| matches!(&written.kind, Kind::Text(text) if tag(it) == Some(text)))
            {
                Some(branch) => self.value(node, branch, path),
                None => self.word(written, &tags, &inner),
            },
        }
    }

    /// Of another kind each, so that the value says which of them is meant.
    fn any_of(&mut self, node: &Node, branches: &'a [Value], path: &str) {
        let resolved: Vec<&Value> = branches.iter().map(|it| resolve(self.root, it)).collect();
        let is_meant = |schema: &&Value| {
            let is_union = schema.get("oneOf").is_some() || schema.get("enum").is_some();
            is_union && !matches!(node.kind, Kind::Null) || kinds(schema).iter().any(|kind| is_of(node, kind))
        };
        if let Some(branch) = resolved.iter().copied().find(is_meant) {
            return self.value(node, branch, path);
        }
        let wanted: Vec<String> =
            resolved.iter().filter(|it| kinds(it) != ["null"]).map(|it| described(it, &kinds(it))).collect();
        let message = format!("this is {}, and should be {}", named(&node.kind), wanted.join(", or "));
        self.faults.at(node, path, message);
    }

    fn word(&mut self, node: &Node, words: &[&str], path: &str) {
        let found = match &node.kind {
            Kind::Text(text) if words.contains(&&**text) => return,
            Kind::Text(text) => format!("{text:?}"),
            other => named(other).to_owned(),
        };
        self.faults.at(node, path, format!("{found} is none of {}", words.join(", ")));
    }
}

/// Follows a reference to a named type.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The first line of what a field means.
fn resolve_description(root: &Value, schema: &Value) -> String {
    let own = schema.get("description").or_else(|| resolve(root, schema).get("description"));
    let text = own.and_then(Value::as_str).unwrap_or_default();
    text.split("\n\n").next().unwrap_or_default().replace('\n', " ")
}

fn list<'a>(schema: &'a Value, name: &str) -> Option<&'a [Value]> {
    schema.get(name).and_then(Value::as_array).map(Vec::as_slice)
}

pub(crate) fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of(node: &Node, kind: &str) -> bool {
    match &node.kind {
        Kind::Null => kind == "null",
        Kind::Bool => kind == "boolean",
        Kind::Integer(_) => kind == "integer" || kind == "number",
        Kind::Number => kind == "number",
        Kind::Text(_) => kind == "string",
        Kind::List(_) => kind == "array",
        Kind::Map(_) => kind == "object",
    }
}

const fn named(kind: &Kind) -> &'static str {
    match kind {
        Kind::Null => "nothing",
        Kind::Bool => "true or false",
        Kind::Integer(_) | Kind::Number => "a number",
        Kind::Text(_) => "text",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a map",
    }
}

pub(crate) fn described(schema: &Value, kinds: &[&str]) -> String {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
    let one = |kind: &&str| match *kind {
        "integer" => match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            (Some(least), None) => format!("a whole number from {least} on"),
            _ => "a whole number".to_owned(),
        },
        "number" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        "array" => "a list".to_owned(),
        "object" => "a map".to_owned(),
        other => other.to_owned(),
    };
    kinds.iter().filter(|kind| **kind != "null").map(one).collect::<Vec<_>>().join(" or ")
}
