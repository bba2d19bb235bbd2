use std::collections::BTreeMap;

use super::*;
use crate::inputs::{ContainerPort, Injection, Phase};

/// A pod of `name:number`, `number` and `name:number/udp`.
fn pod(ports: &str) -> PodFacts {
    let port = |text: &str| {
        let (text, transport) = match text.strip_suffix("/udp") {
            Some(text) => (text, Transport::Udp),
            None => (text, Transport::Tcp),
        };
        let (name, number) =
            text.split_once(':').map_or((None, text), |(name, number)| (Some(name.to_owned()), number));
        ContainerPort { name, number: number.parse().unwrap(), transport }
    };
    PodFacts {
        name: "p".to_owned(),
        uid: "u".to_owned(),
        created: jiff::Timestamp::UNIX_EPOCH,
        deleting: false,
        labels: BTreeMap::new(),
        owner: None,
        injection: Injection::No(String::new()),
        phase: Phase::Running,
        ready: true,
        sidecar_started: true,
        ips: Vec::new(),
        ports: ports.split_whitespace().map(port).collect(),
        mounts_lock_secret: false,
        host_network: false,
        mirror: false,
        windows: false,
        config_annotation: None,
        restarted: None,
        foreign_redirect: None,
        loaded: None,
        exposed: None,
    }
}

fn reference(text: &str) -> PortRef {
    text.parse().map_or_else(|_| PortRef::Name(text.to_owned()), PortRef::Number)
}

#[test]
fn two_references_are_compared_in_every_pod() {
    for (pods, a, b, expected) in [
        (&["http:8080"][..], "8080", "http", Sameness::Same),
        (&["http:8080", "http:8080"], "http", "8080", Sameness::Same),
        (&["http:8080", "http:8081"], "http", "8080", Sameness::Sometimes),
        (&["http:8080"], "http", "9090", Sameness::Different),
        (&["http:8080 metrics:9090"], "http", "metrics", Sameness::Different),
        (&["http:8080 web:8080"], "http", "web", Sameness::Same),
        (&["http:8080", "web:8080"], "http", "web", Sameness::Different),
        (&["dns:53/udp"], "dns", "53", Sameness::Different),
        (&[], "http", "8080", Sameness::Different),
        (&[], "http", "http", Sameness::Same),
        (&["http:8080"], "8080", "8081", Sameness::Different),
    ] {
        let facts: Vec<_> = pods.iter().map(|ports| pod(ports)).collect();
        let ports = PodPorts::new(facts.iter());
        assert_eq!(ports.compare(&reference(a), &reference(b)), expected, "{a} and {b} in {pods:?}");
    }
}

#[test]
fn a_port_is_numbered_by_the_pods() {
    let facts = [pod("http:8080"), pod("http:8081 9090")];
    let ports = PodPorts::new(facts.iter());
    let http = Some("http".to_owned());
    assert_eq!(
        ports.numbers(&reference("http")),
        BTreeMap::from([(8080, http.clone()), (8081, http.clone())])
    );
    assert_eq!(ports.numbers(&reference("8080")), BTreeMap::from([(8080, http)]));
    assert_eq!(ports.numbers(&reference("7000")), BTreeMap::from([(7000, None)]));
    assert_eq!(ports.numbers(&reference("none")), BTreeMap::new());
    assert_eq!(ports.number(&reference("http")), None);
    assert_eq!(ports.number(&reference("9090")), Some(9090));
    assert_eq!(ports.list(), "http (8080), http (8081), 9090");
    assert!(ports.declares(&reference("http")) && ports.declares(&reference("9090")));
    assert!(!ports.declares(&reference("7000")) && !ports.declares(&reference("web")));
}

#[test]
fn the_defaults_of_a_service_port_are_filled_in() {
    let service: Service = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "orders"},
        "spec": {"ports": [
            {"port": 80},
            {"port": 81, "targetPort": 8080, "name": "web", "appProtocol": "http"},
            {"port": 82, "targetPort": "http"},
            {"port": 53, "protocol": "UDP"},
            {"port": 70000},
        ]},
    }))
    .unwrap();
    let ports: Vec<_> =
        service_ports(&service).map(|port| (port.port, port.target, port.transport)).collect();
    assert_eq!(
        ports,
        [
            (80, reference("80"), Transport::Tcp),
            (81, reference("8080"), Transport::Tcp),
            (82, reference("http"), Transport::Tcp),
            (53, reference("53"), Transport::Udp),
        ]
    );
}

#[test]
fn an_open_port_with_paths_speaks_http_whatever_its_name() {
    for (port, paths, expected) in [
        ("9090", &[][..], Protocol::TCP),
        ("9090", &["/metrics"][..], Protocol::HTTP),
        ("metrics", &["/metrics"][..], Protocol::HTTP),
        ("tcp-metrics", &["/metrics"][..], Protocol::HTTP),
        ("http-metrics", &[][..], Protocol::TCP),
    ] {
        let trust: BackendTrust = serde_json::from_value(serde_json::json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "BackendTrust", "metadata": {"name": "a"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "a"}},
                "ports": [{"port": port.parse::<u16>().map_or_else(|_| port.into(), serde_json::Value::from),
                           "open": {"reason": "scraped", "paths": paths}}],
            },
        }))
        .unwrap();
        let judged = judge(&trust, &PodPorts::default(), &[], &Floor::default());
        let protocols: Vec<_> = judged.entries.iter().map(LockPort::assumed_protocol).collect();
        assert_eq!(protocols, [expected], "{port} {paths:?}");
    }
}
