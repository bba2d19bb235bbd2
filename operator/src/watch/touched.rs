//! Which locks a change touches: pure functions from an object, before and after, to keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::{Resource, ResourceExt};
use postern_crds::{ApiRoute, BackendTrust};

use super::feed::Change;
use super::lean::{LeanNamespace, LeanPod};
use crate::inputs::LockKey;
use crate::render::labels::{NAMESPACE_LABEL, TRUST_LABEL};
use crate::resolve::selectors::Selector;

/// Prefix of the names of the locks' Secrets, as [`postern_config::layout::secret_name`] builds them.
const SECRET_PREFIX: &str = "postern-";

/// The lock itself; all of its namespace if it is new or gone, since of two locks on one pod the older counts.
pub fn by_trust(change: &Change<'_, BackendTrust>, trusts: &[Arc<BackendTrust>]) -> Vec<LockKey> {
    let mut keys: BTreeSet<LockKey> = change.versions().filter_map(key_of_trust).collect();
    if change.is_existence() {
        let namespaces: BTreeSet<String> = keys.iter().map(|key| key.namespace.clone()).collect();
        keys.extend(
            trusts
                .iter()
                .filter_map(|trust| key_of_trust(trust))
                .filter(|key| namespaces.contains(&key.namespace)),
        );
    }
    keys.into_iter().collect()
}

/// The lock that the route fits, and the one that it fitted before.
pub fn by_route(change: &Change<'_, ApiRoute>) -> Vec<LockKey> {
    let keys: BTreeSet<_> = change.versions().filter_map(key_of_route).collect();
    keys.into_iter().collect()
}

/// The locks of the routes that name the Service, and those whose pods it may lead to.
pub fn by_service(
    change: &Change<'_, Service>,
    trusts: &[Arc<BackendTrust>],
    routes: &[Arc<ApiRoute>],
) -> Vec<LockKey> {
    let mut keys = BTreeSet::new();
    for service in change.versions() {
        let named = routes.iter().filter(|route| {
            route.metadata.namespace == service.metadata.namespace
                && route.spec.backend_ref.name == service.name_any()
        });
        keys.extend(named.filter_map(|route| key_of_route(route)));
        let Some(leads) = service_selector(service) else { continue };
        let reached = trusts.iter().filter(|trust| {
            trust.metadata.namespace == service.metadata.namespace
                && selector(trust).is_some_and(|selector| selector.overlaps(&leads))
        });
        keys.extend(reached.filter_map(|trust| key_of_trust(trust)));
    }
    keys.into_iter().collect()
}

/// All locks of the namespace and those that its routes name.
pub fn by_namespace(
    change: &Change<'_, LeanNamespace>,
    trusts: &[Arc<BackendTrust>],
    routes: &[Arc<ApiRoute>],
) -> Vec<LockKey> {
    let Some(name) = change.versions().last().map(ResourceExt::name_any) else { return Vec::new() };
    let keys: BTreeSet<_> = trusts
        .iter()
        .filter_map(|trust| key_of_trust(trust))
        .chain(routes.iter().filter_map(|route| key_of_route(route)))
        .filter(|key| key.namespace == name)
        .collect();
    keys.into_iter().collect()
}

/// The locks that select the pod, whose Secret it mounts, or whose routes lead to it by their Service, before
/// or after.
pub fn by_pod(
    change: &Change<'_, LeanPod>,
    trusts: &[Arc<BackendTrust>],
    routes: &[Arc<ApiRoute>],
    services: &[Arc<Service>],
) -> Vec<LockKey> {
    let mut keys = BTreeSet::new();
    for pod in change.versions() {
        let here = |namespace: &Option<String>| namespace.as_ref() == Some(&pod.namespace);
        keys.extend(mounted_by(pod));
        let selecting = trusts.iter().filter(|trust| {
            here(&trust.metadata.namespace)
                && selector(trust).is_some_and(|selector| selector.matches(&pod.common().labels))
        });
        keys.extend(selecting.filter_map(|trust| key_of_trust(trust)));
        let leading: BTreeSet<String> = services
            .iter()
            .filter(|service| {
                here(&service.metadata.namespace)
                    && service_selector(service).is_some_and(|leads| leads.matches(&pod.common().labels))
            })
            .map(|service| service.name_any())
            .collect();
        let named = routes.iter().filter(|route| {
            here(&route.metadata.namespace) && leading.contains(&route.spec.backend_ref.name)
        });
        keys.extend(named.filter_map(|route| key_of_route(route)));
    }
    keys.into_iter().collect()
}

/// What the lock selects. A selector that means nothing selects nothing; resolve says so in the lock's status.
fn selector(trust: &BackendTrust) -> Option<Selector> {
    Selector::new(trust.spec.pod_selector.clone()).ok().filter(|selector| !selector.is_empty())
}

/// What the Service leads to, if it selects pods at all.
fn service_selector(service: &Service) -> Option<Selector> {
    let labels = service.spec.as_ref()?.selector.as_ref()?;
    (!labels.is_empty()).then(|| Selector::from_labels(labels))
}

/// The locks whose Secret the pod mounts, whether they still exist or not.
pub fn mounted_by(pod: &LeanPod) -> Vec<LockKey> {
    let trusts = pod.secrets.iter().filter_map(|secret| secret.strip_prefix(SECRET_PREFIX));
    trusts.map(|trust| key(pod.namespace.clone(), trust)).collect()
}

fn key(namespace: String, trust: &str) -> LockKey {
    LockKey { namespace, name: trust.to_owned() }
}

/// The lock that an object of Postern's serves, by its labels.
pub fn by_labels<K: Resource>(object: &K) -> Option<LockKey> {
    let label = |name: &str| object.meta().labels.as_ref()?.get(name).cloned();
    Some(LockKey { namespace: label(NAMESPACE_LABEL)?, name: label(TRUST_LABEL)? })
}

/// The key of a lock that exists.
pub fn key_of_trust(trust: &BackendTrust) -> Option<LockKey> {
    Some(key(trust.namespace()?, &trust.name_any()))
}

/// The key of the lock that a route fits.
pub fn key_of_route(route: &ApiRoute) -> Option<LockKey> {
    Some(key(route.namespace()?, &route.spec.trust_ref.name))
}

#[cfg(test)]
mod tests {
    use postern_config::layout;
    use serde_json::json;

    use super::*;
    use crate::inputs::Injection;

    fn trust(namespace: &str, name: &str, app: &str) -> Arc<BackendTrust> {
        let trust = serde_json::from_value(json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "BackendTrust",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"podSelector": {"matchLabels": {"app": app}}},
        }));
        Arc::new(trust.unwrap())
    }

    fn route(namespace: &str, name: &str, trust: &str, service: &str) -> Arc<ApiRoute> {
        let route = serde_json::from_value(json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "ApiRoute",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"trustRef": {"name": trust}, "gateways": [{"name": "edge"}],
                     "backendRef": {"name": service, "port": 80}},
        }));
        Arc::new(route.unwrap())
    }

    fn pod(namespace: &str, app: &str, secret: &str) -> LeanPod {
        let pod = serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": "pod", "labels": {"app": app}},
            "spec": {"containers": [], "volumes": [{"name": "v", "secret": {"secretName": secret}}]},
        }))
        .unwrap();
        LeanPod::new(&pod, Injection::No("it has no sidecar".to_owned()))
    }

    fn service(namespace: &str, name: &str, app: &str) -> Arc<Service> {
        let service = json!({
            "metadata": {"namespace": namespace, "name": name}, "spec": {"selector": {"app": app}},
        });
        Arc::new(serde_json::from_value(service).unwrap())
    }

    fn names(keys: &[LockKey]) -> Vec<String> {
        keys.iter().map(ToString::to_string).collect()
    }

    fn trusts() -> Vec<Arc<BackendTrust>> {
        vec![
            trust("shop", "orders", "orders"),
            trust("shop", "carts", "carts"),
            trust("web", "orders", "orders"),
        ]
    }

    #[test]
    fn a_changed_lock_touches_itself_a_new_or_lost_one_its_neighbours_too() {
        let it = trust("shop", "orders", "orders");
        let changed = Change { before: Some(&*it), after: Some(&*it) };
        assert_eq!(names(&by_trust(&changed, &trusts())), ["shop/orders"]);
        let gone = Change { before: Some(&*it), after: None };
        assert_eq!(names(&by_trust(&gone, &trusts())), ["shop/carts", "shop/orders"]);
    }

    #[test]
    fn a_route_touches_the_lock_it_names_and_the_one_it_named() {
        let (before, after) = (route("shop", "r", "orders", "s"), route("shop", "r", "carts", "s"));
        let moved = Change { before: Some(&*before), after: Some(&*after) };
        assert_eq!(names(&by_route(&moved)), ["shop/carts", "shop/orders"]);
    }

    #[test]
    fn a_service_touches_the_locks_of_its_routes_and_of_the_pods_that_it_leads_to() {
        let routes = [
            route("shop", "a", "orders", "svc"),
            route("shop", "b", "carts", "other"),
            route("web", "c", "orders", "svc"),
        ];
        let touched = |before: &str, after: &str| {
            let (before, after) = (service("shop", "svc", before), service("shop", "svc", after));
            names(&by_service(&Change { before: Some(&*before), after: Some(&*after) }, &trusts(), &routes))
        };
        assert_eq!(touched("none", "none"), ["shop/orders"]);
        assert_eq!(touched("none", "carts"), ["shop/carts", "shop/orders"]);
        assert_eq!(touched("carts", "none"), ["shop/carts", "shop/orders"]);
    }

    #[test]
    fn a_namespace_touches_its_locks_and_those_that_its_routes_name() {
        let it: LeanNamespace = serde_json::from_value(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        )
        .unwrap();
        let change = Change { before: None, after: Some(&it) };
        let routes = [route("shop", "a", "missing", "svc")];
        assert_eq!(
            names(&by_namespace(&change, &trusts(), &routes)),
            ["shop/carts", "shop/missing", "shop/orders"]
        );
    }

    #[test]
    fn a_pod_touches_the_locks_that_select_it_or_whose_secret_it_mounts() {
        let (before, after) =
            (pod("shop", "orders", "own"), pod("shop", "carts", &layout::secret_name("deleted")));
        let change = Change { before: Some(&before), after: Some(&after) };
        assert_eq!(
            names(&by_pod(&change, &trusts(), &[], &[])),
            ["shop/carts", "shop/deleted", "shop/orders"]
        );
        let stranger = pod("other", "orders", "own");
        let change = Change { before: None, after: Some(&stranger) };
        assert!(by_pod(&change, &trusts(), &[], &[]).is_empty());
    }

    #[test]
    fn a_pod_touches_the_locks_whose_routes_lead_to_it() {
        let it = pod("shop", "stray", "own");
        let change = Change { before: None, after: Some(&it) };
        let routes = [route("shop", "a", "orders", "svc"), route("web", "a", "orders", "svc")];
        let services = [service("shop", "svc", "stray"), service("shop", "other", "stray")];
        assert_eq!(names(&by_pod(&change, &trusts(), &routes, &services)), ["shop/orders"]);
    }
}
