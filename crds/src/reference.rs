//! The reference page, made from the schemas and the table of reasons.

#![allow(clippy::indexing_slicing, reason = "a JSON value without the key yields null, and no panic")]

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::Reason;
use crate::manifest::Manifest;

/// The page as Markdown.
pub fn page(manifests: &[Manifest]) -> String {
    let mut page = String::from(
        "<!-- Generated from the Rust types by `cargo run -p postern-crds --bin crdgen`. Do not edit. -->\n\
         # Reference\n\n\
         The resources of Postern, group `postern.dev`, version `v1alpha1`. Both are namespaced, and nothing in \
         them refers to another namespace. A field that is absent has its strictest meaning, except `hostnames` \
         and `rules`: absent, they allow any.\n",
    );
    for manifest in manifests {
        kind(&mut page, &manifest.crd);
    }
    reasons(&mut page);
    page
}

fn kind(page: &mut String, crd: &Value) {
    let names = &crd["spec"]["names"];
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let _ = writeln!(page, "\n## {}\n\n{}\n", text(&names["kind"]), text(&schema["description"]));
    let short: Vec<_> = strings(&names["shortNames"]).map(|name| format!("`{name}`")).collect();
    let _ = writeln!(page, "`kubectl get {}`, short {}.", text(&names["plural"]), short.join(", "));
    for selectable in version["selectableFields"].as_array().into_iter().flatten() {
        let path = text(&selectable["jsonPath"]).trim_start_matches('.');
        let _ = writeln!(page, "Selectable by `--field-selector {path}=…`.");
    }
    columns(page, &version["additionalPrinterColumns"]);
    let mut rules = Vec::new();
    collect_rules(&mut rules, "metadata", schema);
    for part in ["spec", "status"] {
        let part_schema = &schema["properties"][part];
        let _ = writeln!(
            page,
            "\n### {}: {part}\n\n| field | type | bounds | meaning |\n| --- | --- | --- | --- |",
            text(&names["kind"])
        );
        fields(page, &mut rules, part, part_schema);
    }
    let _ = writeln!(
        page,
        "\n### {}: rules\n\n| field | what the API server answers | rule (CEL) |\n| --- | --- | --- |",
        text(&names["kind"])
    );
    for (field, message, rule) in rules {
        let _ = writeln!(page, "| `{field}` | {} | `{}` |", cell(&message), cell(&rule));
    }
}

fn columns(page: &mut String, columns: &Value) {
    page.push_str("\n| column | meaning |\n| --- | --- |\n");
    for column in columns.as_array().into_iter().flatten() {
        let wide = if column["priority"].as_i64().unwrap_or(0) > 0 { " (with `-o wide`)" } else { "" };
        let meaning = column["description"].as_str().unwrap_or("Time since it was created");
        let _ = writeln!(page, "| {} | {}{wide} |", text(&column["name"]).to_uppercase(), cell(meaning));
    }
}

/// One row for each property below `path`, depth first.
fn fields(page: &mut String, rules: &mut Vec<(String, String, String)>, path: &str, schema: &Value) {
    collect_rules(rules, path, schema);
    let required: Vec<_> = strings(&schema["required"]).collect();
    for (name, property) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        let path = format!("{path}.{name}");
        let necessity = if required.contains(&name.as_str()) { ", required" } else { "" };
        let _ = writeln!(
            page,
            "| `{path}` | {}{necessity} | {} | {} |",
            kind_of(property),
            bounds(property),
            cell(text(&property["description"]))
        );
        if property["items"].is_object() {
            collect_rules(rules, &path, property);
            fields(page, rules, &format!("{path}[]"), &property["items"]);
        } else {
            fields(page, rules, &path, property);
        }
    }
}

fn collect_rules(rules: &mut Vec<(String, String, String)>, path: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        rules.push((path.to_owned(), text(&rule["message"]).to_owned(), text(&rule["rule"]).to_owned()));
    }
}

/// The type of a value, in words.
fn kind_of(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == Value::Bool(true) {
        return "integer or string".to_owned();
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(|value| format!("`{}`", text(value))).collect();
        return values.join(" or ");
    }
    match (text(&schema["type"]), text(&schema["format"])) {
        ("string", "date-time") => "time (RFC 3339)".to_owned(),
        ("array", _) => {
            let item = kind_of(&schema["items"]);
            let keys: Vec<_> =
                strings(&schema["x-kubernetes-list-map-keys"]).map(|key| format!("`{key}`")).collect();
            match text(&schema["x-kubernetes-list-type"]) {
                "map" => format!("list of {item}, one for each {}", keys.join(" and ")),
                "set" => format!("list of {item}, each once"),
                _ => format!("list of {item}"),
            }
        }
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind_of(&schema["additionalProperties"]))
        }
        (other, _) => other.to_owned(),
    }
}

/// The bounds of a value and of its items, in words.
fn bounds(schema: &Value) -> String {
    let mut parts = Vec::new();
    for (low, high, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        match (number(&schema[low]), number(&schema[high])) {
            (Some(low), Some(high)) => parts.push(format!("{low} to {high}{unit}")),
            (Some(low), None) => parts.push(format!("at least {low}{unit}")),
            (None, Some(high)) => parts.push(format!("at most {high}{unit}")),
            (None, None) => {}
        }
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner["properties"].is_null() && !inner.is_null() {
            let inner = bounds(inner);
            if !inner.is_empty() {
                parts.push(format!("each {inner}"));
            }
        }
    }
    parts.join("; ")
}

fn reasons(page: &mut String) {
    page.push_str(
        "\n## Reasons\n\n\
         A condition's `reason` is one of these stable words; its `message` names the objects concerned. `Ready` has \
         the reason of the condition that it waits for.\n\n\
         | reason | conditions | meaning | what to do |\n| --- | --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        let conditions: Vec<_> = reason.conditions().iter().map(|on| on.as_str()).collect();
        let _ = writeln!(
            page,
            "| `{reason}` | {} | {} | {} |",
            conditions.join(", "),
            cell(reason.cause()),
            cell(reason.remedy())
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Bounds come as floating point from the CRD's types.
fn number(value: &Value) -> Option<String> {
    value.as_f64().map(|number| number.to_string())
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
