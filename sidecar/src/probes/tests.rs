//! Probes against real servers on loopback, and the probe port itself.

mod application;
mod http_get;
mod other_kinds;
mod port;
mod records;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use postern_config::policy::PortRef;
use postern_config::record::{PodRecord, Probe, ProbeAction, ProbeKind};

use super::{ProbeFailure, Prober};
use crate::own_addresses::OwnAddresses;

/// After which a test that waits for something has failed.
const LIMIT: Duration = Duration::from_secs(10);
/// The token of [`record`].
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A record with one liveness probe of the container `app`.
fn record(action: ProbeAction) -> PodRecord {
    PodRecord {
        namespace: "shop".to_owned(),
        trust: "orders".to_owned(),
        pod: "orders-0".to_owned(),
        generated: false,
        token: TOKEN.to_owned(),
        ports: BTreeMap::new(),
        probes: vec![Probe {
            container: "app".to_owned(),
            kind: ProbeKind::Liveness,
            action,
            timeout_seconds: 1,
        }],
        listeners: None,
    }
}

/// A prober of a pod whose only address is 127.0.0.1, which probes reach by naming it as their host.
fn prober(action: ProbeAction) -> Prober {
    prober_of(record(action))
}

/// As [`prober`], for any record.
fn prober_of(record: PodRecord) -> Prober {
    Prober::new(record, Arc::new(OwnAddresses::fixed(&["127.0.0.1"]))).unwrap()
}

/// Does `action` at `address`.
async fn act(action: ProbeAction, address: SocketAddr) -> Result<(), ProbeFailure> {
    let prober = prober(action);
    let probe = &prober.record().probes[0];
    let kubelet = HeaderValue::from_static("kube-probe/1.36");
    tokio::time::timeout(LIMIT, prober.act(probe, &[address], &kubelet, LIMIT))
        .await
        .expect("the probe should have ended")
}

fn get(path: &str, headers: &[(&str, &str)]) -> ProbeAction {
    ProbeAction::HTTPGet {
        path: path.to_owned(),
        port: PortRef::Number(80),
        https: false,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        host: None,
    }
}
