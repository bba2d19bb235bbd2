//! Callers that send at a fixed rate, whether or not the last request is answered.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::{Caller, Measured};
use crate::process::Process;

/// A request each millisecond, by whichever caller waits; what each cost, and the 99th percentile of how long it took
/// since it was due, in microseconds.
pub(crate) async fn open_loop(
    process: &Process,
    callers: Vec<Caller>,
    length: Duration,
) -> Result<(Measured, f64)> {
    let waiting = Rc::new(RefCell::new(callers));
    let took = Rc::new(RefCell::new(Vec::new()));
    let fault = Rc::new(RefCell::new(None));
    let (ticks, mut due) = mpsc::unbounded_channel();
    let cpu = process.cpu_us()?;
    let begin = Instant::now();
    // A thread's sleep is more exact than the runtime's timers, which count milliseconds.
    std::thread::spawn(move || {
        let mut at = begin;
        while at < begin + length {
            at += Duration::from_millis(1);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if ticks.send(at).is_err() {
                return;
            }
        }
    });
    while let Some(due) = due.recv().await {
        let caller = waiting.borrow_mut().pop();
        let mut caller = caller.context("all callers wait for an answer: 1,000 requests/s are too many")?;
        let (waiting, took, fault) = (Rc::clone(&waiting), Rc::clone(&took), Rc::clone(&fault));
        tokio::task::spawn_local(async move {
            match caller.once().await {
                Ok(()) => took.borrow_mut().push(due.elapsed()),
                Err(error) => *fault.borrow_mut() = Some(error),
            }
            waiting.borrow_mut().push(caller);
        });
    }
    let cpu_us = process.cpu_us()? - cpu;
    if let Some(error) = fault.borrow_mut().take() {
        return Err(error);
    }
    let mut took = took.take();
    took.sort_unstable();
    let at = took.len() * 99 / 100;
    let p99 = took.get(at).context("nothing was answered")?.as_secs_f64() * 1e6;
    let count = f64::from(u32::try_from(took.len())?);
    Ok((Measured { cpu_us, count }, p99))
}
