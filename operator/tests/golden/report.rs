//! What a golden file shows of one step. Secrets are replaced by placeholders, hashes by what they are of.

use postern_config::bundle::Bundle;
use postern_operator::inputs::KeyId;
use postern_operator::plan::{
    CredentialsPlan, CredentialsStep, KeyAction, LeafPlan, LeafSpec, LockState, Plan,
};
use postern_operator::render::{KeyObjects, status};
use postern_operator::resolve::conditions;
use postern_operator::resolve::conditions::Verdict;
use serde_json::{Value, json};

use super::case::{Setting, Step};
use super::world::{Look, PRIVATE};

/// One step as YAML.
pub(crate) fn step(step: &Step, look: &Look, setting: &Setting) -> serde_yaml::Value {
    let mut report = json!({
        "step": step.what,
        "lock": lock(look),
        "routes": look.plan.routes.iter().map(|route| json!({
            "name": route.name,
            "conditions": verdicts(&conditions::route(&look.plan, route, &look.outcome)),
            "backend": route.backend.as_ref().map(|backend| json!({
                "serverName": backend.server_name,
                "port": backend.port,
                "protocol": backend.protocol,
            })),
            "gateways": route.keys.iter().map(|key| json!({
                "name": key.id.gateway,
                "conditions": verdicts(&conditions::gateway(&look.plan, route, key, &look.outcome)),
                "does": action(&key.action),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "sequence": look.plan.bundle.as_ref().map(|_| sequence(look)),
        "policy": look.plan.bundle.as_ref().map(|_| policy(look)),
        "remove": removals(&look.plan),
        "again": look.plan.requeue_at.map(|at| at.to_string()),
    });
    if setting.objects {
        report["objects"] = objects(look);
    }
    if setting.objects || setting.status {
        report["status"] = statuses(look);
    }
    prune(&mut report);
    serde_yaml::to_value(report).unwrap()
}

fn lock(look: &Look) -> Value {
    let state = match &look.plan.lock {
        LockState::Present(_) => "present",
        LockState::Orphaned { .. } => "orphaned",
        LockState::Gone => "gone",
    };
    let pods = &look.outcome.pods;
    let present = look.plan.lock.present();
    json!({
        "state": state,
        "conditions": verdicts(&conditions::lock(&look.plan, &look.outcome)),
        "locks": present.map(|lock| lock.locks_label.clone()),
        "keeps": match &look.plan.lock {
            LockState::Orphaned { selector } => selector.as_ref().map(|selector| selector.source().clone()),
            _ => None,
        },
        "admission": present.and_then(|lock| lock.admission.as_ref()).map(|admission| json!({
            "trusts": admission.trusts.iter().map(|trust| &trust.name).collect::<Vec<_>>(),
            "probe": admission.probe_labels,
            "probe also selected by": admission.probe_also_selected_by,
        })),
        "pods": {
            "selected": pods.selected(),
            "guarded": pods.guarded(),
            "current": pods.current(),
            "unguarded": pods.unguarded().map(|(pod, why)| format!("{}: {why}", pod.name)).collect::<Vec<_>>(),
        },
        "certificate": look.plan.bundle.as_ref().map(|bundle| leaf(&bundle.leaf)),
    })
}

fn verdicts(verdicts: &[Verdict]) -> Vec<String> {
    verdicts
        .iter()
        .map(|verdict| {
            let status = match verdict.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            match verdict.status {
                // A reason of its own is a warning.
                Some(true) if verdict.reason.as_str() == verdict.condition.as_str() => {
                    format!("{}={status}", verdict.condition)
                }
                _ => format!("{}={status} {}: {}", verdict.condition, verdict.reason, verdict.message),
            }
        })
        .collect()
}

fn action(action: &KeyAction) -> String {
    match action {
        KeyAction::Write(step) => format!("write, {}{}", leaf(&step.leaf), credentials(&step.credentials)),
        KeyAction::Renew(step) => format!("renew, {}{}", leaf(&step.leaf), credentials(&step.credentials)),
        KeyAction::Unread(kept) => {
            format!("leave as it is, since it can't be read; pins that still let in: {}", kept.pins.len())
        }
        KeyAction::Leave => "leave as it is".to_owned(),
        KeyAction::Remove => "remove".to_owned(),
    }
}

fn credentials(plan: &CredentialsPlan) -> String {
    let step = match &plan.step {
        CredentialsStep::Keep => "keep the credentials".to_owned(),
        CredentialsStep::Issue(spec) => format!("make credentials: {}", spec.reason),
        CredentialsStep::StageNext(spec) => format!("stage the next credentials: {}", spec.reason),
        CredentialsStep::PromoteNext { drop_previous_after } => {
            format!("hand over the next credentials, drop the old ones after {drop_previous_after}")
        }
        CredentialsStep::DropPrevious => "drop the previous credentials".to_owned(),
    };
    if plan.is_wanted() { format!("; {step}") } else { String::new() }
}

fn leaf(plan: &LeafPlan) -> String {
    let because = |spec: &LeafSpec| spec.reason.to_string();
    match plan {
        LeafPlan::Keep => "keep the certificate".to_owned(),
        LeafPlan::Issue(spec) => format!("issue a certificate: {}", because(spec)),
        LeafPlan::StageNext(spec) => format!("stage the next certificate: {}", because(spec)),
        LeafPlan::PromoteNext { drop_previous_after } => {
            format!("hand over the next certificate, drop the old one after {drop_previous_after}")
        }
        LeafPlan::DropPrevious => "drop the previous certificate".to_owned(),
    }
}

/// The bundle's sequence, if the present key signed it.
fn sequence(look: &Look) -> Value {
    let data = look.objects.lock.as_ref().and_then(|lock| lock.secret.data.as_ref()).unwrap();
    let signature = std::str::from_utf8(&data["bundle.sig"].0).unwrap();
    match Bundle::open(&data["bundle.json"].0, signature, &[look.verify_key]) {
        Ok(bundle) => bundle.sequence.into(),
        Err(error) => error.to_string().into(),
    }
}

/// The policy as it was sealed, pins included.
fn policy(look: &Look) -> Value {
    let data = look.objects.lock.as_ref().and_then(|lock| lock.secret.data.as_ref()).unwrap();
    let bundle: Value = serde_json::from_slice(&data["bundle.json"].0).unwrap();
    let mut policy = bundle["content"]["policy"].clone();
    if let Some(authorities) = policy["authorities"].as_array_mut() {
        // Postern's is always there, and its certificates are the same.
        authorities.retain(|one| one["name"] != "postern" || one["adminOnly"] == true);
        for authority in authorities {
            let roots = authority["roots"].as_str().unwrap_or_default().matches("BEGIN CERTIFICATE").count();
            authority["roots"] =
                if roots == 0 { Value::Null } else { format!("{roots} certificates").into() };
        }
    }
    policy
}

fn removals(plan: &Plan) -> Vec<String> {
    let lock = plan.remove.lock_secret.then(|| "the lock's Secret".to_owned());
    let admission = plan.remove.admission.then(|| "the admission policy".to_owned());
    let keys = plan.remove.keys.iter().map(|(id, namespace): &(KeyId, String)| format!("{namespace}/{id}"));
    lock.into_iter().chain(admission).chain(keys).collect()
}

fn objects(look: &Look) -> Value {
    let of_lock = look.objects.lock.iter().map(|lock| hidden(serde_json::to_value(&lock.secret).unwrap()));
    let keys = look.objects.keys.iter().flat_map(|(id, key)| match key {
        Ok(KeyObjects { secret, config_map, .. }) => {
            let secret = hidden(serde_json::to_value(secret).unwrap());
            let config_map = config_map.as_ref().map(|map| serde_json::to_value(map).unwrap());
            std::iter::once(secret).chain(config_map).collect::<Vec<_>>()
        }
        Err(refused) => vec![json!({"refused": id.to_string(), "why": refused.to_string()})],
    });
    of_lock.chain(keys).collect()
}

/// A generated secret by its number, also where it is encoded, as it is in Basic credentials.
fn shown(text: &str) -> String {
    let encoded = |word: &str| {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, word).ok()?;
        String::from_utf8(bytes).ok().filter(|pair| pair.contains(PRIVATE))
    };
    let lines = text.split_inclusive('\n').map(|line| {
        let basic = line.split_once("\"Basic ").and_then(|(before, rest)| {
            let (word, after) = rest.split_once('"')?;
            Some(format!("{before}\"Basic <base64 of {}>\"{after}", encoded(word)?))
        });
        basic.unwrap_or_else(|| line.to_owned())
    });
    lines.collect::<String>().replace(&format!("{PRIVATE}-secret-"), "generated-")
}

/// A Secret with its texts readable and its private keys and signatures not there.
fn hidden(mut secret: Value) -> Value {
    if let Some(data) = secret["data"].as_object_mut() {
        for (key, value) in data {
            let bytes: k8s_openapi::ByteString = serde_json::from_value(value.clone()).unwrap();
            let text = String::from_utf8(bytes.0).unwrap();
            *value = match key.as_str() {
                "bundle.json" => serde_json::from_str(&text).unwrap(),
                "bundle.sig" => "<signature>".into(),
                "tls.key" | "next.key" => "<private key>".into(),
                "credentials.json" => {
                    let mut credentials: Value = serde_json::from_str(&text).unwrap();
                    for held in ["current", "next"] {
                        for (part, secret) in [("basic", "password"), ("header", "value")] {
                            if let Some(value) = credentials.pointer_mut(&format!("/{held}/{part}/{secret}"))
                            {
                                *value = shown(value.as_str().unwrap()).into();
                            }
                        }
                    }
                    credentials
                }
                _ => shown(&text).into(),
            };
        }
    }
    secret
}

fn statuses(look: &Look) -> Value {
    let Look { plan, material, objects, outcome, .. } = look;
    json!({
        "trust": status::trust(plan, material, outcome),
        "routes": plan.routes.iter().map(|route| status::route(plan, route, material, objects, outcome)).collect::<Vec<_>>(),
    })
}

/// Leaves out what is empty, and the conditions of statuses, which stand above.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map
                .get("conditions")
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(Value::is_object))
            {
                map.remove("conditions");
            }
            map.values_mut().for_each(prune);
            map.retain(|_, value| !(value.is_null() || *value == json!([]) || *value == json!({})));
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}
