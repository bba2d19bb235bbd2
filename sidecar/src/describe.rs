//! The reference of the file behind `--config`, from its types: the page `docs/standalone.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::check::{described, kinds, resolve, schema};

const INTRODUCTION: &str = include_str!("describe/intro.md");

/// The page.
pub fn page() -> String {
    let root = schema();
    let mut page = format!("{INTRODUCTION}\n## Fields\n");
    let mut waiting = Vec::new();
    section(&mut page, &root, &root, &mut waiting);
    let mut told = BTreeSet::new();
    // In the order in which they are mentioned first.
    let mut at = 0;
    while let Some(name) = waiting.get(at).cloned() {
        at += 1;
        if !told.insert(name.clone()) {
            continue;
        }
        if let Some(schema) = root.pointer(&format!("/$defs/{name}")) {
            let _ = write!(page, "\n### {name}\n\n{}\n", prose(schema));
            section(&mut page, &root, schema, &mut waiting);
        }
    }
    page
}

/// What one type holds.
fn section(page: &mut String, root: &Value, schema: &Value, waiting: &mut Vec<String>) {
    if let Some(branches) = list(schema, "oneOf") {
        let is_words = branches.iter().all(|it| it.get("const").is_some());
        if is_words {
            let _ = writeln!(page, "\n| value | meaning |\n| --- | --- |");
        }
        for branch in branches {
            if let Some(word) = branch.get("const").and_then(Value::as_str) {
                let _ = writeln!(page, "| `{word}` | {} |", cell(branch));
                continue;
            }
            let tag = branch.pointer("/properties/type/const").and_then(Value::as_str).unwrap_or_default();
            let _ = write!(page, "\n`type: {tag}`: {}\n", prose(branch));
            table(page, root, branch, waiting);
        }
    } else if let Some(branches) = list(schema, "anyOf") {
        let _ = writeln!(page);
        for branch in branches {
            let _ = writeln!(page, "* {}: {}", described(branch, &kinds(branch)), cell(branch));
        }
    } else if let Some(words) = list(schema, "enum") {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|it| format!("`{it}`")).collect();
        let _ = writeln!(page, "\nOne of {}.", words.join(", "));
    } else {
        table(page, root, schema, waiting);
    }
}

fn table(page: &mut String, root: &Value, schema: &Value, waiting: &mut Vec<String>) {
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<&str> =
        list(schema, "required").into_iter().flatten().filter_map(Value::as_str).collect();
    let shown: Vec<_> = fields.iter().filter(|(_, of)| of.get("const").is_none()).collect();
    if shown.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n| field | kind | needed | meaning |\n| --- | --- | --- | --- |");
    for (name, of) in shown {
        let needed = if required.contains(&&**name) { "yes" } else { "" };
        let meaning = if of.get("description").is_some() { cell(of) } else { cell(resolve(root, of)) };
        let _ = writeln!(page, "| `{name}` | {} | {needed} | {meaning} |", kind(of, waiting));
    }
}

/// Of a field, with a link to the type it has.
fn kind(schema: &Value, waiting: &mut Vec<String>) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.rsplit('/').next()) {
        waiting.push(name.to_owned());
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(branches) = list(schema, "anyOf") {
        let named: Vec<String> =
            branches.iter().filter(|it| kinds(it) != ["null"]).map(|it| kind(it, waiting)).collect();
        return named.join(" or ");
    }
    if let Some(items) = schema.get("items") {
        return format!("list of {}", kind(items, waiting));
    }
    if schema.get("format").and_then(Value::as_str) == Some("socket-address") {
        return "address and port".to_owned();
    }
    described(schema, &kinds(schema))
}

fn list<'a>(schema: &'a Value, name: &str) -> Option<&'a [Value]> {
    schema.get(name).and_then(Value::as_array).map(Vec::as_slice)
}

fn prose(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    plain(text)
}

fn cell(schema: &Value) -> String {
    prose(schema).replace('\n', " ").replace('|', "\\|")
}

/// Links within the sources become names: ``[`Caller::header_values`]`` is `Caller.headerValues` in the file.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((link, tail)) = after.split_once("`]") else { break };
        out.push_str(before);
        let _ = write!(out, "`{}`", name(link));
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn name(link: &str) -> String {
    let path: Vec<&str> =
        link.split("::").filter(|part| !matches!(*part, "crate" | "super" | "policy" | "settings")).collect();
    let field = |part: &&str| {
        let mut words = part.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| {
            let (head, tail) = word.split_at_checked(1).unwrap_or((word, ""));
            name + &head.to_uppercase() + tail
        })
    };
    path.iter().map(field).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_every_field_and_every_value() {
        let (page, root) = (page(), schema());
        let mut fields = 0;
        let types = root.get("$defs").and_then(Value::as_object).unwrap().values().chain([&root]);
        for schema in types {
            let branches = list(schema, "oneOf").map_or_else(|| vec![schema], |all| all.iter().collect());
            for branch in branches {
                if let Some(word) = branch.get("const").and_then(Value::as_str) {
                    assert!(page.contains(&format!("| `{word}` | ")), "{word}");
                }
                for (name, of) in branch.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    fields += 1;
                    let is_told = page.contains(&format!("| `{name}` | ")) || of.get("const").is_some();
                    assert!(is_told, "{name}");
                }
            }
        }
        assert!(fields > 60, "{fields}");
        assert!(
            !page.contains("[`") && !page.contains("|  |\n"),
            "links are names, and everything has a meaning"
        );
    }

    #[test]
    fn the_example_of_the_page_is_a_configuration() {
        let example = INTRODUCTION.split("```").nth(1).unwrap().strip_prefix("yaml\n").unwrap();
        let written: postern_config::standalone::Standalone = serde_yaml::from_str(example).unwrap();
        assert_eq!(written.files.roots.len(), 1);
    }
}
