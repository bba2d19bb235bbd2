//! What a lock's author has written elsewhere: keys of `ConfigMap`s and Secrets, each object read by its name.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use postern_crds::BackendTrust;
use postern_crds::authorities::{DataKeyRef, DataKind};

use zeroize::Zeroizing;

use super::{GatherError, get};
use crate::inputs::{Document, LockKey};
use crate::resolve::{authorities, callers};

/// All that a lock names. One that can't be read is an answer too; the others go on. Several keys of one object cost
/// one request.
pub(super) async fn documents(
    client: &Client,
    key: &LockKey,
    trust: Option<&BackendTrust>,
) -> Result<BTreeMap<DataKeyRef, Document>, GatherError> {
    let Some(trust) = trust else { return Ok(BTreeMap::new()) };
    let mut objects: BTreeMap<(DataKind, &str), BTreeSet<&DataKeyRef>> = BTreeMap::new();
    for named in authorities::named(trust).chain(callers::named(trust)) {
        objects.entry((named.kind, &named.name)).or_default().insert(named);
    }
    let read = objects.into_iter().map(|((kind, name), named)| async move {
        let name = name.to_owned();
        let read = match kind {
            DataKind::ConfigMap => {
                let api = Api::<ConfigMap>::namespaced(client.clone(), &key.namespace);
                get(api, name).await.map(|map| map.map(of_config_map))
            }
            DataKind::Secret => {
                let api = Api::<Secret>::namespaced(client.clone(), &key.namespace);
                get(api, name).await.map(|secret| secret.map(of_secret))
            }
        };
        Ok(match read {
            Ok(Some(mut data)) => each(named, |named| {
                data.remove(&named.key)
                    .map_or(Document::NoKey, |bytes| Document::Found(Zeroizing::new(bytes)))
            }),
            Ok(None) => each(named, |_| Document::Missing),
            Err(error) if error.is_refusal() => each(named, |_| Document::Unreadable(error.to_string())),
            Err(error) => return Err(error),
        })
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

fn each(
    named: BTreeSet<&DataKeyRef>,
    mut document: impl FnMut(&DataKeyRef) -> Document,
) -> Vec<(DataKeyRef, Document)> {
    named.into_iter().map(|named| (named.clone(), document(named))).collect()
}

/// Where both have a key, the text counts.
fn of_config_map(map: ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let binary = map.binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0));
    let text = map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes()));
    binary.chain(text).collect()
}

fn of_secret(secret: Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)).collect()
}
