//! From the plan to objects, purely: equal plans and material yield equal bytes.

pub mod admission;
pub mod gateway_secret;
mod headers;
pub mod labels;
pub mod lock_secret;
pub mod network;
pub mod nginx;
pub mod nginx_encode;
pub mod readme;
pub mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use postern_config::signed::Signer;

use crate::inputs::{Authorities, KeyId};
use crate::plan::{KeyAction, KeyMaterial, KeyPlan, Material, Plan, RoutePlan};
use crate::settings::{Flavour, Settings};

pub use lock_secret::{RenderError, RenderedLock};

/// What is to be written, admission aside.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The lock's Secret, if it is written.
    pub lock: Option<RenderedLock>,
    /// For each key that is written: its objects, or why its configuration can't be. One that can't be keeps what it
    /// has.
    pub keys: BTreeMap<KeyId, Result<KeyObjects, nginx_encode::Refused>>,
}

/// The objects of one key, in the gateway's namespace.
#[derive(Clone, Debug)]
pub struct KeyObjects {
    /// Certificate, key and CA.
    pub secret: Secret,
    /// The rest of the configuration; absent: the one that lies there stays.
    pub config_map: Option<ConfigMap>,
    /// Where the configuration lies, and which it is; absent: the one that lies there stays.
    pub configuration: Option<Configuration>,
}

/// Where a key's configuration lies, and which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `ConfigMap`, or `Secret` if there is a secret value in it.
    pub kind: &'static str,
    /// `sha256:` of it, with the revision in place of secret values.
    pub hash: String,
}

/// Renders what the plan writes.
///
/// # Errors
/// Only for the lock's Secret, see [`RenderError`]. A key whose configuration can't be rendered is an entry of its
/// own in [`Objects::keys`].
pub fn render(
    settings: &Settings,
    authorities: &Authorities,
    plan: &Plan,
    material: &Material,
    signer: &Signer,
) -> Result<Objects, RenderError> {
    let lock = match &plan.bundle {
        Some(bundle) => Some(lock_secret::render(settings, plan, bundle, material, signer)?),
        None => None,
    };
    let mut keys = BTreeMap::new();
    for route in &plan.routes {
        for key in &route.keys {
            if let Some(material) = material.keys.get(&key.id).filter(|_| key.action.step().is_some()) {
                keys.insert(key.id.clone(), key_objects(authorities, plan, route, key, material));
            }
        }
    }
    Ok(Objects { lock, keys })
}

fn key_objects(
    authorities: &Authorities,
    plan: &Plan,
    route: &RoutePlan,
    key: &KeyPlan,
    material: &KeyMaterial,
) -> Result<KeyObjects, nginx_encode::Refused> {
    let secret =
        |files: &BTreeMap<String, String>| gateway_secret::render(authorities, plan, key, material, files);
    let (KeyAction::Write(_), Some(backend)) = (&key.action, &route.backend) else {
        let secret = secret(&material.configuration);
        return Ok(KeyObjects { secret, config_map: None, configuration: None });
    };
    let files = |headers| match key.flavour {
        Some(Flavour::Nginx) => nginx::files(&key.id, backend, &headers),
        None => Ok(BTreeMap::new()),
    };
    let readme = (readme::KEY.to_owned(), readme::nginx(&key.id, backend));
    let current = material.credentials.current.as_ref();
    let mut shown = files(headers::shown(&backend.door, current))?;
    shown.extend([readme.clone()]);
    let hash = config_hash(&shown);
    let holds_secret = headers::holds_secret(&backend.door);
    let (kind, of_secret, of_map) = if holds_secret {
        ("Secret", files(headers::secret(&backend.door, current))?, BTreeMap::from([readme]))
    } else {
        ("ConfigMap", BTreeMap::new(), shown)
    };
    let config_map =
        ConfigMap { metadata: labels::of_key(&plan.key, key), data: Some(of_map), ..ConfigMap::default() };
    let configuration = Some(Configuration { kind, hash });
    Ok(KeyObjects { secret: secret(&of_secret), config_map: Some(config_map), configuration })
}

/// `sha256:` over names and texts, each with its length, so that no two configurations share one by accident.
fn config_hash(files: &BTreeMap<String, String>) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in files.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]) {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    format!("sha256:{}", hex::encode(context.finish()))
}
