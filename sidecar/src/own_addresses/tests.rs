use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn snapshot(addresses: &[(&str, u32)]) -> Snapshot {
    Snapshot::new(
        addresses
            .iter()
            .map(|(ip, interface)| InterfaceAddress { ip: ip.parse().unwrap(), interface: *interface })
            .collect(),
    )
}

fn pod() -> OwnAddresses {
    let addresses = snapshot(&[
        ("127.0.0.1", 1),
        ("169.254.7.7", 2),
        ("10.244.0.7", 2),
        ("10.244.0.8", 2),
        ("::1", 1),
        ("fe80::7", 2),
        ("fd00::7", 2),
    ]);
    OwnAddresses::with_source(Box::new(move || Ok(addresses.clone())), Duration::ZERO).unwrap()
}

#[test]
fn only_the_pods_own_addresses_and_ports_are_dialled() {
    use DestinationRefusal::{Foreign, Loopback, OwnPort};
    let own = pod();
    for (given, expected) in [
        ("10.244.0.7:8080", Ok("10.244.0.7:8080")),
        ("10.244.0.8:1", Ok("10.244.0.8:1")),
        ("[::ffff:10.244.0.7]:8080", Ok("10.244.0.7:8080")),
        ("[fd00::7]:8080", Ok("[fd00::7]:8080")),
        ("[fe80::7%9]:8080", Ok("[fe80::7%9]:8080")),
        ("[fe80::7]:8080", Ok("[fe80::7%2]:8080")),
        ("127.0.0.1:8080", Err(Loopback as fn(SocketAddr) -> DestinationRefusal)),
        ("127.8.8.8:8080", Err(Loopback)),
        ("[::1]:8080", Err(Loopback)),
        ("[::ffff:127.0.0.1]:8080", Err(Loopback)),
        ("10.244.0.7:15100", Err(OwnPort)),
        ("10.244.0.7:15110", Err(OwnPort)),
        ("[fd00::7]:15120", Err(OwnPort)),
        ("10.244.0.7:15130", Err(OwnPort)),
        ("10.244.0.9:8080", Err(Foreign)),
        ("[fd00::8]:8080", Err(Foreign)),
        ("[fe80::8%2]:8080", Err(Foreign)),
        ("0.0.0.0:8080", Err(Foreign)),
        ("[::]:8080", Err(Foreign)),
    ] {
        let given: SocketAddr = given.parse().unwrap();
        let expected = match expected {
            Ok(text) => Ok(text.parse().unwrap()),
            Err(refusal) => Err(refusal(given)),
        };
        assert_eq!(permitted_destination(given, &own), expected, "{given}");
    }
}

#[test]
fn the_cluster_knows_a_pod_by_one_address_of_each_family() {
    for (case, addresses, expected) in [
        ("none", &[("127.0.0.1", 1), ("::1", 1), ("fe80::7", 2)][..], &[][..]),
        ("dual stack", &[("10.0.0.7", 2), ("10.0.0.8", 3), ("fd00::7", 2)], &["10.0.0.7", "fd00::7"]),
        ("IPv6 first", &[("fd00::7", 2), ("10.0.0.7", 2)], &["fd00::7", "10.0.0.7"]),
    ] {
        let expected: Vec<IpAddr> = expected.iter().map(|ip| ip.parse().unwrap()).collect();
        assert_eq!(snapshot(addresses).cluster_addresses(), expected, "{case}");
    }
}

/// Counts its readings; the address 10.0.0.2 appears with the second.
fn growing(interval: Duration) -> (OwnAddresses, Arc<AtomicUsize>) {
    let readings = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&readings);
    let source = move || {
        let earlier = counter.fetch_add(1, Ordering::Relaxed);
        Ok(snapshot(if earlier == 0 { &[("10.0.0.1", 2)] } else { &[("10.0.0.1", 2), ("10.0.0.2", 2)] }))
    };
    (OwnAddresses::with_source(Box::new(source), interval).unwrap(), readings)
}

#[test]
fn a_miss_reads_the_list_again_and_a_hit_does_not() {
    let (own, readings) = growing(Duration::ZERO);
    assert!(own.is_own("10.0.0.1".parse().unwrap()));
    assert_eq!(readings.load(Ordering::Relaxed), 1);
    assert!(own.is_own("10.0.0.2".parse().unwrap()));
    assert_eq!(readings.load(Ordering::Relaxed), 2);
}

#[test]
fn misses_in_quick_succession_do_not_read_again() {
    let (own, readings) = growing(Duration::from_secs(3600));
    for _ in 0..100 {
        assert!(!own.is_own("10.0.0.2".parse().unwrap()));
    }
    assert_eq!(readings.load(Ordering::Relaxed), 1);
}

#[test]
fn a_failing_source_keeps_the_last_list() {
    let failed = AtomicUsize::new(0);
    let source = move || match failed.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(snapshot(&[("10.0.0.1", 2)])),
        _ => Err(io::Error::other("refused")),
    };
    let own = OwnAddresses::with_source(Box::new(source), Duration::ZERO).unwrap();
    assert!(!own.is_own("10.0.0.2".parse().unwrap()));
    assert!(own.is_own("10.0.0.1".parse().unwrap()));
}

#[test]
fn the_kernel_lists_loopback() {
    let read = Snapshot::read().unwrap();
    assert!(read.contains("127.0.0.1".parse().unwrap()) || read.addresses.is_empty());
}
