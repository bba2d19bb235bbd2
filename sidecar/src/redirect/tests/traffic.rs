//! What gets in and what doesn't. Each attack is first seen to succeed on an open pod.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use postern_config::layout::{ADMIN_PORT, INBOUND_PORT, METRICS_PORT, PROBE_PORT};

use super::namespace::{NEIGHBOUR_V4, POD_LINK_LOCAL, POD_V4, POD_V6, Pair};
use super::{close, close_but_for, closed_pair, icmp, test_name};
use crate::original_destination::original_destination;

/// Enough for a packet on a virtual cable, and what a test waits to see that none comes.
const SILENCE: Duration = Duration::from_millis(300);
/// After which a test that waits for something has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// A listener in the pod on all its addresses, IPv4 and IPv6.
fn listen(pair: &Pair, port: u16) -> TcpListener {
    pair.pod.run(|| TcpListener::bind(("::", port)).unwrap())
}

/// A connection from the neighbour.
fn dial(pair: &Pair, address: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
    pair.neighbour.run(|| TcpStream::connect_timeout(&address, limit))
}

fn assert_dropped(outcome: io::Result<TcpStream>, case: &str) {
    match outcome {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{case}"),
        Ok(_) => panic!("{case} got in"),
    }
}

/// The next connection, and where its caller thinks that it is.
fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stream, _) = listener.accept().unwrap();
    runtime.block_on(async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let destination = original_destination(&stream).unwrap();
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        (stream, destination)
    })
}

fn assert_talk(caller: &mut TcpStream, server: &mut TcpStream) {
    let say = |from: &mut TcpStream, to: &mut TcpStream| {
        from.write_all(b"word").unwrap();
        let mut heard = [0; 4];
        to.set_read_timeout(Some(LIMIT)).unwrap();
        to.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"word");
    };
    say(caller, server);
    say(server, caller);
}

#[test]
fn tcp_to_any_port_reaches_the_sidecar_which_learns_the_port_that_was_dialled() {
    let Some(pair) =
        closed_pair(test_name!("tcp_to_any_port_reaches_the_sidecar_which_learns_the_port_that_was_dialled"))
    else {
        return;
    };
    let sidecar = listen(&pair, INBOUND_PORT);
    let application = listen(&pair, 8080);
    application.set_nonblocking(true).unwrap();
    let eth0 = pair.pod.run(|| nix::net::if_::if_nametoindex("eth0").unwrap());
    for (address, seen) in pair.addresses().iter().zip([
        POD_V4.to_owned(),
        format!("[{POD_V6}]"),
        format!("[{POD_LINK_LOCAL}%{eth0}]"),
    ]) {
        for port in [1, 22, 8080, 15099, 15101, 65535] {
            let mut caller = dial(&pair, address, port, LIMIT).unwrap();
            let (mut stream, destination) = accept(&sidecar);
            assert_eq!(destination.to_string(), format!("{seen}:{port}"));
            assert_talk(&mut caller, &mut stream);
        }
    }
    assert_eq!(
        application.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "the application was hit"
    );
}

#[test]
fn an_ipv4_listener_learns_the_original_destination_too() {
    let Some(pair) = closed_pair(test_name!("an_ipv4_listener_learns_the_original_destination_too")) else {
        return;
    };
    let sidecar = pair.pod.run(|| TcpListener::bind(("0.0.0.0", INBOUND_PORT)).unwrap());
    let _caller = dial(&pair, POD_V4, 443, LIMIT).unwrap();
    assert_eq!(accept(&sidecar).1.to_string(), format!("{POD_V4}:443"));
}

#[test]
fn the_inbound_port_cannot_be_dialled_directly() {
    let Some(pair) = Pair::new(test_name!("the_inbound_port_cannot_be_dialled_directly")) else { return };
    let _sidecar = listen(&pair, INBOUND_PORT);
    for address in pair.addresses() {
        dial(&pair, &address, INBOUND_PORT, LIMIT).expect("open before");
    }
    close(&pair).unwrap();
    for address in pair.addresses() {
        assert_dropped(dial(&pair, &address, INBOUND_PORT, SILENCE), &address);
    }
}

#[test]
fn the_ports_for_probes_metrics_and_admin_are_dialled_directly() {
    let Some(pair) = closed_pair(test_name!("the_ports_for_probes_metrics_and_admin_are_dialled_directly"))
    else {
        return;
    };
    for port in [PROBE_PORT, METRICS_PORT, ADMIN_PORT] {
        let listener = listen(&pair, port);
        for address in pair.addresses() {
            let mut caller = dial(&pair, &address, port, LIMIT).unwrap();
            assert_talk(&mut caller, &mut listener.accept().unwrap().0);
        }
    }
}

#[test]
fn udp_is_dropped_and_answers_to_the_pods_own_questions_are_not() {
    let name = test_name!("udp_is_dropped_and_answers_to_the_pods_own_questions_are_not");
    let Some(pair) = Pair::new(name) else { return };
    let server = pair.pod.run(|| UdpSocket::bind(("::", 5353)).unwrap());
    let mut buffer = [0; 8];
    let send = |address: &str| {
        let target: SocketAddr = format!("{address}:5353").parse().unwrap();
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = pair.neighbour.run(|| UdpSocket::bind(any).unwrap());
        pair.neighbour.run(|| socket.send_to(b"hello", target).unwrap());
    };
    server.set_read_timeout(Some(LIMIT)).unwrap();
    for address in pair.addresses() {
        send(&address);
        server.recv_from(&mut buffer).expect("open before");
    }
    close(&pair).unwrap();
    server.set_read_timeout(Some(SILENCE)).unwrap();
    for address in pair.addresses() {
        send(&address);
        assert!(server.recv_from(&mut buffer).is_err(), "a datagram to {address} got in");
    }

    let name_server = pair.neighbour.run(|| UdpSocket::bind((NEIGHBOUR_V4, 53)).unwrap());
    let client = pair.pod.run(|| UdpSocket::bind((POD_V4, 0)).unwrap());
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.send_to(b"question", (NEIGHBOUR_V4, 53)).unwrap();
    let (_, asker) = name_server.recv_from(&mut buffer).unwrap();
    name_server.send_to(b"answer", asker).unwrap();
    assert_eq!(client.recv_from(&mut buffer).unwrap().0, b"answer".len());
}

#[test]
fn a_udp_port_that_the_lock_leaves_open_is_open_and_no_other() {
    let name = test_name!("a_udp_port_that_the_lock_leaves_open_is_open_and_no_other");
    let Some(pair) = Pair::new(name) else { return };
    close_but_for(&pair, &[5353, 514]).unwrap();
    let mut buffer = [0; 8];
    for (port, open) in [(5353, true), (514, true), (5354, false)] {
        let server = pair.pod.run(|| UdpSocket::bind(("::", port)).unwrap());
        server.set_read_timeout(Some(if open { LIMIT } else { SILENCE })).unwrap();
        for address in pair.addresses() {
            let target: SocketAddr = format!("{address}:{port}").parse().unwrap();
            let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let caller = pair.neighbour.run(|| UdpSocket::bind(any).unwrap());
            caller.send_to(b"hello", target).unwrap();
            let received = server.recv_from(&mut buffer);
            assert_eq!(received.is_ok(), open, "{target}");
        }
    }
    // The same number of TCP stays behind the lock: nobody listens where it leads to.
    let _listener = listen(&pair, 5353);
    let refused = dial(&pair, POD_V4, 5353, SILENCE);
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn the_pod_calls_itself_and_others_as_before() {
    let Some(pair) = closed_pair(test_name!("the_pod_calls_itself_and_others_as_before")) else { return };
    let application = listen(&pair, 8080);
    let scope = pair.pod.run(|| nix::net::if_::if_nametoindex("eth0").unwrap());
    let link_local = format!("[{POD_LINK_LOCAL}%{scope}]");
    for address in ["127.0.0.1", "[::1]", POD_V4, &format!("[{POD_V6}]"), &link_local] {
        let target: SocketAddr = format!("{address}:8080").parse().unwrap();
        let mut caller = pair.pod.run(|| TcpStream::connect_timeout(&target, LIMIT)).expect(address);
        assert_talk(&mut caller, &mut application.accept().unwrap().0);
    }
    let remote = pair.neighbour.run(|| TcpListener::bind(("::", 9000)).unwrap());
    for target in
        [format!("{NEIGHBOUR_V4}:9000"), "[fd77::1]:9000".to_owned(), format!("[fe80::1%{scope}]:9000")]
    {
        let target: SocketAddr = target.parse().unwrap();
        let mut caller = pair.pod.run(|| TcpStream::connect_timeout(&target, LIMIT)).unwrap();
        assert_talk(&mut caller, &mut remote.accept().unwrap().0);
    }
}

#[test]
fn a_second_run_changes_nothing_and_breaks_no_connection() {
    let Some(pair) = closed_pair(test_name!("a_second_run_changes_nothing_and_breaks_no_connection")) else {
        return;
    };
    let sidecar = listen(&pair, INBOUND_PORT);
    let mut open: Vec<_> = pair
        .addresses()
        .iter()
        .map(|address| (dial(&pair, address, 8080, LIMIT).unwrap(), accept(&sidecar).0))
        .collect();
    for _ in 0..3 {
        close(&pair).unwrap();
        for (caller, stream) in &mut open {
            assert_talk(caller, stream);
        }
    }
    let _new = dial(&pair, POD_V4, 8080, LIMIT).unwrap();
    assert_eq!(accept(&sidecar).1.to_string(), format!("{POD_V4}:8080"));
}

#[test]
fn no_connection_slips_through_while_the_rules_are_written_again() {
    let name = test_name!("no_connection_slips_through_while_the_rules_are_written_again");
    let Some(pair) = closed_pair(name) else { return };
    let sidecar = listen(&pair, INBOUND_PORT);
    let application = listen(&pair, 8080);
    application.set_nonblocking(true).unwrap();
    let (running, stopped) = mpsc::channel::<()>();
    let pair = &pair;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                close(pair).unwrap();
            }
        });
        for _ in 0..2000 {
            let _caller = dial(pair, POD_V4, 8080, LIMIT).unwrap();
            let (_, destination) = accept(&sidecar);
            assert_eq!(destination.port(), 8080);
        }
        drop(running);
    });
    assert_eq!(
        application.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "the application was hit"
    );
}

#[test]
fn a_guarded_pod_is_no_router() {
    let Some(pair) = Pair::new(test_name!("a_guarded_pod_is_no_router")) else { return };
    let behind = pair.network_behind_the_pod();
    let target: SocketAddr = "10.78.0.2:8080".parse().unwrap();
    let _server = behind.run(|| TcpListener::bind(target).unwrap());
    pair.neighbour.run(|| TcpStream::connect_timeout(&target, LIMIT)).expect("open before");
    close(&pair).unwrap();
    assert_dropped(pair.neighbour.run(|| TcpStream::connect_timeout(&target, SILENCE)), "a forwarded call");
}

#[test]
fn ping_works_and_other_icmp_does_not() {
    let Some(pair) = closed_pair(test_name!("ping_works_and_other_icmp_does_not")) else { return };
    for address in pair.addresses() {
        assert!(icmp::answers(&pair, &address, icmp::Question::Echo, LIMIT), "ping {address}");
    }
    assert!(!icmp::answers(&pair, POD_V4, icmp::Question::Timestamp, SILENCE), "a timestamp request got in");
}
