//! What lies in the gateways' namespaces for one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use postern_crds::ApiRoute;

use super::{FoundKey, GatherError, Reader, existing, get};
use crate::apply::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::inputs::{ExistingKey, KeyId, LockKey};
use crate::render::labels;
use crate::settings::Settings;

/// What was found in the gateways' namespaces.
pub(super) struct Outputs {
    /// By key and namespace.
    pub(super) keys: BTreeMap<(KeyId, String), FoundKey>,
    /// Namespaces that the API server doesn't let the operator read, with its words.
    pub(super) unreadable: BTreeMap<String, String>,
}

/// The outputs of the lock: those that its routes ask for, and those that carry its labels and are asked for by
/// nobody. What a route that has moved to another lock asks for is that lock's.
///
/// A namespace that was deleted and made anew has lost the operator's rights; that is no concern of the others.
pub(super) async fn outputs(
    client: &Client,
    settings: &Settings,
    key: &LockKey,
    routes: &[Arc<ApiRoute>],
) -> Result<Outputs, GatherError> {
    let namespaces: BTreeSet<&str> =
        settings.gateways.values().map(|gateway| gateway.output_namespace(&settings.namespace)).collect();
    let selector = format!(
        "{MANAGED_BY_LABEL}={MANAGED_BY},{}={},{}={}",
        labels::NAMESPACE_LABEL,
        key.namespace,
        labels::TRUST_LABEL,
        key.name
    );
    let (mine, others): (Vec<_>, Vec<_>) =
        asked_for(settings, routes).partition(|(route, _, _)| route.spec.trust_ref.name == key.name);
    let read = join_all(namespaces.into_iter().map(|namespace| {
        let mine = mine.iter().filter(move |(_, _, at)| at == namespace).map(|(_, id, _)| id.clone());
        let read = in_namespace(client, namespace, &selector, mine.collect());
        async move { (namespace, read.await) }
    }))
    .await;
    let mut outputs = Outputs { keys: BTreeMap::new(), unreadable: BTreeMap::new() };
    for (namespace, found) in read {
        match found {
            Ok(found) => {
                let found = found.into_iter().map(|(id, key)| ((id, namespace.to_owned()), key));
                outputs.keys.extend(found);
            }
            Err(error) if error.is_refusal() => {
                outputs.unreadable.insert(namespace.to_owned(), error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    for (_, id, namespace) in others {
        outputs.keys.remove(&(id, namespace));
    }
    Ok(outputs)
}

/// What lies in one namespace: all that carries the lock's labels, and whatever has the name of a `wanted` key.
async fn in_namespace(
    client: &Client,
    namespace: &str,
    selector: &str,
    wanted: Vec<KeyId>,
) -> Result<BTreeMap<KeyId, FoundKey>, GatherError> {
    let params = ListParams::default().labels(selector);
    let mut found = BTreeMap::<KeyId, FoundKey>::new();
    for secret in list::<Secret>(client, namespace, &params).await? {
        if let Some(id) = key_id(&secret) {
            found.entry(id).or_default().secret = Some(secret);
        }
    }
    for config_map in list::<ConfigMap>(client, namespace, &params).await? {
        if let Some(id) = key_id(&config_map) {
            found.entry(id).or_default().config_map = Some(config_map);
        }
    }
    let missing = wanted
        .into_iter()
        .filter(|id| found.get(id).is_none_or(|found| found.secret.is_none() || found.config_map.is_none()));
    // What lies there without our labels is somebody else's, and has to be seen so that it is left alone.
    let read = try_join_all(missing.map(|id| async move {
        let name = id.object_name();
        let (secret, config_map) = tokio::try_join!(
            get::<Secret>(Api::namespaced(client.clone(), namespace), name.clone()),
            get::<ConfigMap>(Api::namespaced(client.clone(), namespace), name),
        )?;
        Ok((id, FoundKey { secret, config_map }))
    }))
    .await?;
    found.extend(read.into_iter().filter(|(_, key)| key.secret.is_some() || key.config_map.is_some()));
    Ok(found)
}

async fn list<K>(client: &Client, namespace: &str, params: &ListParams) -> Result<Vec<K>, GatherError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let listed = Api::<K>::namespaced(client.clone(), namespace).list(params).await;
    listed.map(|list| list.items).map_err(|source| GatherError {
        what: format!("{}s in namespace {namespace}", K::kind(&())),
        source: Box::new(source),
    })
}

/// Each route with each declared gateway that it names: the key and the namespace of its outputs.
fn asked_for<'a>(
    settings: &'a Settings,
    routes: &'a [Arc<ApiRoute>],
) -> impl Iterator<Item = (&'a ApiRoute, KeyId, String)> {
    routes.iter().flat_map(move |route| {
        route.spec.gateways.iter().filter_map(move |gateway| {
            let declared = settings.gateways.get(&gateway.name)?;
            let id = KeyId {
                gateway: gateway.name.clone(),
                namespace: route.namespace()?,
                route: route.name_any(),
            };
            Some((&**route, id, declared.output_namespace(&settings.namespace).to_owned()))
        })
    })
}

/// Which key an output belongs to, by its labels; its name must say the same.
fn key_id<K: Resource>(object: &K) -> Option<KeyId> {
    let label = |name: &str| object.labels().get(name).cloned();
    let id = KeyId {
        gateway: label(labels::GATEWAY_LABEL)?,
        namespace: label(labels::NAMESPACE_LABEL)?,
        route: label(labels::ROUTE_LABEL)?,
    };
    (id.object_name() == object.name_any()).then_some(id)
}

/// One entry for each key: of several namespaces the one that is asked for.
pub(super) fn existing_keys(
    reader: &Reader,
    settings: &Settings,
    routes: &[Arc<ApiRoute>],
    found: &BTreeMap<(KeyId, String), FoundKey>,
) -> BTreeMap<KeyId, ExistingKey> {
    let wanted: BTreeSet<(KeyId, String)> =
        asked_for(settings, routes).map(|(_, id, namespace)| (id, namespace)).collect();
    let mut keys = BTreeMap::new();
    let in_order = found.iter().filter(|(at, _)| !wanted.contains(at));
    for ((id, namespace), key) in in_order.chain(found.iter().filter(|(at, _)| wanted.contains(at))) {
        keys.insert(
            id.clone(),
            ExistingKey {
                namespace: namespace.clone(),
                secret: existing(key.secret.as_ref(), |secret| reader.key_secret(secret)),
                config_map: existing(key.config_map.as_ref(), |map| map.data.clone().unwrap_or_default()),
            },
        );
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn secret(name: &str, labels: &[(&str, &str)]) -> Secret {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn labels_of<'a>(gateway: &'a str, namespace: &'a str, route: &'a str) -> [(&'a str, &'a str); 3] {
        [(labels::GATEWAY_LABEL, gateway), (labels::NAMESPACE_LABEL, namespace), (labels::ROUTE_LABEL, route)]
    }

    #[test]
    fn an_output_is_known_by_labels_and_name_together() {
        let id = key_id(&secret("edge.shop.orders.v1", &labels_of("edge", "shop", "orders.v1"))).unwrap();
        assert_eq!(id.route, "orders.v1");
        assert_eq!(key_id(&secret("edge.shop.other", &labels_of("edge", "shop", "orders"))), None);
        assert_eq!(key_id(&secret("edge.shop.orders", &labels_of("edge", "shop", "orders")[..2])), None);
    }

    #[test]
    fn each_route_asks_for_a_key_on_each_declared_gateway() {
        let config = Config::parse(
            "{namespace: postern, sidecarImage: i, sidecarResources: {requests: {cpu: 1, memory: 1}, limits: {cpu: 1, \
             memory: 1}}, gateways: [{name: edge, flavour: NGINX, namespace: gateways}, {name: outside, flavour: NGINX}]}",
        )
        .unwrap();
        let settings = config.settings("id", None, Vec::new());
        let route: ApiRoute = serde_json::from_value(json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "ApiRoute",
            "metadata": {"namespace": "shop", "name": "orders"},
            "spec": {"trustRef": {"name": "orders"}, "backendRef": {"name": "orders", "port": 80},
                     "gateways": [{"name": "edge"}, {"name": "outside"}, {"name": "unknown"}]},
        }))
        .unwrap();
        let routes = [Arc::new(route)];
        let asked: Vec<_> =
            asked_for(&settings, &routes).map(|(_, id, namespace)| (id.to_string(), namespace)).collect();
        let at = |name: &str, namespace: &str| (name.to_owned(), namespace.to_owned());
        assert_eq!(asked, [at("edge.shop.orders", "gateways"), at("outside.shop.orders", "postern")]);
    }

    /// Answers lists with nothing and reads of single objects with not found; all in namespace `lost` with `code`.
    fn cluster(code: u16) -> Client {
        let answer = move |request: http::Request<kube::client::Body>| {
            let path = request.uri().path().to_owned();
            let (code, kind) = match path.rsplit('/').next() {
                _ if path.contains("/namespaces/lost/") => (code, ""),
                Some("secrets") => (200, "SecretList"),
                Some("configmaps") => (200, "ConfigMapList"),
                _ => (404, ""),
            };
            let body = match code {
                200 => json!({"kind": kind, "apiVersion": "v1", "metadata": {}, "items": []}),
                _ => {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code})
                }
            };
            let answer = http::Response::builder().status(code);
            let answer = answer.body(kube::client::Body::from(serde_json::to_vec(&body).unwrap()));
            std::future::ready(Ok::<_, std::convert::Infallible>(answer.unwrap()))
        };
        Client::new(tower::service_fn(answer), "postern")
    }

    #[tokio::test]
    async fn a_namespace_that_is_forbidden_is_no_concern_of_the_others() {
        let config = Config::parse(
            "{namespace: postern, sidecarImage: i, sidecarResources: {requests: {cpu: 1, memory: 1}, limits: {cpu: 1, \
             memory: 1}}, gateways: [{name: edge, flavour: NGINX, namespace: lost}, {name: outside, flavour: NGINX}]}",
        )
        .unwrap();
        let settings = config.settings("id", None, Vec::new());
        let key = LockKey { namespace: "shop".to_owned(), name: "orders".to_owned() };
        for (code, unreadable) in [(403, Some("lost")), (404, Some("lost")), (500, None)] {
            let found = outputs(&cluster(code), &settings, &key, &[]).await.ok();
            let first = found.and_then(|found| found.unreadable.into_iter().next());
            assert_eq!(first.as_ref().map(|(namespace, _)| namespace.as_str()), unreadable, "{code}");
        }
    }
}
