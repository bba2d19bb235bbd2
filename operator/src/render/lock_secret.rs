//! The lock's Secret: the signed bundle and the server certificate. What opens the lock is not in it (SECURITY 17):
//! of the gateways' keys only the hashes are.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use postern_config::bundle::{Bundle, BundleError, Content};
use postern_config::layout;
use postern_config::policy::Policy;
use postern_config::signed::Signer;

use crate::plan::{BundlePlan, Kept, Material, Plan};
use crate::render::labels;
use crate::settings::Settings;

/// The lock's Secret and what it configures.
#[derive(Clone, Debug)]
pub struct RenderedLock {
    /// The object.
    pub secret: Secret,
    /// [`Content::hash`]: `status.configHash`, and the pods' annotation.
    pub config_hash: String,
    /// The policy in it, with all pins.
    pub policy: Policy,
}

/// A lock's Secret that can't be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The plan asks for a Secret, and no certificate was issued for it.
    #[error("the Secret {0} can't be written without a server certificate; was the plan fulfilled?")]
    NoCertificate(String),
    /// The bundle can't be written or signed.
    #[error("the bundle of Secret {0} can't be sealed: {1}")]
    Bundle(String, BundleError),
}

/// Renders the lock's Secret. A bundle whose content is as it was keeps its sequence, its bytes and its signature.
///
/// # Errors
/// See [`RenderError`].
pub fn render(
    settings: &Settings,
    plan: &Plan,
    bundle: &BundlePlan,
    material: &Material,
    signer: &Signer,
) -> Result<RenderedLock, RenderError> {
    let name = || format!("{}/{}", plan.key.namespace, layout::secret_name(&plan.key.name));
    let leaf = material.server.as_ref().ok_or_else(|| RenderError::NoCertificate(name()))?;
    let content = Content {
        namespace: plan.key.namespace.clone(),
        trust: plan.key.name.clone(),
        trust_uid: bundle.trust_uid.clone(),
        server_certificate: leaf.facts.certificate_sha256.clone(),
        admins: vec![layout::operator_identity(&settings.trust_domain, &settings.namespace)],
        policy: with_pins(bundle, material),
        settings: bundle.settings.clone(),
    };
    let policy = content.policy.clone();
    let config_hash = content.hash().map_err(|error| RenderError::Bundle(name(), error.into()))?;
    let (payload, signature) = match &bundle.previous {
        Some(previous) if previous.by_current_key && previous.bundle.content == content => {
            (previous.payload.clone(), previous.signature.clone())
        }
        previous => {
            let last = previous.as_ref().map(|previous| previous.bundle.sequence);
            let bundle = Bundle { sequence: next_sequence(last, plan.now.as_millisecond()), content };
            bundle.seal(signer).map_err(|error| RenderError::Bundle(name(), error))?
        }
    };
    let data = BTreeMap::from([
        (layout::BUNDLE_KEY.to_owned(), ByteString(payload)),
        (layout::BUNDLE_SIGNATURE_KEY.to_owned(), ByteString(signature.into_bytes())),
        (layout::CERTIFICATE_KEY.to_owned(), ByteString(leaf.certificate_pem.clone().into_bytes())),
        (layout::PRIVATE_KEY_KEY.to_owned(), ByteString(leaf.private_key_pem.as_bytes().to_vec())),
    ]);
    let secret = Secret {
        metadata: labels::of_lock_secret(&plan.key),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    Ok(RenderedLock { secret, config_hash, policy })
}

/// Above the last one, also when the clock went back or the trust was made anew.
fn next_sequence(last: Option<u64>, now_millis: i64) -> u64 {
    let now = u64::try_from(now_millis).unwrap_or_default();
    last.map_or(now, |last| now.max(last.saturating_add(1)))
}

/// The planned policy with the pins and verifiers of the keys that are handed out. A caller without material keeps none, so its
/// key opens nothing.
fn with_pins(bundle: &BundlePlan, material: &Material) -> Policy {
    let mut policy = bundle.policy.clone();
    for caller in policy.routes.iter_mut().flat_map(|route| &mut route.callers) {
        let Some(identity) = caller.identity() else {
            caller.credentials.extend(material.callers.get(&caller.name).cloned());
            continue;
        };
        let id = bundle.callers.get(identity);
        let key = id.and_then(|id| Some((id.object_name(), material.keys.get(id)?)));
        let holds = match key {
            Some((name, key)) => Kept {
                pins: key.pins(),
                credentials: key.credentials.basics(&name),
                header_values: key.credentials.headers(&name),
            },
            None => bundle.kept.get(identity).cloned().unwrap_or_default(),
        };
        caller.pin(&holds.pins);
        caller.credentials = holds.credentials;
        caller.header_values = holds.header_values;
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::next_sequence;

    #[test]
    fn a_sequence_only_grows() {
        for (last, now, expected) in [
            (None, 1_000, 1_000),
            (Some(900), 1_000, 1_000),
            (Some(1_000), 1_000, 1_001),
            (Some(5_000), 1_000, 5_001),
            (Some(5), -1, 6),
        ] {
            assert_eq!(next_sequence(last, now), expected, "{last:?} at {now}");
        }
    }
}
