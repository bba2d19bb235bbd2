//! A label selector as CEL, for the one question that a Binding leaves open: it holds for a request if the pod
//! *or* what it was before is selected, and not which of the two.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::cel;

/// An expression that is true if `selector` selects the pod `object`, which must not be null. An operator that
/// Kubernetes doesn't have selects nothing.
pub fn selects(selector: &LabelSelector, object: &str) -> String {
    let label = |key: &str| format!("{object}.metadata.?labels[?{}]", cel::string(key));
    let is_in = |label: &str, values: &[String]| {
        format!("({label}.hasValue() && {label}.value() in {})", cel::strings(values))
    };
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| is_in(&label(key), std::slice::from_ref(value)));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let label = label(&expression.key);
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" => is_in(&label, values),
            "NotIn" => format!("!{}", is_in(&label, values)),
            "Exists" => format!("{label}.hasValue()"),
            "DoesNotExist" => format!("!{label}.hasValue()"),
            _ => "false".to_owned(),
        }
    });
    let all: Vec<_> = labels.chain(expressions).collect();
    if all.is_empty() { "true".to_owned() } else { all.join("\n&& ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_operator_says_what_kubernetes_means_by_it() {
        let expression =
            |operator: &str, values: &[&str]| json!({"key": "k", "operator": operator, "values": values});
        for (selector, expected) in [
            (
                json!({"matchLabels": {"k": "it's"}}),
                r"(o.metadata.?labels[?'k'].hasValue() && o.metadata.?labels[?'k'].value() in ['it\'s'])",
            ),
            (
                json!({"matchExpressions": [expression("In", &["a", ""])]}),
                "(o.metadata.?labels[?'k'].hasValue() && o.metadata.?labels[?'k'].value() in ['a', ''])",
            ),
            (
                json!({"matchExpressions": [expression("NotIn", &["a"])]}),
                "!(o.metadata.?labels[?'k'].hasValue() && o.metadata.?labels[?'k'].value() in ['a'])",
            ),
            (
                json!({"matchExpressions": [expression("Exists", &[]), expression("DoesNotExist", &[])]}),
                "o.metadata.?labels[?'k'].hasValue()\n&& !o.metadata.?labels[?'k'].hasValue()",
            ),
            (json!({"matchExpressions": [expression("Like", &["a"])]}), "false"),
            (json!({}), "true"),
        ] {
            let selector: LabelSelector = serde_json::from_value(selector).unwrap();
            assert_eq!(selects(&selector, "o"), expected);
        }
    }
}
