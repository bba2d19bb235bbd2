//! What the injected containers ask of their node: the administrator's amounts, and the lock's in their place.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use postern_crds::sidecar::{Amounts, Resources};

type Quantities = BTreeMap<String, Quantity>;

/// Requests and limits of each injected container. A pod whose request is above its limit could not be created: where
/// only one of the two is the lock's own, the other gives way.
pub fn of(administrators: &ResourceRequirements, locks: Option<&Resources>) -> ResourceRequirements {
    let mut merged = administrators.clone();
    let Some(locks) = locks else { return merged };
    let (mut requests, mut limits) =
        (merged.requests.take().unwrap_or_default(), merged.limits.take().unwrap_or_default());
    let (own_requests, own_limits) = (amounts(locks.requests.as_ref()), amounts(locks.limits.as_ref()));
    requests.extend(own_requests.clone());
    limits.extend(own_limits.clone());
    for (name, limit) in &mut limits {
        let Some(request) = requests.get_mut(name) else { continue };
        if milli(request).zip(milli(limit)).is_none_or(|(request, limit)| request <= limit) {
            continue;
        }
        if own_limits.contains_key(name) && !own_requests.contains_key(name) {
            *request = limit.clone();
        } else {
            *limit = request.clone();
        }
    }
    merged.requests = Some(requests).filter(|all| !all.is_empty());
    merged.limits = Some(limits).filter(|all| !all.is_empty());
    merged
}

fn amounts(written: Option<&Amounts>) -> Quantities {
    let Some(written) = written else { return Quantities::new() };
    let named = [("cpu", &written.cpu), ("memory", &written.memory)];
    let present = named.into_iter().filter_map(|(name, amount)| Some((name, amount.clone()?)));
    present.map(|(name, amount)| (name.to_owned(), Quantity(amount))).collect()
}

/// Thousandths of a quantity, if it is written as people do, without an exponent.
fn milli(quantity: &Quantity) -> Option<u128> {
    const SUFFIXES: [(&str, u128); 13] = [
        ("Ki", 1000 << 10),
        ("Mi", 1000 << 20),
        ("Gi", 1000 << 30),
        ("Ti", 1000 << 40),
        ("Pi", 1000 << 50),
        ("m", 1),
        ("k", 1_000_000),
        ("M", 1_000_000_000),
        ("G", 1_000_000_000_000),
        ("T", 1_000_000_000_000_000),
        ("P", 1_000_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000_000),
        ("", 1000),
    ];
    let text = quantity.0.as_str();
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u128>().ok()?.checked_mul(factor)? / scale;
    whole.parse::<u128>().ok()?.checked_mul(factor)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locks_amounts_stand_in_the_place_of_the_administrators() {
        let administrators: ResourceRequirements = serde_json::from_value(serde_json::json!({
            "requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "128Mi"},
        }))
        .unwrap();
        let cases = [
            (serde_json::json!(null), ["10m", "16Mi", "1", "128Mi"]),
            (serde_json::json!({"requests": {"cpu": "20m"}}), ["20m", "16Mi", "1", "128Mi"]),
            (serde_json::json!({"requests": {"memory": "1Gi"}}), ["10m", "1Gi", "1", "1Gi"]),
            (serde_json::json!({"requests": {"cpu": "1500m"}}), ["1500m", "16Mi", "1500m", "128Mi"]),
            (serde_json::json!({"limits": {"cpu": "5m"}}), ["5m", "16Mi", "5m", "128Mi"]),
            (
                serde_json::json!({"requests": {"cpu": "1", "memory": "32Mi"}, "limits": {"cpu": "2", "memory": "64Mi"}}),
                ["1", "32Mi", "2", "64Mi"],
            ),
        ];
        for (written, expected) in cases {
            let written: Option<Resources> = serde_json::from_value(written).unwrap();
            let merged = serde_json::to_value(of(&administrators, written.as_ref())).unwrap();
            let [request_cpu, request_memory, limit_cpu, limit_memory] = expected;
            assert_eq!(
                merged,
                serde_json::json!({
                    "requests": {"cpu": request_cpu, "memory": request_memory},
                    "limits": {"cpu": limit_cpu, "memory": limit_memory},
                }),
                "{written:?}"
            );
        }
    }

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("250m", Some(250)),
            ("0.5", Some(500)),
            ("1.5Ki", Some(1_536_000)),
            ("16Mi", Some(16_777_216_000)),
            ("1k", Some(1_000_000)),
            ("1e3", None),
            ("many", None),
        ] {
            assert_eq!(milli(&Quantity(text.to_owned())), expected, "{text}");
        }
    }
}
