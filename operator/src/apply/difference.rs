//! Whether an object differs from what was rendered, so that an apply would change it.

use serde_json::{Map, Value};

use super::FIELD_MANAGER;

/// True if a field of `desired` is missing or another in `existing`, or if `existing` still has a field that
/// Postern applied once and renders no longer. Fields of others and server-side defaults don't count.
pub fn differs(existing: &Value, desired: &Value) -> bool {
    !covers(existing, desired) || has_leftovers(existing, desired)
}

/// Whether every field of `desired` is in `existing` with that value. What the API server leaves out
/// (nulls, empty maps and lists) equals what is not there.
fn covers(existing: &Value, desired: &Value) -> bool {
    match (existing, desired) {
        (Value::Object(existing), Value::Object(desired)) => desired.iter().all(|(key, wanted)| {
            existing.get(key).map_or_else(|| is_empty(wanted), |found| covers(found, wanted))
        }),
        (Value::Array(existing), Value::Array(desired)) => {
            existing.len() == desired.len()
                && existing.iter().zip(desired).all(|(found, wanted)| covers(found, wanted))
        }
        (existing, desired) => existing == desired,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// `metadata.managedFields` tells what our last apply set.
fn has_leftovers(existing: &Value, desired: &Value) -> bool {
    let entries = existing.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        text("manager") == Some(FIELD_MANAGER)
            && text("operation") == Some("Apply")
            && text("subresource").is_none_or(str::is_empty)
            && entry.get("fieldsV1").and_then(Value::as_object).is_some_and(|owned| owns_more(owned, desired))
    })
}

/// Whether `owned` (a `fieldsV1` map) names a field that `desired` lacks. List items by key (`k:`) are
/// covered by the comparison of whole lists.
fn owns_more(owned: &Map<String, Value>, desired: &Value) -> bool {
    owned.iter().any(|(path, below)| {
        let Some(field) = path.strip_prefix("f:") else { return false };
        let Some(kept) = desired.get(field) else { return true };
        below.as_object().is_some_and(|below| owns_more(below, kept))
    })
}
