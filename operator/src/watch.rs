//! What wakes what: the watches, the stores that they keep, and the locks that each change touches.

use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::{Writer, WriterDropped};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use postern_crds::{ApiRoute, BackendTrust};
use tokio::sync::Notify;

pub mod feed;
pub mod lean;
pub mod queue;
pub mod touched;

pub use queue::{Next, Queue, Urgency, Waker};

use crate::apply::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::gather::armed_since;
use crate::inputs::{Injection, LockKey};
use crate::render::admission::webhook;
use crate::resolve::lock;
use crate::watch::lean::{LeanNamespace, LeanPod};

/// What the operator knows of the cluster without asking. Cloning shares it.
#[derive(Clone)]
pub struct Stores {
    /// All locks.
    pub trusts: Store<BackendTrust>,
    /// All keys.
    pub routes: Store<ApiRoute>,
    /// All Services.
    pub services: Store<Service>,
    /// All namespaces, by name and labels.
    pub namespaces: Store<LeanNamespace>,
    /// All pods, as the few fields that are used.
    pub pods: Store<LeanPod>,
}

impl Stores {
    /// Waits until every store has been filled once.
    pub async fn ready(&self) -> Result<(), WriterDropped> {
        self.trusts.wait_until_ready().await?;
        self.routes.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await?;
        self.pods.wait_until_ready().await
    }
}

/// Whether a lock is refused because its namespace's Pod Security standard forbids what its pods would need.
pub fn is_withheld(trust: &BackendTrust, namespaces: &Store<LeanNamespace>) -> bool {
    let namespace = trust.namespace().and_then(|name| namespaces.get(&ObjectRef::new(&name)));
    let armed = trust.status.as_ref().and_then(armed_since).is_some();
    namespace.is_some_and(|namespace| lock::is_withheld(trust, namespace.labels(), armed))
}

/// Wakes the locks that a function names, if there is a queue; else the function is not even called.
type Wake<'a> = dyn Fn(Urgency, &dyn Fn() -> Vec<LockKey>) + Sync + 'a;

/// The watches, not yet running.
pub struct Watches {
    client: Client,
    stores: Stores,
    trusts: Writer<BackendTrust>,
    routes: Writer<ApiRoute>,
    services: Writer<Service>,
    namespaces: Writer<LeanNamespace>,
    pods: Writer<LeanPod>,
    waker: Arc<OnceLock<Waker>>,
    registration: Arc<Notify>,
}

impl Watches {
    /// Watches over the whole cluster.
    pub fn new(client: Client) -> Self {
        let (trusts, routes, services, namespaces, pods) =
            (Writer::default(), Writer::default(), Writer::default(), Writer::default(), Writer::default());
        let stores = Stores {
            trusts: trusts.as_reader(),
            routes: routes.as_reader(),
            services: services.as_reader(),
            namespaces: namespaces.as_reader(),
            pods: pods.as_reader(),
        };
        let (waker, registration) = (Arc::default(), Arc::default());
        Self { client, stores, trusts, routes, services, namespaces, pods, waker, registration }
    }

    /// The stores that the watches fill.
    pub fn stores(&self) -> Stores {
        self.stores.clone()
    }

    /// Where the leader puts its queue; before that, changes only go to the stores.
    pub fn waker(&self) -> Arc<OnceLock<Waker>> {
        self.waker.clone()
    }

    /// Told whenever the webhook's registration is made, changed or deleted, by whomever.
    pub fn registration(&self) -> Arc<Notify> {
        self.registration.clone()
    }

    /// Watches for ever. `judge` says whether and for which lock a pod is injected.
    pub async fn run(self, judge: impl Fn(&Pod) -> Injection) {
        let Self { client, stores, trusts, routes, services, namespaces, pods, waker, registration } = self;
        // Without a leader's queue there is nobody to wake, so nothing is worked out either.
        let wake = |urgency: Urgency, keys: &dyn Fn() -> Vec<LockKey>| {
            if let Some(waker) = waker.get() {
                for key in keys() {
                    waker.wake(key, urgency);
                }
            }
        };
        let (all_trusts, all_routes) = (|| stores.trusts.state(), || stores.routes.state());
        let config = watcher::Config::default;
        let ours = || config().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
        let registered = config().fields(&format!("metadata.name={}", webhook::NAME));
        tokio::join!(
            feed::follow(
                feed::events(Api::all(client.clone()), registered).map(feed::slim),
                Writer::default(),
                |object: &PartialObjectMeta<MutatingWebhookConfiguration>| {
                    let metadata = &object.metadata;
                    (metadata.uid.clone(), metadata.generation, metadata.labels.clone())
                },
                |_| registration.notify_one(),
            ),
            written_by_us::<ValidatingAdmissionPolicy>(Api::all(client.clone()), ours(), &wake),
            written_by_us::<ValidatingAdmissionPolicyBinding>(Api::all(client.clone()), ours(), &wake),
            feed::follow(
                feed::events(Api::all(client.clone()), config()).map(feed::slim),
                trusts,
                |trust: &BackendTrust| (
                    trust.meta().uid.clone(),
                    trust.meta().deletion_timestamp.is_some(),
                    trust.spec.clone()
                ),
                |change| wake(change.urgency(), &|| touched::by_trust(&change, &all_trusts())),
            ),
            feed::follow(
                feed::events(Api::all(client.clone()), config()).map(feed::slim),
                routes,
                |route: &ApiRoute| (
                    route.meta().uid.clone(),
                    route.meta().deletion_timestamp.is_some(),
                    route.spec.clone()
                ),
                |change| wake(change.urgency(), &|| touched::by_route(&change)),
            ),
            feed::follow(
                feed::events(Api::all(client.clone()), config()).map(feed::slim),
                services,
                |service: &Service| service.spec.clone(),
                |change| wake(Urgency::InTurn, &|| touched::by_service(
                    &change,
                    &all_trusts(),
                    &all_routes()
                )),
            ),
            feed::follow(
                feed::events(Api::all(client.clone()), config()).map(feed::slim),
                namespaces,
                |namespace: &LeanNamespace| {
                    (namespace.metadata.labels.clone(), namespace.metadata.deletion_timestamp.is_some())
                },
                |change| wake(Urgency::InTurn, &|| touched::by_namespace(
                    &change,
                    &all_trusts(),
                    &all_routes()
                )),
            ),
            feed::follow(
                feed::events::<Pod>(Api::all(client.clone()), config())
                    .map(|event| feed::convert(event, |pod| LeanPod::new(pod, judge(pod)))),
                pods,
                LeanPod::matters,
                |change| {
                    wake(Urgency::InTurn, &|| {
                        touched::by_pod(&change, &all_trusts(), &all_routes(), &stores.services.state())
                    });
                },
            ),
        );
    }
}

/// Wakes the locks whose own objects somebody has changed or deleted. Only their metadata is kept.
async fn written_by_us<K>(api: Api<PartialObjectMeta<K>>, config: watcher::Config, wake: &Wake<'_>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    feed::follow(
        feed::events(api, config).map(feed::slim),
        Writer::default(),
        |object: &PartialObjectMeta<K>| (object.metadata.uid.clone(), object.metadata.generation),
        |change| wake(change.urgency(), &|| change.versions().filter_map(touched::by_labels).collect()),
    )
    .await;
}
