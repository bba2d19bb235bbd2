//! Callers that send their next request when the last one is answered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Caller, LIMIT, Way};
use crate::process::Process;

/// What a stretch of work cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Of the proxy's processor time, in microseconds.
    pub(crate) cpu_us: f64,
    /// How many requests or handshakes were answered in it.
    pub(crate) count: f64,
}

impl Measured {
    pub(crate) fn each(&self) -> f64 {
        self.cpu_us / self.count.max(1.0)
    }
}

#[derive(Default)]
struct Shared {
    count: Cell<u32>,
    stop: Cell<bool>,
    fault: RefCell<Option<anyhow::Error>>,
}

/// Lets callers ask for so long, and tells what it cost the proxy.
pub(crate) async fn closed_loop(
    process: &Process,
    callers: Vec<Caller>,
    length: Duration,
) -> Result<Measured> {
    let shared = Rc::new(Shared::default());
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            let shared = Rc::clone(&shared);
            tokio::task::spawn_local(async move {
                while !shared.stop.get() {
                    match caller.once().await {
                        Ok(()) => shared.count.set(shared.count.get() + 1),
                        Err(error) => return fail(&shared, error),
                    }
                }
            })
        })
        .collect();
    watch(process, &shared, tasks, length).await
}

/// Whole handshakes, by so many callers at a time.
pub(crate) async fn handshakes(
    process: &Process,
    way: &Way,
    at_a_time: usize,
    length: Duration,
) -> Result<Measured> {
    let shared = Rc::new(Shared::default());
    let tasks: Vec<_> = (0..at_a_time)
        .map(|_| {
            let (shared, way) = (Rc::clone(&shared), way.clone());
            tokio::task::spawn_local(async move {
                while !shared.stop.get() {
                    match way.handshake().await {
                        Ok(()) => shared.count.set(shared.count.get() + 1),
                        Err(error) => return fail(&shared, error),
                    }
                }
            })
        })
        .collect();
    watch(process, &shared, tasks, length).await
}

fn fail(shared: &Shared, error: anyhow::Error) {
    shared.stop.set(true);
    shared.fault.borrow_mut().get_or_insert(error);
}

async fn watch(
    process: &Process,
    shared: &Shared,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    length: Duration,
) -> Result<Measured> {
    tokio::time::sleep(length / 5).await;
    let (cpu, count) = (process.cpu_us()?, shared.count.get());
    tokio::time::sleep(length).await;
    let measured = Measured { cpu_us: process.cpu_us()? - cpu, count: f64::from(shared.count.get() - count) };
    shared.stop.set(true);
    for task in tasks {
        if tokio::time::timeout(LIMIT, task).await.is_err() {
            bail!("a request was not answered within {LIMIT:?}");
        }
    }
    match shared.fault.borrow_mut().take() {
        Some(error) => Err(error),
        None if measured.count < 1.0 => bail!("nothing was answered"),
        None => Ok(measured),
    }
}
