//! What holds for the generated schemas as a whole, and one case for each rule.

use std::collections::BTreeSet;
use std::path::Path;

use kube::core::cel::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Reason;
use crate::manifest::{Manifest, manifests};

mod api_server;

/// An entry of `testdata/accepted.yaml` or `testdata/refused.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "case")]
    name: String,
    #[serde(default)]
    answer: String,
    #[serde(default)]
    before: Option<Value>,
    object: Value,
}

fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(file);
    let mut cases: Vec<Case> = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in &mut cases {
        if case.object["metadata"].is_null() {
            case.object["metadata"] = json!({"name": "x"});
        }
    }
    cases
}

/// The resources that the README and the pages in `docs/` show.
fn examples() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages: Vec<_> =
        std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.push(root.join("README.md"));
    let mut found = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let ours = blocks.filter(|block| block.contains("apiVersion: postern.dev/"));
        for (number, text) in ours.flat_map(|block| block.split("\n---\n")).enumerate() {
            let name = format!("{}, resource {}", page.display(), number + 1);
            let mut object: Value = serde_yaml::from_str(text).unwrap();
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            found.push(Case { name, answer: String::new(), before: None, object });
        }
    }
    found
}

#[test]
fn the_pages_show_what_the_schemas_accept() {
    let examples = examples();
    assert!(examples.len() >= 8, "{} examples", examples.len());
    for case in examples {
        let found = answers(&case.object, None);
        assert!(found.is_empty(), "{}: {found:?}", case.name);
        // The schemas would drop a field that they don't know; the types say so.
        let spec = case.object["spec"].clone();
        let read = match case.object["kind"].as_str() {
            Some("BackendTrust") => serde_json::from_value::<crate::BackendTrustSpec>(spec).map(drop),
            _ => serde_json::from_value::<crate::ApiRouteSpec>(spec).map(drop),
        };
        assert!(read.is_ok(), "{}: {read:?}", case.name);
    }
}

fn schema(manifest: &Manifest) -> &Value {
    &manifest.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn schema_of(kind: &str) -> Value {
    let manifests = manifests().unwrap();
    let manifest = manifests.iter().find(|m| m.crd["spec"]["names"]["kind"] == kind);
    schema(manifest.unwrap()).clone()
}

/// Calls `see` with the path of each schema below `schema`.
fn walk(path: &str, schema: &Value, see: &mut dyn FnMut(&str, &Value)) {
    see(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, see);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            walk(&format!("{path}[]"), &schema[inner], see);
        }
    }
}

fn answers(object: &Value, before: Option<&Value>) -> Vec<String> {
    let schema = schema_of(object["kind"].as_str().unwrap());
    match Validator::new().validate(&schema, object, before) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_value_is_bounded_and_nothing_has_a_default() {
    for manifest in manifests().unwrap() {
        walk(manifest.plural, schema(&manifest), &mut |path, schema| {
            let bounded = match schema["type"].as_str() {
                Some("string") => {
                    schema["maxLength"].is_u64()
                        || schema["enum"].is_array()
                        || schema["format"] == "date-time"
                }
                Some("array") => schema["maxItems"].is_u64(),
                Some("object") => {
                    schema["additionalProperties"].is_null() || schema["maxProperties"].is_u64()
                }
                Some("integer") => schema["format"].is_string(),
                Some("boolean") => true,
                None => schema["maxLength"].is_u64() && schema["maximum"].is_u64(),
                Some(other) => panic!("{path} has the unexpected type {other}"),
            };
            assert!(bounded, "{path} has no bound: {schema}");
            for keyword in [
                "default",
                "nullable",
                "anyOf",
                "oneOf",
                "allOf",
                "not",
                "x-kubernetes-preserve-unknown-fields",
            ] {
                assert!(schema[keyword].is_null(), "{path} has {keyword}: {schema}");
            }
            if schema["type"] == "array" {
                assert!(schema["x-kubernetes-list-type"].is_string(), "{path} doesn't say how lists merge");
            }
        });
    }
}

#[test]
fn every_field_is_described_and_every_rule_says_what_to_write() {
    for manifest in manifests().unwrap() {
        walk(manifest.plural, schema(&manifest), &mut |path, schema| {
            if !path.ends_with("[]") {
                let description = schema["description"].as_str().unwrap_or_default();
                assert!(description.ends_with('.'), "{path} is not described by a sentence: {description:?}");
            }
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap_or_default();
                let remedy = ["write", "leave", "create", "give each", "let the application", "narrow"];
                assert!(remedy.iter().any(|word| message.contains(word)), "{path}: no remedy in {message:?}");
            }
        });
    }
}

#[test]
fn what_makes_sense_is_accepted() {
    for case in cases("accepted.yaml") {
        assert_eq!(answers(&case.object, None), Vec::<String>::new(), "{}", case.name);
        match case.object["kind"].as_str() {
            Some("BackendTrust") => drop(serde_json::from_value::<crate::BackendTrust>(case.object).unwrap()),
            _ => drop(serde_json::from_value::<crate::ApiRoute>(case.object).unwrap()),
        }
    }
}

/// Bounds, types and enums are the API server's own work; what they refuse is tested there. Here: each rule.
#[test]
fn every_rule_refuses_its_case() {
    let mut rules = BTreeSet::new();
    for manifest in manifests().unwrap() {
        walk(manifest.plural, schema(&manifest), &mut |_, schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                rules.insert(rule["message"].as_str().unwrap().to_owned());
            }
        });
    }
    let mut refuted = BTreeSet::new();
    for case in cases("refused.yaml") {
        let meant: Vec<_> = rules.iter().filter(|message| message.contains(&case.answer)).cloned().collect();
        if meant.is_empty() {
            continue;
        }
        let before = case.before.map(|spec| {
            let mut before = case.object.clone();
            before["spec"] = spec;
            before
        });
        let answers = answers(&case.object, before.as_ref());
        assert!(
            answers.iter().any(|answer| answer.contains(&case.answer)),
            "{}: expected {:?}, got {answers:?}",
            case.name,
            case.answer
        );
        refuted.extend(meant);
    }
    let untested: Vec<_> = rules.difference(&refuted).collect();
    assert!(untested.is_empty(), "no case in testdata/refused.yaml for: {untested:#?}");
}

#[test]
fn the_reserved_ports_are_those_of_the_sidecar() {
    let rules = schema_of("BackendTrust");
    let port = &rules["properties"]["spec"]["properties"]["ports"]["items"]["properties"]["port"];
    let list: Vec<_> = postern_config::layout::OWN_PORTS.iter().map(|port| format!("'{port}'")).collect();
    let list = format!("string(self) in [{}]", list.join(", "));
    assert!(port.to_string().contains(&list), "{list} is not what the rule refuses: {port}");
}

#[test]
fn a_reason_is_a_word_with_a_cause_and_a_remedy() {
    let mut seen = BTreeSet::new();
    for reason in Reason::ALL {
        assert!(seen.insert(reason.as_str()), "{reason} occurs twice");
        assert!(reason.cause().ends_with('.') && reason.remedy().ends_with('.'), "{reason}");
        assert!(!reason.conditions().is_empty(), "{reason} is of no condition");
    }
}
