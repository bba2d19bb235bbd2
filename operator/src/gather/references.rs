//! The Secrets that a lock names: each read by its name, never listed.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use postern_crds::BackendTrust;
use zeroize::Zeroizing;

use super::{GatherError, get};
use crate::inputs::{LockKey, Reference, SecretData};
use crate::resolve::{doors, references};

/// By name. One that can't be read is an answer too; the others go on.
pub(super) async fn references(
    client: &Client,
    key: &LockKey,
    trust: Option<&BackendTrust>,
) -> Result<BTreeMap<String, Reference>, GatherError> {
    let Some(trust) = trust else { return Ok(BTreeMap::new()) };
    let listed = trust.spec.ports.iter().filter(|port| port.open.is_none());
    let all: Vec<_> =
        std::iter::once(None).chain(listed.map(Some)).map(|port| doors::door(trust, port)).collect();
    let named = references::named(trust, all.iter());
    let read = named.into_iter().map(|name| async move {
        let api = Api::<Secret>::namespaced(client.clone(), &key.namespace);
        match get(api, name.clone()).await {
            Ok(secret) => {
                Ok((name, secret.map_or(Reference::Missing, |secret| Reference::Found(data(secret)))))
            }
            Err(error) if error.is_refusal() => Ok((name, Reference::Unreadable(error.to_string()))),
            Err(error) => Err(error),
        }
    });
    Ok(try_join_all(read).await?.into_iter().collect())
}

fn data(secret: Secret) -> SecretData {
    let data = secret.data.unwrap_or_default().into_iter();
    SecretData {
        type_: secret.type_.unwrap_or_default(),
        data: data.map(|(key, value)| (key, Zeroizing::new(value.0))).collect(),
    }
}
