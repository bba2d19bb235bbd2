//! A whole sidecar: [`App::guard`] and [`App::standalone`] bind, [`App::run`] serves.
//!
//! The calling thread becomes the control thread: reloads, probes, admin and metrics. Traffic is the
//! workers' alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postern_config::layout;
use postern_config::signed::VerifyKey;
use rustls::crypto::CryptoProvider;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::error::StartError;
use self::threads::{Started, control_runtime, start_workers};
use crate::destination::{Destination, Fixed, Redirected, Target};
use crate::limits::Limits;
use crate::listener::{Entrance, bind, bind_everywhere};
use crate::metrics::Metrics;
use crate::observe::export;
use crate::own_addresses::OwnAddresses;
use crate::probes::{Health, ProbeServer, Prober, Probes, record};
use crate::readiness::{Pending, Readiness};
use crate::reload::guard::{Expectation, Secret};
use crate::reload::standalone::File;
use crate::reload::{Reloader, Source};
use crate::status::Status;
use crate::vital::Vital;
use crate::{admin, credentials, drain, worker};

/// For the last spans to be sent.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How a sidecar runs, whatever it guards.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that serve traffic; at least one.
    pub workers: usize,
    /// Whether permits are logged too.
    pub access_log: bool,
    /// Bounds.
    pub limits: Limits,
}

/// A sidecar in a guarded pod.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The lock's namespace.
    pub namespace: String,
    /// The lock's name.
    pub trust: String,
    /// The operator's keys.
    pub verify_keys: Vec<VerifyKey>,
    /// Where the lock's Secret is mounted.
    pub config: PathBuf,
    /// The folder with the pod record and the pod's name.
    pub record: PathBuf,
    /// Where the highest sequence is kept.
    pub state: PathBuf,
    /// Whether it listens on the ports that the pod record names, instead of one that everything is redirected to.
    pub listener: bool,
    /// The ports that it listens on.
    pub ports: Ports,
}

/// The sidecar's own ports; 0 lets the system choose.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// All redirected connections.
    pub inbound: u16,
    /// Probes.
    pub probe: u16,
    /// Metrics.
    pub metrics: u16,
    /// The operator's.
    pub admin: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            inbound: layout::INBOUND_PORT,
            probe: layout::PROBE_PORT,
            metrics: layout::METRICS_PORT,
            admin: layout::ADMIN_PORT,
        }
    }
}

/// Everything that is bound.
struct Endpoints {
    inbound: Vec<Entrance>,
    probe: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
    admin: Option<std::net::TcpListener>,
}

/// Where a sidecar listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Callers, in the order of the configuration.
    pub inbound: Vec<SocketAddr>,
    /// Probes.
    pub probe: Option<SocketAddr>,
    /// Metrics.
    pub metrics: Option<SocketAddr>,
    /// The operator.
    pub admin: Option<SocketAddr>,
}

/// A sidecar whose listeners are bound.
pub struct App {
    options: Options,
    endpoints: Endpoints,
    source: Box<dyn Source>,
    source_of_spans: export::Source,
    probes: Probes,
    /// What holds readiness back for as long as the sidecar runs.
    lasting: Vec<Pending>,
    ready: Readiness,
    metrics: Metrics,
    provider: Arc<CryptoProvider>,
}

impl App {
    /// A sidecar in a guarded pod: connections are redirected to it.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn guard(guard: &Guard, options: Options, metrics: Metrics) -> Result<Self, StartError> {
        let own = Arc::new(OwnAddresses::new().map_err(StartError::Addresses)?);
        let redirected = Arc::new(Redirected::new(Arc::clone(&own)));
        Self::guard_with(guard, options, metrics, own, redirected)
    }

    /// As [`Self::guard`], with another way to tell where a connection was bound for.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn guard_with(
        guard: &Guard,
        options: Options,
        metrics: Metrics,
        own: Arc<OwnAddresses>,
        destination: Arc<dyn Destination>,
    ) -> Result<Self, StartError> {
        let everywhere = |port: u16| {
            bind_everywhere(port).map_err(|error| StartError::Bind { place: format!("port {port}"), error })
        };
        let ready = Readiness::new();
        let mut lasting = Vec::new();
        let (probes, port_names, listeners) = match read_record(guard, own) {
            Ok((prober, names)) => {
                let listeners = prober.record().listeners.clone().unwrap_or_default();
                (Probes::Recorded(prober), names, listeners)
            }
            Err(reason) => {
                tracing::error!(reason, "the pod record cannot be used");
                lasting.push(ready.pending("pod record", reason));
                (Probes::Unavailable, PortNames::new(), std::collections::BTreeMap::new())
            }
        };
        let inbound = if guard.listener {
            let mut inbound = Vec::new();
            for (port, application) in listeners {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, application));
                let destination = Arc::new(Fixed(Target { port: application, address }));
                inbound.push(Entrance { listener: everywhere(port)?, destination });
            }
            inbound
        } else {
            vec![Entrance { listener: everywhere(guard.ports.inbound)?, destination }]
        };
        let endpoints = Endpoints {
            inbound,
            probe: Some(everywhere(guard.ports.probe)?),
            metrics: Some(everywhere(guard.ports.metrics)?),
            admin: Some(everywhere(guard.ports.admin)?),
        };
        let expected = Expectation {
            namespace: guard.namespace.clone(),
            trust: guard.trust.clone(),
            verify_keys: guard.verify_keys.clone(),
            port_names,
        };
        let source = Box::new(Secret::new(expected, &guard.config, &guard.state));
        let provider = provider()?;
        let lock = Some((guard.namespace.clone(), guard.trust.clone()));
        let source_of_spans = export::Source { lock };
        Ok(Self { options, endpoints, source, source_of_spans, probes, lasting, ready, metrics, provider })
    }

    /// A sidecar without Kubernetes.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn standalone(path: &Path, options: Options, metrics: Metrics) -> Result<Self, StartError> {
        let source = File::open(path)?;
        let at = |address: SocketAddr| {
            bind(address).map_err(|error| StartError::Bind { place: address.to_string(), error })
        };
        let written = source.bound();
        let mut inbound = Vec::new();
        for way in &written.listeners {
            let destination = Arc::new(Fixed(Target { port: way.port, address: way.upstream }));
            inbound.push(Entrance { listener: at(way.address)?, destination });
        }
        let endpoints = Endpoints {
            inbound,
            probe: written.probe_address.map(at).transpose()?,
            metrics: written.metrics_address.map(at).transpose()?,
            admin: None,
        };
        let (source, provider) = (Box::new(source), provider()?);
        let (probes, lasting, ready) = (Probes::Absent, Vec::new(), Readiness::new());
        let source_of_spans = export::Source::default();
        Ok(Self { options, endpoints, source, source_of_spans, probes, lasting, ready, metrics, provider })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system doesn't say.
    pub fn addresses(&self) -> io::Result<Addresses> {
        let of = |listener: &Option<std::net::TcpListener>| {
            listener.as_ref().map(std::net::TcpListener::local_addr).transpose()
        };
        let ends = &self.endpoints;
        Ok(Addresses {
            inbound: ends.inbound.iter().map(|it| it.listener.local_addr()).collect::<io::Result<_>>()?,
            probe: of(&ends.probe)?,
            metrics: of(&ends.metrics)?,
            admin: of(&ends.admin)?,
        })
    }

    /// Serves until SIGTERM or SIGINT, then drains.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn run(self) -> Result<(), StartError> {
        let system = |what| move |error| StartError::System { what, error };
        let runtime = control_runtime()?;
        let asked = {
            let _context = runtime.enter();
            drain::asked_to_end().map_err(system("signals"))?
        };
        runtime.block_on(self.serve(asked))
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        control_runtime()?.block_on(self.serve(shutdown))
    }

    fn announce(&self) {
        let Ok(addresses) = self.addresses() else { return };
        for address in addresses.inbound {
            tracing::info!(endpoint = "callers", %address, "listening");
        }
        for (endpoint, address) in
            [("probes", addresses.probe), ("metrics", addresses.metrics), ("admin", addresses.admin)]
        {
            if let Some(address) = address {
                tracing::info!(endpoint, %address, "listening");
            }
        }
    }

    async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        self.announce();
        let Self { options, endpoints, source, source_of_spans, probes, lasting, ready, metrics, provider } =
            self;
        let system = |what| move |error| StartError::System { what, error };
        let (stopping, stop) = watch::channel(false);
        // Beside the listeners everything goes on during the drain: what is revoked then must end too, and probes
        // must not fail.
        let (_lasting_on, on) = watch::channel(false);
        let mut vital = Vital::default();
        let status = Arc::new(Status::default());
        let (tracing_to, tracing) = watch::channel(None);
        let (spans, exporter) = export::channel(&source_of_spans, tracing, &metrics.control);
        let settings = worker::Settings {
            limits: options.limits.clone(),
            access_log: options.access_log,
            audits: Arc::clone(&status.audits),
            spans,
            passwords: credentials::Pool::start(credentials::Load::for_workers(options.workers))
                .map_err(system("thread for passwords"))?,
        };
        let Started { workers, ended, budget } =
            start_workers(&options, endpoints.inbound, &metrics, &settings, &stop, &mut vital)?;
        // From now on the workers alone hold the queue of spans: it ends with them.
        drop(settings);
        let exporting = tokio::spawn(exporter.run());

        let health = Health { started: Readiness::new(), ready: ready.clone() };
        let mut tasks = tokio::task::JoinSet::new();
        if let Some(listener) = endpoints.probe {
            let listener = TcpListener::from_std(listener).map_err(system("socket for probes"))?;
            let serving = ProbeServer::new(listener, health, probes).serve(std::future::pending());
            tasks.spawn(vital.part("the probes' endpoint").with(serving));
        }
        if let Some(listener) = endpoints.metrics {
            let serving = admin::serve_metrics(listener, metrics.clone(), on.clone());
            tasks.spawn(vital.part("the metrics' endpoint").with(serving));
        }
        if let Some(listener) = endpoints.admin {
            let serving = admin::serve(listener, Arc::clone(&status), metrics.clone(), on.clone());
            tasks.spawn(vital.part("the admin endpoint").with(serving));
        }
        let reloader = Reloader {
            source,
            workers: workers.clone(),
            budget,
            tracing: tracing_to,
            limits: options.limits.clone(),
            status,
            readiness: ready.clone(),
            metrics: Arc::clone(&metrics.control),
            provider,
            draining: stop,
        };
        tasks.spawn(vital.part("the watch over the configuration").with(reloader.run()));

        tokio::select! {
            biased;
            () = shutdown => {}
            part = vital.first_end() => return Err(StartError::Ended(part)),
        }
        tracing::info!("draining: no new connections, requests in flight are finished");
        let _draining = ready.pending("shutdown", "the sidecar is draining");
        stopping.send_replace(true);
        drain::finish(workers, ended, options.limits.drain).await;
        // What is left of the spans; a collector that doesn't answer is not waited for.
        let _ = tokio::time::timeout(LAST_SPANS, exporting).await;
        drop(lasting);
        tracing::info!("drained");
        Ok(())
    }
}

fn provider() -> Result<Arc<CryptoProvider>, StartError> {
    CryptoProvider::get_default().cloned().ok_or(StartError::NoProvider)
}

type PortNames = std::collections::BTreeMap<String, u16>;

fn read_record(guard: &Guard, own: Arc<OwnAddresses>) -> Result<(Prober, PortNames), String> {
    let record = record::load(&guard.record, &guard.verify_keys, &guard.namespace, &guard.trust)
        .map_err(|error| error.to_string())?;
    if record.listeners.is_some() != guard.listener {
        return Err(
            "it was made for a pod of another interception: delete the pod, so that it is injected anew"
                .to_owned(),
        );
    }
    let names = record.ports.clone();
    let prober = Prober::new(record, own).map_err(|error| error.to_string())?;
    Ok((prober, names))
}

mod error;
mod threads;

#[cfg(test)]
mod tests;
