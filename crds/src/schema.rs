//! Schemas of single values: bounds, and rules whose messages say what to write instead.
//!
//! The rules are CEL and not `pattern`, since the message of a failed pattern is the pattern.

mod certificates;
mod http;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(crate) use certificates::{caller_names, fingerprint, fingerprints, san_value, subject};
pub(crate) use http::{header_name, hostnames, method, open_paths, path};

/// A DNS label (RFC 1123), lower case.
const LABEL: &str = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";

/// A text of 1 to `max` characters with rules, each an expression over `self` and a message.
fn text(max: usize, rules: &[(String, &str)]) -> Schema {
    let rules: Vec<_> =
        rules.iter().map(|(rule, message)| serde_json::json!({"rule": rule, "message": message})).collect();
    json_schema!({"type": "string", "minLength": 1, "maxLength": max, "x-kubernetes-validations": rules})
}

fn matches(pattern: &str) -> String {
    format!("self.matches(r'^{pattern}$')")
}

/// One of the values of an enum; as the schema of an optional field it lets the field keep its own description.
pub(crate) fn one_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// The name of an object that may hold dots.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(
        crate::limits::NAME,
        &[(
            matches(&format!(r"{LABEL}(\.{LABEL})*")),
            "write the object's name: lower-case letters, digits, '-' and '.', \
             beginning and ending with a letter or a digit",
        )],
    )
}

/// The name of a gateway.
pub(crate) fn gateway_name(_: &mut SchemaGenerator) -> Schema {
    text(
        crate::limits::NAME,
        &[(
            matches(LABEL),
            "write the gateway's name from the chart's values: lower-case letters, digits and '-', \
             beginning and ending with a letter or a digit",
        )],
    )
}

/// The name of a Service.
pub(crate) fn service_name(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        &[(
            matches(LABEL),
            "write the name of a Service in this namespace, without the namespace and without a domain",
        )],
    )
}

/// The name of a rule.
pub(crate) fn rule_name(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        &[(
            matches(LABEL),
            "write lower-case letters, digits and '-', beginning and ending with a letter or a digit",
        )],
    )
}

/// Why a port is open.
pub(crate) fn open_reason(_: &mut SchemaGenerator) -> Schema {
    text(
        256,
        &[(
            "self.matches('[^ ]') && !self.matches('[[:cntrl:]]')".to_owned(),
            "write in one line, without control characters, why everybody may call this port",
        )],
    )
}

/// A container port, by number or name. The names are those that Kubernetes gives container ports.
pub(crate) fn container_port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minLength": 1,
        "maxLength": 15,
        "minimum": 1,
        "maximum": 65535,
        "x-kubernetes-validations": [
            {
                "rule": "string(self).matches('^[0-9]+$') ? self != string(self) : \
                         string(self).matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') \
                         && string(self).matches('[a-z]') && !string(self).contains('--')",
                "message": "write the port's number without quotes, or the name of a container port: lower-case \
                            letters, digits and single '-', with at least one letter",
            },
            {
                "rule": "!(string(self) in ['15100', '15110', '15120', '15130'])",
                "message": "the ports 15100, 15110, 15120 and 15130 are the sidecar's own: \
                            let the application listen on another port and name that one",
            },
        ],
    })
}

/// A label's key.
pub(crate) fn label_key(_: &mut SchemaGenerator) -> Schema {
    text(
        317,
        &[(
            "!format.qualifiedName().validate(self).hasValue()".to_owned(),
            "write a label's key: an optional DNS prefix and '/', \
             then at most 63 letters, digits, '-', '_' and '.'",
        )],
    )
}

/// Values of a requirement on a label.
pub(crate) fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "string",
            "maxLength": 63,
            "x-kubernetes-validations": [{
                "rule": "!format.labelValue().validate(self).hasValue()",
                "message": "write a label's value: at most 63 letters, digits, '-', '_' and '.', \
                            beginning and ending with a letter or a digit",
            }],
        },
    })
}

/// Labels with their values.
pub(crate) fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [
            {
                "rule": "self.all(key, key.size() <= 317 && !format.qualifiedName().validate(key).hasValue())",
                "message": "a key is not a label's key: write an optional DNS prefix and '/', \
                            then at most 63 letters, digits, '-', '_' and '.'",
            },
            {
                "rule": "self.all(key, !format.labelValue().validate(self[key]).hasValue())",
                "message": "a value is not a label's value: write at most 63 letters, digits, '-', '_' and '.', \
                            beginning and ending with a letter or a digit",
            },
        ],
    })
}

/// A point in time, RFC 3339.
pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// A length of time from `MIN` to `MAX` hours.
pub(crate) fn duration<const MIN: u32, const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    let least = if MIN == 0 { "0s".to_owned() } else { format!("{MIN}h") };
    text(
        16,
        &[(
            format!(
                "self.matches('^([0-9]+[hms])+$') && duration(self) >= duration('{least}') \
                 && duration(self) <= duration('{MAX}h')"
            ),
            &format!(
                "write a time from {least} to {MAX}h in whole hours, minutes and seconds, such as {MAX}h"
            ),
        )],
    )
}

/// A length of time of `MIN` to `MAX` seconds.
pub(crate) fn seconds<const MIN: u32, const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    text(
        16,
        &[(
            format!(
                "self.matches('^([0-9]+[hms])+$') && duration(self) >= duration('{MIN}s') \
                 && duration(self) <= duration('{MAX}s')"
            ),
            &format!(
                "write a time from {MIN}s to {MAX}s in whole hours, minutes and seconds, such as {MAX}s"
            ),
        )],
    )
}

/// Cores of a container.
pub(crate) fn cpu(_: &mut SchemaGenerator) -> Schema {
    text(
        8,
        &[(
            matches("([1-9][0-9]{0,2}|[1-9][0-9]{0,5}m)"),
            "write whole cores, or thousandths of one with m, such as 1 or 250m",
        )],
    )
}

/// Memory of a container.
pub(crate) fn memory(_: &mut SchemaGenerator) -> Schema {
    text(
        8,
        &[(
            matches("([1-9][0-9]{0,4}Gi|[1-9][0-9]{2,4}Mi|1[6-9]Mi|[2-9][0-9]Mi)"),
            "write at least 16Mi, with the unit Mi or Gi, such as 64Mi",
        )],
    )
}

/// Where spans are sent.
pub(crate) fn collector(_: &mut SchemaGenerator) -> Schema {
    text(
        256,
        &[(
            matches(&format!(
                r"http://({LABEL}(\.{LABEL})*|\[[0-9a-fA-F:]+\])(:[1-9][0-9]{{0,4}})?(/[-A-Za-z0-9._~/]*)?"
            )),
            "write a URL of plain HTTP with a host, without user, query and fragment, \
             such as http://collector.observability.svc:4318/v1/traces",
        )],
    )
}

/// An exact DNS name of at least two labels.
pub(crate) fn server_name(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        &[(
            matches(&format!(r"({LABEL}\.)+[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?")),
            "write a whole DNS name in lower case, such as orders.example.com: \
             no address, no port, no wildcard, no dot at the end",
        )],
    )
}

/// Further names of a server certificate.
pub(crate) fn server_names(generator: &mut SchemaGenerator) -> Schema {
    let mut item = server_name(generator);
    if let Some(rules) = item.get_mut("x-kubernetes-validations").and_then(serde_json::Value::as_array_mut) {
        rules.push(serde_json::json!({
            "rule": "!self.endsWith('.svc') && !self.endsWith('.svc.cluster.local') \
                     && !self.endsWith('.postern.internal')",
            "message": "the names of Services are in the certificate by themselves, for those Services alone that \
                        an ApiRoute names, and .postern.internal is Postern's own: write a name of another domain",
        }));
    }
    set(16, &item)
}

/// Several locks, each type at most once.
pub(crate) fn locks(generator: &mut SchemaGenerator) -> Schema {
    let mut item = crate::locks::Lock::json_schema(generator);
    item.remove("$schema");
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 3,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": item,
        "x-kubernetes-validations": [{
            "rule": "!self.exists(l, l.type == 'Caller') || !self.exists(l, l.type in ['MutualTLS', 'Basic'])",
            "message": "a lock of type Caller asks for certificates and credentials by itself: \
                        leave MutualTLS and Basic out beside it",
        }],
    })
}

/// The name of a Secret or a `ConfigMap` of somebody else's.
pub(crate) fn reference_name(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        &[(
            matches(&format!(r"{LABEL}(\.{LABEL})*")),
            "write the name of an object in this namespace: lower-case letters, digits, '-' and '.', \
             beginning and ending with a letter or a digit",
        )],
    )
}

/// A key in the data of a Secret or a `ConfigMap`.
pub(crate) fn data_key(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        &[(
            matches("[-._a-zA-Z0-9]+"),
            "write a key of the object's data: letters, digits, '-', '_' and '.'",
        )],
    )
}

/// A list of at least one value, none of them twice.
fn set(most: usize, item: &Schema) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": most,
        "x-kubernetes-list-type": "set",
        "items": item,
    })
}

/// Whom an ApiRoute may let in.
pub(crate) fn accepted(generator: &mut SchemaGenerator) -> Schema {
    set(4, &crate::locks::Accepted::json_schema(generator))
}

/// Conditions, as `metav1.Condition`.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": crate::limits::CONDITIONS,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One condition.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "What the condition is about."},
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds: `True`, `False` or `Unknown`.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The `metadata.generation` that the condition speaks of.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When `status` last changed.",
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, in one stable word for programs; the reference page explains each.",
                },
                "message": {
                    "type": "string",
                    "maxLength": crate::limits::MESSAGE,
                    "description": "Why, in words, with the objects concerned and what to do.",
                },
            },
        },
    })
}
