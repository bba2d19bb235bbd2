//! The running operator: constructors bind, [`App::run`] serves.
//!
//! All replicas watch, answer admission requests and serve health and metrics; the one that holds the lease
//! reconciles. Whoever loses it ends, and begins anew as a candidate.
//!
//! # What it needs to be allowed
//!
//! In the whole cluster:
//! * `postern.dev` backendtrusts, apiroutes: list, watch; `/status`: patch.
//! * pods: list, watch, patch (annotations), create (dry run only); pods/eviction: create.
//! * services, namespaces: list, watch; namespaces: get (the cluster's id).
//! * secrets, configmaps: get, create, patch, delete, each by name. Secrets of others are read only where a lock names
//!   them, and read again every half minute, since nothing less than a list of all would tell of a change.
//! * `apps` deployments, statefulsets, daemonsets: get, patch (pod template's annotations); replicasets: get.
//! * `admissionregistration.k8s.io` validatingadmissionpolicies, validatingadmissionpolicybindings: get, list,
//!   watch, create, patch, delete; mutatingwebhookconfigurations, `postern` alone: get, list, watch,
//!   create, patch.
//! * `events.k8s.io` events: create, patch.
//!
//! In each namespace that takes a gateway's outputs, the operator's own among them: secrets, configmaps: list (by
//! its own labels, to find what nobody asks for any more).
//!
//! In its own namespace: secrets: update (the webhook's certificate); `coordination.k8s.io` leases,
//! `postern-operator` alone: get, create, patch.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acknowledge::{Answers, AskError, Asker};
use crate::bootstrap::{self, BootstrapError, Learnt};
use crate::config::Config;
use crate::gather::Reader;
use crate::health::{Endpoint, Readiness};
use crate::images::{self, ImagesError, InjectedImage, KnownImages};
use crate::injection::structure::Accepted;
use crate::inputs::Authorities;
use crate::issue;
use crate::leader::{Candidate, LeaderError};
use crate::leftovers;
use crate::metrics::Metrics;
use crate::pki::rotation::OwnCertificates;
use crate::reconcile::Reconciler;
use crate::registration::Registration;
use crate::status::Reporter;
use crate::watch::{Queue, Urgency, Waker, Watches};
use crate::webhook::inject::Injector;
use crate::webhook::review::Reviewer;
use crate::webhook::server::{Server, ServerError};

mod known;

use known::{KnownLocks, judge};

/// Name of the operator's service account, which the chart makes.
const SERVICE_ACCOUNT: &str = "postern-operator";
/// The webhook still answers for so long after a stop was asked for, until the API server calls other replicas.
const DRAIN: Duration = Duration::from_secs(3);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tells the replicas apart.
    pub identity: String,
    /// Of `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// Of `/metrics`.
    pub metrics: SocketAddr,
}

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no way to the API server.
    #[error("no connection to a cluster: {0}; run in a pod with a service account, or set KUBECONFIG")]
    Client(#[from] kube::Error),
    /// What it stands on is not there.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// Which images count can't be put on record.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// An address is taken.
    #[error("cannot listen on {address} for {what}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What for.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The webhook cannot be served.
    #[error(transparent)]
    Webhook(#[from] ServerError),
    /// The sidecars cannot be verified.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Leadership was lost or cannot be had.
    #[error(transparent)]
    Leader(#[from] LeaderError),
}

/// Bound and ready to run.
pub struct App {
    client: Client,
    namespace: String,
    identity: String,
    health: Endpoint,
    scrape: Endpoint,
    webhook: Server,
    certificates: OwnCertificates,
    watches: Watches,
    accepted: Accepted,
    images: KnownImages,
    injected: InjectedImage,
    readiness: Readiness,
    filled: Arc<OnceLock<()>>,
    reconciler: Reconciler,
}

impl App {
    /// Learns what it has to from the cluster and binds all addresses.
    pub async fn bind(config: Config, options: Options) -> Result<Self, AppError> {
        let client = Client::try_default().await?;
        let readiness = Readiness::default();
        let metrics = Metrics::default();
        let bound = |address, what| move |source| AppError::Bind { address, what, source };
        let health = Endpoint::health(options.health, readiness.clone())
            .await
            .map_err(bound(options.health, "health"))?;
        let scrape = Endpoint::bind(options.metrics, metrics.router())
            .await
            .map_err(bound(options.metrics, "metrics"))?;
        let learnt = bootstrap::learn(&client, &config).await?;
        let Learnt { settings, authorities, signer, record_signer, certificates, images } = learnt;
        let watches = Watches::new(client.clone());
        let stores = watches.stores();
        let injected = InjectedImage::new(images.to_inject());
        let injector = Injector {
            signer: record_signer,
            verify_keys: settings.verify_keys.clone(),
            image: injected.clone(),
            pull_policy: Some(config.sidecar.image_pull_policy.clone()),
            resources: config.sidecar.resources.clone(),
        };
        let accepted = Accepted {
            current_image: settings.images.current.clone(),
            previous_image: settings.images.previous.clone(),
            verify_keys: settings.verify_keys.iter().map(ToString::to_string).collect(),
        };
        let filled = Arc::<OnceLock<()>>::default();
        let locks = KnownLocks {
            settings: settings.clone(),
            trusts: stores.trusts.clone(),
            namespaces: stores.namespaces.clone(),
            filled: filled.clone(),
        };
        let operator = format!("system:serviceaccount:{}:{SERVICE_ACCOUNT}", config.namespace);
        let reviewer = Reviewer::new(Arc::new(locks), injector, operator);
        let counting = metrics.clone();
        let observer = Arc::new(move |verdict| counting.reviewed(verdict));
        let address = SocketAddr::new(options.health.ip(), config.webhook.port);
        let webhook = Server::bind(address, certificates.serving(), reviewer, observer).await?;
        let roots = Authorities {
            backend_roots_pem: authorities.backends.cert_pem().to_owned(),
            client_roots_pem: authorities.callers.cert_pem().to_owned(),
        };
        let (backends, callers) = (authorities.backends.clone(), authorities.callers.clone());
        let reconciler = Reconciler {
            asker: Asker::new(&roots.backend_roots_pem, certificates.calling())?,
            registration: Registration::new(&config, &roots.backend_roots_pem, watches.registration()),
            reader: Reader::new(backends, callers, settings.verify_keys.clone()),
            reporter: Reporter::new(client.clone(), &options.identity),
            answers: Answers::default(),
            proofs: crate::armed::Proofs::default(),
            patience: crate::reconcile::Patience::default(),
            client: client.clone(),
            settings,
            stores,
            issuer: issue::Issuer::new(authorities, signer.clone()),
            roots,
            signer,
            metrics,
        };
        Ok(Self {
            client,
            namespace: config.namespace,
            identity: options.identity,
            health,
            scrape,
            webhook,
            certificates,
            watches,
            accepted,
            images,
            injected,
            readiness,
            filled,
            reconciler,
        })
    }

    /// Runs until `stop`, or until leadership is lost.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let Self { client, namespace, identity, readiness, filled, accepted, images, reconciler, .. } = self;
        let (waker, stores) = (self.watches.waker(), self.watches.stores());
        let (serving, tasks) = (CancellationToken::new(), TaskTracker::new());
        let starting = readiness.wait_for("the first lists of what is watched");
        let older = images.older.clone();
        let judge = move |pod: &_| judge(&accepted, &older, pod);
        let watching = serving.clone().run_until_cancelled_owned(self.watches.run(judge));
        tasks.spawn(watching);
        let following = images::follow(client.clone(), namespace.clone(), self.injected);
        tasks.spawn(serving.clone().run_until_cancelled_owned(following));
        tasks.spawn(logged("health", self.health.run(serving.clone())));
        tasks.spawn(logged("metrics", self.scrape.run(serving.clone())));
        tasks.spawn(self.webhook.run(serving.clone()));
        tasks.spawn(self.certificates.run(serving.clone()));

        let led = async {
            tokio::select! {
                ready = stores.ready() => {
                    ready.map_err(|_| LeaderError::Ended("the watches have stopped".to_owned()))?;
                }
                () = stop.cancelled() => return Ok(()),
            }
            filled.get_or_init(|| ());
            drop(starting);
            lead(client, &namespace, &identity, reconciler, &images, &waker, &stop).await
        };
        let result = led.await;
        let _stopping = readiness.wait_for("its end");
        if result.is_ok() {
            tokio::time::sleep(DRAIN).await;
        }
        serving.cancel();
        tasks.close();
        tasks.wait().await;
        result
    }
}

/// Waits for the lease, then reconciles until `stop` or until the lease is lost.
async fn lead(
    client: Client,
    namespace: &str,
    identity: &str,
    reconciler: Reconciler,
    images: &KnownImages,
    waker: &OnceLock<Waker>,
    stop: &CancellationToken,
) -> Result<(), AppError> {
    let mut candidate = Candidate::stand(client.clone(), namespace, identity).await?;
    tokio::select! {
        elected = candidate.elected() => elected?,
        () = stop.cancelled() => {
            candidate.resign().await;
            return Ok(());
        }
    }
    tracing::info!(identity, "leads");
    reconciler.metrics.leads(true);
    images::check(&client, namespace, images).await?;
    let queue = Queue::default();
    // From here on each change wakes its locks; whatever was before is looked at once.
    let waker = waker.get_or_init(|| queue.waker());
    for key in leftovers::all_locks(&client, &reconciler.settings, &reconciler.stores).await {
        waker.wake(key, Urgency::InTurn);
    }
    let ended = stop.child_token();
    let working = queue.run(ended.clone(), |key| reconciler.work(key));
    tokio::select! {
        () = working => {
            candidate.resign().await;
            Ok(())
        }
        // What is being done is given up at once: another replica may be at it already.
        error = candidate.deposed() => Err(error.into()),
        never = reconciler.keep_registered(waker) => match never {},
        Err(error) = Box::pin(images::switch(&client, namespace, images)) => Err(error.into()),
    }
}

async fn logged(what: &'static str, serving: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!(what, %error, "no longer served");
    }
}
