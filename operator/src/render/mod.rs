//! From the plan to objects, purely: equal plans and material yield equal bytes.

pub mod admission;
pub mod gateway_secret;
pub mod labels;
pub mod lock_secret;
pub mod nginx;
pub mod nginx_encode;
pub mod readme;
pub mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use postern_config::signed::Signer;

use crate::inputs::{Authorities, KeyId};
use crate::plan::{BackendPlan, KeyAction, KeyMaterial, KeyPlan, Material, Plan, RoutePlan};
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
    /// The configuration; absent: the one that lies there stays.
    pub config_map: Option<ConfigMap>,
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
            if let Some(material) = material.keys.get(&key.id).filter(|_| key.action.leaf().is_some()) {
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
    let config_map = match (&key.action, &route.backend) {
        (KeyAction::Write(_), Some(backend)) => Some(config_map(plan, key, backend)?),
        _ => None,
    };
    Ok(KeyObjects { secret: gateway_secret::render(authorities, plan, key, material), config_map })
}

/// A key's `ConfigMap`: the flavour's files and how to use them.
fn config_map(plan: &Plan, key: &KeyPlan, backend: &BackendPlan) -> Result<ConfigMap, nginx_encode::Refused> {
    let mut data = match key.flavour {
        Some(Flavour::Nginx) => nginx::files(&key.id, backend)?,
        None => BTreeMap::new(),
    };
    data.insert(readme::KEY.to_owned(), readme::nginx(&key.id, backend));
    Ok(ConfigMap { metadata: labels::of_key(&plan.key, key), data: Some(data), ..ConfigMap::default() })
}
