//! Literals of the Common Expression Language.

use std::fmt::Write as _;

use serde_json::Value;

/// A string: single quotes, with everything escaped that would end it.
pub fn string(text: &str) -> String {
    let mut literal = String::from("'");
    for character in text.chars() {
        match character {
            '\'' | '\\' => literal.extend(['\\', character]),
            control if control.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(literal, "\\U{:08x}", u32::from(control));
            }
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

/// A list of strings.
pub fn strings<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| string(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// Any JSON value, of type `dyn`. The API server wants all items of a list or map to have one type; `dyn` around
/// each of them makes it so.
pub fn dynamic(value: &Value) -> String {
    format!("dyn({})", literal(value))
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            strings(items.iter().filter_map(Value::as_str))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(dynamic).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", string(key), dynamic(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_by_table() {
        for (value, expected) in [
            (json!("a"), "dyn('a')"),
            (json!("it's \\ \n"), r"dyn('it\'s \\ \U0000000a')"),
            (json!(true), "dyn(true)"),
            (json!(-1), "dyn(-1)"),
            (json!(["a", "b"]), "dyn(['a', 'b'])"),
            (json!([]), "dyn([])"),
            (json!([1, "b"]), "dyn([dyn(1), dyn('b')])"),
            (json!({"a": {"b": 1}}), "dyn({'a': dyn({'b': dyn(1)})})"),
        ] {
            assert_eq!(dynamic(&value), expected);
        }
    }
}
