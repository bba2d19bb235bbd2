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

/// All that a lock names. One that can't be read is an answer too; the others go on.
pub(super) async fn documents(
    client: &Client,
    key: &LockKey,
    trust: Option<&BackendTrust>,
) -> Result<BTreeMap<DataKeyRef, Document>, GatherError> {
    let Some(trust) = trust else { return Ok(BTreeMap::new()) };
    let named: BTreeSet<DataKeyRef> =
        authorities::named(trust).chain(callers::named(trust)).cloned().collect();
    let read = named.into_iter().map(|named| async move {
        let read = match named.kind {
            DataKind::ConfigMap => {
                let api = Api::<ConfigMap>::namespaced(client.clone(), &key.namespace);
                get(api, named.name.clone()).await.map(|map| map.map(|map| of_config_map(map, &named.key)))
            }
            DataKind::Secret => {
                let api = Api::<Secret>::namespaced(client.clone(), &key.namespace);
                get(api, named.name.clone())
                    .await
                    .map(|secret| secret.map(|secret| of_secret(secret, &named.key)))
            }
        };
        match read {
            Ok(None) => Ok((named, Document::Missing)),
            Ok(Some(None)) => Ok((named, Document::NoKey)),
            Ok(Some(Some(bytes))) => Ok((named, Document::Found(Zeroizing::new(bytes)))),
            Err(error) if error.is_refusal() => Ok((named, Document::Unreadable(error.to_string()))),
            Err(error) => Err(error),
        }
    });
    Ok(try_join_all(read).await?.into_iter().collect())
}

fn of_config_map(map: ConfigMap, key: &str) -> Option<Vec<u8>> {
    let text = map.data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
    text.or_else(|| map.binary_data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0))
}

fn of_secret(secret: Secret, key: &str) -> Option<Vec<u8>> {
    secret.data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0)
}
