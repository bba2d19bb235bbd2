//! The threads of a sidecar: workers, and who feeds them.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::{Options, StartError};
use crate::budget::Budget;
use crate::listener::{self, Entrance, Reception};
use crate::metrics::Metrics;
use crate::vital::Vital;
use crate::worker::{self, Settings};

/// What [`start_workers`] has started.
pub(super) struct Started {
    pub(super) workers: Vec<worker::Handle>,
    /// When each has ended.
    pub(super) ended: Vec<oneshot::Receiver<()>>,
    pub(super) budget: Arc<Budget>,
}

/// One worker accepts for itself; several are fed by a thread that does nothing else.
pub(super) fn start_workers(
    options: &Options,
    inbound: Vec<Entrance>,
    metrics: &Metrics,
    settings: &Settings,
    stop: &watch::Receiver<bool>,
    vital: &mut Vital,
) -> Result<Started, StartError> {
    let system = |what| move |error| StartError::System { what, error };
    let budget = Budget::new(options.limits.clone());
    let control = Arc::clone(&metrics.control);
    let ours = Arc::clone(&budget);
    let reception = |workers| Reception { workers, budget: ours, metrics: control };

    if let [only] = metrics.workers.as_slice() {
        let (stop, running) = (stop.clone(), vital.part("the worker"));
        let accept =
            move |own: worker::Handle| running.with(listener::accept(inbound, reception(vec![own]), stop));
        let started = worker::spawn("worker".to_owned(), settings, Arc::clone(only), accept);
        let (worker, ended) = started.map_err(system("thread for a worker"))?;
        return Ok(Started { workers: vec![worker], ended: vec![ended], budget });
    }
    let (mut workers, mut ended) = (Vec::new(), Vec::new());
    for (number, own) in metrics.workers.iter().enumerate() {
        // Dropped with the worker's runtime.
        let running = vital.part(format!("worker {number}"));
        let nothing_beside = |_| running.with(std::future::pending());
        let started = worker::spawn(format!("worker-{number}"), settings, Arc::clone(own), nothing_beside);
        let (worker, end) = started.map_err(system("thread for a worker"))?;
        workers.push(worker);
        ended.push(end);
    }
    let (reception, stop) = (reception(workers.clone()), stop.clone());
    let (runtime, running) = (control_runtime()?, vital.part("the acceptor"));
    std::thread::Builder::new()
        .name("acceptor".to_owned())
        .spawn(move || runtime.block_on(running.with(listener::accept(inbound, reception, stop))))
        .map_err(system("thread for the acceptor"))?;
    Ok(Started { workers, ended, budget })
}

pub(super) fn control_runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| StartError::System { what: "runtime", error })
}
