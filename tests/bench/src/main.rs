//! Postern beside `HAProxy`, nginx and Envoy, in one run: what a request, a handshake, a connection costs each.

mod backend;
#[cfg(test)]
mod costs;
mod http1;
mod load;
mod measure;
mod picture;
mod pki;
mod pod;
mod process;
mod proxies;
mod report;
mod rows;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde_json::json;

use crate::measure::Extent;
use crate::pki::Pki;
use crate::proxies::{BACKEND, Kind, Programs, Proxy};
use crate::rows::{Peer, Row};

/// Measures the data path, beside what could stand there instead.
#[derive(Parser)]
struct Arguments {
    /// The sidecar to measure.
    #[arg(long)]
    sidecar: PathBuf,
    /// A folder with the peers: `root` with Debian's packages, and `envoy`.
    #[arg(long)]
    peers: PathBuf,
    /// Rows to measure, by name or by the beginning of one, with commas between; all of them if absent.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Whom to compare with; all if absent.
    #[arg(long, value_delimiter = ',')]
    against: Vec<String>,
    /// Rounds: each measures every proxy once.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Milliseconds of each measurement.
    #[arg(long, default_value_t = 600)]
    length: u64,
    /// How many idle connections.
    #[arg(long, default_value_t = 9900)]
    connections: usize,
    /// A folder for results.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    process::stay_off_the_proxies()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let work = arguments.out.join("work");
    std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let pki = Pki::write(&std::fs::canonicalize(&work)?)?;
    let programs = Programs { sidecar: arguments.sidecar.clone(), peers: arguments.peers.clone() };
    backend::serve(BACKEND)?;
    let rows = wanted(arguments)?;
    let mut proxies = Vec::new();
    for kind in Kind::ALL {
        if rows.iter().any(|row| !row.afresh() && takes_part(row, kind)) {
            proxies.push(Proxy::start(kind, &programs, &pki).await?);
        }
    }
    if rows.iter().any(Row::redirected) {
        proxies.push(Proxy::redirected(&programs, &pki).await?);
    }
    let extent =
        Extent { length: Duration::from_millis(arguments.length), connections: arguments.connections };
    let mut results = Vec::new();
    let all = rows.len();
    // Rows that need processes of their own come last, when the others' have ended.
    let (afresh, running): (Vec<_>, Vec<_>) = rows.into_iter().partition(Row::afresh);
    for row in running.into_iter().chain(afresh) {
        if row.afresh() {
            proxies.clear();
        }
        let number = results.len() + 1;
        eprintln!("{:4} s  [{number}/{all}] {}: {}", begin.elapsed().as_secs(), row.name, row.what);
        let rounds = if row.once() { 1 } else { arguments.rounds };
        let mut result = report::Result { own: Vec::new(), others: vec![Vec::new(); row.peers.len()], row };
        for round in 0..rounds {
            one_round(&mut result, round, &proxies, &programs, &pki, extent).await?;
        }
        for line in result.lines() {
            println!("{line}");
        }
        results.push(result);
        write(&arguments.out, &results)?;
    }
    eprintln!(
        "{:4} s  {} holds all numbers and a picture",
        begin.elapsed().as_secs(),
        arguments.out.display()
    );
    Ok(())
}

/// Measures every proxy once; who begins changes from round to round.
async fn one_round(
    result: &mut report::Result,
    round: u32,
    proxies: &[Proxy],
    programs: &Programs,
    pki: &Pki,
    extent: Extent,
) -> Result<()> {
    let row = &result.row;
    let mut contenders: Vec<(Option<usize>, Peer)> = vec![(None, Peer::Proxy(Kind::Postern))];
    contenders.extend(row.peers.iter().enumerate().map(|(at, (peer, _))| (Some(at), *peer)));
    let first = usize::try_from(round)? % contenders.len();
    contenders.rotate_left(first);
    for (at, peer) in contenders {
        let kind = match peer {
            Peer::Proxy(kind) => kind,
            Peer::MutualTls => Kind::Postern,
        };
        let number = if row.afresh() {
            measure::afresh(row, kind, programs, pki, extent).await
        } else {
            let redirected = row.redirected() && peer != Peer::MutualTls;
            let meant = |proxy: &&Proxy| proxy.kind == kind && proxy.is_redirected() == redirected;
            let proxy = proxies.iter().find(meant).context("a proxy that was not started")?;
            measure::running(row, peer, proxy, pki, extent).await
        };
        let number = number.with_context(|| format!("{} of {}", row.name, kind.name()))?;
        match at.and_then(|at| result.others.get_mut(at)) {
            Some(others) => others.push(number),
            None => result.own.push(number),
        }
    }
    Ok(())
}

/// The rows that were asked for, with the peers that were.
fn wanted(arguments: &Arguments) -> Result<Vec<Row>> {
    let asked = |row: &Row| {
        let begins = |name: &String| {
            row.name == name || name.strip_suffix('*').is_some_and(|n| row.name.starts_with(n))
        };
        arguments.rows.is_empty() || arguments.rows.iter().any(begins)
    };
    let mut rows: Vec<Row> = rows::all().into_iter().filter(asked).collect();
    if rows.is_empty() {
        let names: Vec<_> = rows::all().iter().map(|row| row.name).collect();
        bail!("there is no such row; the rows are {}", names.join(" "));
    }
    if let Some(name) =
        arguments.against.iter().find(|name| Kind::ALL.iter().all(|kind| kind.name() != **name))
    {
        bail!("there is no proxy {name}; the proxies are haproxy, nginx and envoy");
    }
    for row in &mut rows {
        let compared =
            |peer: Peer| peer == Peer::MutualTls || arguments.against.iter().any(|name| name == peer.name());
        row.peers.retain(|(peer, _)| arguments.against.is_empty() || compared(*peer));
    }
    Ok(rows)
}

fn takes_part(row: &Row, kind: Kind) -> bool {
    kind == Kind::Postern || row.peers.iter().any(|(peer, _)| *peer == Peer::Proxy(kind))
}

fn write(out: &Path, results: &[report::Result]) -> Result<()> {
    let rows: Vec<_> = results.iter().map(report::Result::json).collect();
    let text = serde_json::to_string_pretty(&json!({"rows": rows}))? + "\n";
    std::fs::write(out.join("result.json"), text)?;
    std::fs::write(out.join("result.md"), report::table(results))?;
    std::fs::write(out.join("result.svg"), picture::draw(results))?;
    Ok(())
}
