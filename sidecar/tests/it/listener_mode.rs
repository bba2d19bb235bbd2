//! Without a redirect (`interception: Listener`): the sidecar stands for the named ports that its record gives it, and
//! dials the application on loopback alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_sidecar::limits::Limits;
use tokio::net::TcpListener;

use crate::support::prelude::*;

/// Free now, and nobody else's business.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Where nothing may be sent: whoever looks at the redirect's destination goes wrong.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn pod(listener: bool, listeners: Option<BTreeMap<u16, u16>>) -> GuardedPod {
    let pod = GuardedPod::start_as(nowhere(), 1, Limits::default(), listener, listeners);
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None)])));
    pod
}

#[tokio::test]
async fn a_named_port_is_taken_over_and_the_application_dialled_on_loopback() {
    let application = Application::http().await;
    let (own, port) = (free_port().await, application.address.port());
    let pod = pod(true, Some(BTreeMap::from([(own, port)])));
    pod.ready_says(true, "ready").await;
    assert_eq!(pod.addresses.inbound.iter().map(SocketAddr::port).collect::<Vec<_>>(), [own]);
    assert!(matches!(pod.http1(&pod.pki.gateway()).get("/").await, Attempt::Answered(200, _)));
    assert_eq!(application.hits(), 1);
    let nobody = Client::new(pod.callers(), &pod.pki.servers, None, &[b"http/1.1"]);
    assert!(matches!(nobody.get("/").await, Attempt::Alert(_)));
    assert_eq!(application.hits(), 1);
}

/// An application that listens on the pod's address, and not where it was told to: nobody gets past the lock to it by
/// way of the sidecar, and callers are told.
#[tokio::test]
async fn an_application_elsewhere_than_on_loopback_is_not_dialled() {
    let elsewhere = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let (own, port) = (free_port().await, elsewhere.local_addr().unwrap().port());
    let pod = pod(true, Some(BTreeMap::from([(own, port)])));
    pod.ready_says(true, "ready").await;
    let Attempt::Answered(status, body) = pod.http1(&pod.pki.gateway()).get("/").await else {
        panic!("an answer")
    };
    assert!(status == 503 && body.contains("ApplicationUnreachable"), "{status} {body}");
}

/// A record that was made for the other kind of pod: the sidecar stands for nothing, and says why.
#[tokio::test]
async fn a_record_of_another_interception_opens_nothing() {
    let application = Application::http().await;
    let listeners = BTreeMap::from([(free_port().await, application.address.port())]);
    for (listener, listeners, inbound) in [(true, None, 0), (false, Some(listeners), 1)] {
        let pod = pod(listener, listeners);
        pod.ready_says(false, "it was made for a pod of another interception").await;
        assert_eq!(pod.addresses.inbound.len(), inbound, "{listener}");
        if inbound > 0 {
            let attempt = pod.http1(&pod.pki.gateway()).get("/").await;
            assert!(!matches!(attempt, Attempt::Answered(200, _)), "{attempt:?}");
        }
        assert_eq!(application.hits(), 0, "{listener}");
    }
}
