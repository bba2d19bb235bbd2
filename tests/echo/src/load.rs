//! The same attempt at a steady rate.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use crate::attempt::{Attempt, Outcome};
use crate::call;
use crate::control::{self, State};

/// A load.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Each of these in turn, on a connection of its own.
    pub attempts: Vec<Attempt>,
    /// Attempts per second.
    pub per_second: u32,
    /// Ends by itself after this long, in seconds.
    pub limit_seconds: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Attempts made.
    pub made: u64,
    /// Those that got in.
    pub got_in: u64,
    /// The others by [`Outcome::brief`].
    pub lost: BTreeMap<String, u64>,
    /// The first few of the others: milliseconds after the start, and what came.
    pub first_lost: Vec<(u64, Outcome)>,
}

/// Keeps a load up and prints [`Totals`]. With `load` until [`control::Order::End`]; without, the load is read from standard
/// input, `started` is printed, and it ends with the next line.
///
/// # Errors
/// If there is no load.
pub async fn run(load: Option<String>) -> std::io::Result<()> {
    let mut stdin = BufReader::new(tokio::io::stdin());
    let totals = if let Some(load) = load {
        let load = serde_json::from_str(&load)?;
        let state = State::default();
        let listener = TcpListener::bind(("127.0.0.1", control::PORT)).await?;
        let local = LocalSet::new();
        local.spawn_local(control::serve(listener, state.clone()));
        local.run_until(keep_up(load, state.end.notified())).await
    } else {
        let mut line = String::new();
        stdin.read_line(&mut line).await?;
        let load: Load = serde_json::from_str(&line)?;
        println!("started");
        let end = async {
            let mut next = String::new();
            // Its end ends the load as a line does.
            let _ = stdin.read_line(&mut next).await;
        };
        LocalSet::new().run_until(keep_up(load, end)).await
    };
    println!("{}", serde_json::to_string(&totals)?);
    Ok(())
}

/// Keeps the load up until `end` or its limit. Runs inside a [`LocalSet`].
pub async fn keep_up(load: Load, end: impl Future<Output = ()>) -> Totals {
    let totals = Rc::new(RefCell::new(Totals::default()));
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / load.per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut running = JoinSet::new();
    let limit = tokio::time::sleep(Duration::from_secs(load.limit_seconds));
    tokio::pin!(end, limit);
    for attempt in load.attempts.iter().cycle() {
        tokio::select! {
            () = &mut end => break,
            () = &mut limit => break,
            _ = ticks.tick() => {}
        }
        let (attempt, totals) = (attempt.clone(), totals.clone());
        running.spawn_local(async move {
            let outcome = call::make(&attempt).await.outcome;
            let mut totals = totals.borrow_mut();
            totals.made += 1;
            if outcome.got_in() {
                totals.got_in += 1;
                return;
            }
            *totals.lost.entry(outcome.brief()).or_default() += 1;
            if totals.first_lost.len() < 5 {
                let after = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                totals.first_lost.push((after, outcome));
            }
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    totals.take()
}
