//! Memory of a sidecar that does nothing, and of connections that do nothing.

use super::{bounded, released, stage};
use crate::measure;
use crate::pki::Offer;
use crate::proxies::{HTTP, Kind, Proxy, TCP};

/// Enough that what is allocated once counts for little.
const CONNECTIONS: usize = 2000;

#[test]
#[ignore = "make costs: it needs the released sidecar"]
fn what_is_idle_takes_little_memory() {
    stage(async |pki| {
        for (what, door, offer, most) in [
            ("HTTP/1.1", HTTP, Offer::Http1, 8_192.0),
            ("HTTP/2", HTTP, Offer::Http2, 32_768.0),
            ("bytes", TCP, Offer::Nothing, 6_500.0),
        ] {
            let proxy = Proxy::start(Kind::Postern, &released(), pki).await.unwrap();
            let (before, each) = measure::idle_costs(&proxy, pki, door, offer, CONNECTIONS).await.unwrap();
            if door == HTTP && offer == Offer::Http1 {
                bounded("KiB of an idle sidecar (PSS)", before, 5.5 * 1024.0);
            }
            bounded(&format!("bytes of an idle connection, {what}"), each, most);
        }
    });
}
