//! The CRDs as they are installed.

use kube::CustomResourceExt as _;
use serde_json::{Number, Value};

use crate::{ApiRoute, BackendTrust};

/// A generated text cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A CRD cannot be written as JSON.
    #[error("the CRD {crd} cannot be written as JSON: {source}")]
    Json {
        /// Its kind.
        crd: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
    /// A CRD cannot be written as YAML.
    #[error("the CRD {crd} cannot be written as YAML: {source}")]
    Yaml {
        /// Its name.
        crd: String,
        /// The cause.
        source: serde_yaml::Error,
    },
    /// Helm would take a part of the text for an instruction.
    #[error("the CRD {crd} holds {{{{, which Helm would execute: write the doc comment without it")]
    Template {
        /// Its name.
        crd: String,
    },
}

/// One CRD, with the stem of its files' names.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The plural name, which is also the stem of the files.
    pub plural: &'static str,
    /// The `CustomResourceDefinition`, keys in alphabetical order.
    pub crd: Value,
}

impl Manifest {
    /// The CRD as YAML.
    pub fn yaml(&self) -> Result<String, ManifestError> {
        to_yaml(self.plural, &self.crd)
    }

    /// The CRD as a template of the chart: Helm upgrades it, and keeps it when the release goes, since deleting a
    /// CRD deletes every lock and key of the cluster.
    pub fn chart_template(&self) -> Result<String, ManifestError> {
        let mut crd = self.crd.clone();
        if let Some(metadata) = crd.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.insert("annotations".to_owned(), serde_json::json!({"helm.sh/resource-policy": "keep"}));
        }
        let yaml = to_yaml(self.plural, &sorted(crd))?;
        if yaml.contains("{{") {
            return Err(ManifestError::Template { crd: self.plural.to_owned() });
        }
        Ok(yaml)
    }
}

fn to_yaml(plural: &str, value: &Value) -> Result<String, ManifestError> {
    let yaml = serde_yaml::to_string(value)
        .map_err(|source| ManifestError::Yaml { crd: plural.to_owned(), source })?;
    Ok(format!(
        "# Generated from the Rust types by `cargo run -p postern-crds --bin crdgen`. Do not edit.\n{yaml}"
    ))
}

/// Both CRDs.
pub fn manifests() -> Result<[Manifest; 2], ManifestError> {
    let json = |crd, value: Result<Value, serde_json::Error>| {
        value.map(|value| sorted(tidy(value))).map_err(|source| ManifestError::Json { crd, source })
    };
    Ok([
        Manifest {
            plural: "backendtrusts",
            crd: json("BackendTrust", serde_json::to_value(BackendTrust::crd()))?,
        },
        Manifest { plural: "apiroutes", crd: json("ApiRoute", serde_json::to_value(ApiRoute::crd()))? },
    ])
}

/// The schema as one would write it by hand.
///
/// Nothing is nullable: the API server then drops a null, so that null means absent, and never stores it as a third
/// state. Descriptions run on, since `kubectl explain` breaks lines by itself. Bounds are whole numbers.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, value)| !(key == "nullable" && value.is_boolean()))
            .map(|(key, value)| match (key.as_str(), value) {
                ("description", Value::String(text)) => {
                    let paragraphs: Vec<_> = text.split("\n\n").map(|part| part.replace('\n', " ")).collect();
                    (key, paragraphs.join("\n\n").into())
                }
                (_, value) => (key, tidy(value)),
            })
            .collect(),
        Value::Array(list) => list.into_iter().map(tidy).collect(),
        Value::Number(number) => whole(&number).map_or(Value::Number(number), Value::from),
        other => other,
    }
}

/// `number`, written with a fraction of zero, as an integer.
fn whole(number: &Number) -> Option<i64> {
    number.is_f64().then(|| format!("{number}").strip_suffix(".0")?.parse().ok())?
}

/// Maps in alphabetical order, whichever features of `serde_json` the build has.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.into_iter().collect()
        }
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}
