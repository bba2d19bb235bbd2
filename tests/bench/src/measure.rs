//! One number of one proxy.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::load::{Asked, Caller, Ends, Way, closed_loop, handshakes, open_loop};
use crate::pki::{Group, Offer, Pki};
use crate::process::Memory;
use crate::proxies::{HTTP, Kind, Programs, Proxy, without_visitor};
use crate::rows::{Peer, Row, Work};

/// How many handshakes are under way at a time.
const AT_A_TIME: usize = 4;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) length: Duration,
    /// Idle connections.
    pub(crate) connections: usize,
}

/// A row's number, of a proxy that runs.
pub(crate) async fn running(row: &Row, of: Peer, proxy: &Proxy, pki: &Pki, extent: Extent) -> Result<f64> {
    let process = &proxy.process;
    match &row.work {
        Work::Requests { door, offer, connections, streams, asked } => {
            let door = if of == Peer::MutualTls { HTTP } else { *door };
            let way = proxy.way(pki, door, *offer)?;
            let callers = way.callers(*offer, *connections, *streams, asked).await?;
            Ok(closed_loop(process, callers, extent.length).await?.each())
        }
        Work::Redirected { connections, asked } => {
            let callers = proxy.way(pki, HTTP, Offer::Http1)?.http1(*connections, asked).await?;
            Ok(closed_loop(process, callers, extent.length).await?.each())
        }
        Work::Rate { tail } => {
            let callers = proxy.way(pki, HTTP, Offer::Http1)?.http1(32, &Asked::get(1024)).await?;
            let (measured, p99) = open_loop(process, callers, extent.length).await?;
            Ok(if *tail { p99 } else { measured.each() })
        }
        Work::Handshakes(group) => {
            let way = proxy.kind.way(pki, HTTP, false, *group, Offer::Http1)?;
            Ok(handshakes(process, &way, AT_A_TIME, extent.length).await?.each())
        }
        _ => bail!("{} needs a process of its own", row.name),
    }
}

/// A row's number, of a proxy that is started for it.
pub(crate) async fn afresh(
    row: &Row,
    kind: Kind,
    programs: &Programs,
    pki: &Pki,
    extent: Extent,
) -> Result<f64> {
    match &row.work {
        Work::Start => Ok(Proxy::begin(kind, programs, pki).await?.first_handshake.as_secs_f64() * 1e3),
        Work::Memory => {
            let proxy = Proxy::start(kind, programs, pki).await?;
            Ok(settled(&proxy).await?.pss / 1024.0)
        }
        Work::Idle { door, offer } => {
            let proxy = Proxy::start(kind, programs, pki).await?;
            Ok(idle_costs(&proxy, pki, *door, *offer, extent.connections).await?.1)
        }
        Work::Policy => {
            let proxy = Proxy::start(kind, programs, pki).await?;
            policy(&proxy, pki, extent.connections).await
        }
        _ => bail!("{} needs no process of its own", row.name),
    }
}

/// What a proxy's memory comes to while nothing happens: without connections in KiB, and of each of so many that wait
/// in bytes.
pub(crate) async fn idle_costs(
    proxy: &Proxy,
    pki: &Pki,
    door: u16,
    offer: Offer,
    connections: usize,
) -> Result<(f64, f64)> {
    let before = settled(proxy).await?;
    let idle = idle(&proxy.way(pki, door, offer)?, offer, connections).await?;
    // Connections don't share their data; what of the program is mapped again when there is work belongs to none of them.
    let grown = settled(proxy).await?.anonymous - before.anonymous;
    Ok((before.pss, grown * 1024.0 / count(idle.len())?))
}

/// Memory once nothing changes any more.
async fn settled(proxy: &Proxy) -> Result<Memory> {
    let mut last = proxy.process.memory()?;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = proxy.process.memory()?;
        if (now.pss - last.pss).abs() < 16.0 {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Connections that have each had an answer and now wait.
async fn idle(way: &Way, offer: Offer, connections: usize) -> Result<Vec<Caller>> {
    let asked = Asked::get(1024);
    let one = async |_| {
        let mut callers = way.callers(offer, 1, 1, &asked).await?;
        let mut caller = callers.pop().context("no caller")?;
        caller.once().await?;
        caller.rest();
        anyhow::Ok(caller)
    };
    stream::iter(0..connections).map(one).buffer_unordered(AT_A_TIME).try_collect().await
}

/// Half of the connections lose their key.
async fn policy(proxy: &Proxy, pki: &Pki, connections: usize) -> Result<f64> {
    let way = |visitor| proxy.kind.way(pki, HTTP, visitor, Group::X25519, Offer::Http1);
    let mut gateways = idle(&way(false)?, Offer::Http1, connections / 2).await?;
    let visitors = idle(&way(true)?, Offer::Http1, connections / 2).await?;
    let sockets = visitors.into_iter().map(|visitor| match visitor {
        Caller::Http1(visitor) => visitor.into_socket(),
        Caller::Http2(_) => bail!("the end of HTTP/2 is not waited for"),
    });
    let ends = Ends::of(sockets.collect::<Result<_>>()?)?;
    let begin = Instant::now();
    without_visitor(pki)?;
    let seen = ends.seen(Duration::from_secs(20)).context("the new policy is not carried out")?;
    let took = (seen - begin).as_secs_f64() * 1e3;
    for gateway in &mut gateways {
        gateway.once().await.context("a connection that the new policy allows was closed")?;
    }
    Ok(took)
}

fn count(number: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(number)?))
}
