//! Bytes of any kind, of protocols in which the server speaks first too.

use super::stage::{Stage, policy};
use crate::support::prelude::*;

fn bytes_client(stage: &Stage) -> Client {
    Client::new(stage.sidecar.address(0), &stage.pki.servers, Some(&stage.pki.gateway()), &[])
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_before_the_caller_has_said_anything() {
    let application = Application::bytes().await;
    let stage = Stage::before("TCP", application.address).await;
    let mut stream = bytes_client(&stage).connect().await.unwrap();
    let mut greeting = [0; 6];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut greeting)).await.expect("at once").unwrap();
    assert_eq!(&greeting, b"hello\n");
    // One side's end is not the other's.
    stream.write_all(b"ping\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "ping\nbye\n");
}

#[tokio::test]
async fn a_udp_port_is_closed_for_tcp() {
    let application = Application::bytes().await;
    crate::support::install_provider();
    let pki = Pki::new();
    let policy = policy("UDP", "[]", &[ORDERS]).replace(
        "{type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}",
        "{type: Open, reason: datagrams}",
    );
    let sidecar = Sidecar::start(&pki, &[(8080, application.address)], &policy).await;
    let mut stream = tokio::net::TcpStream::connect(sidecar.address(0)).await.unwrap();
    let mut nothing = Vec::new();
    // Reset or closed, but no byte of the application.
    let _ = stream.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
    sidecar.refused("PortClosed").await;
    assert_eq!(application.hits(), 0);
}
