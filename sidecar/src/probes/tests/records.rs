//! Which pod records are believed.

use postern_config::policy::PortRef;
use postern_config::record::{PodRecord, ProbeAction};
use postern_config::signed::{Domain, Signer};

use super::super::record::{RecordLoadError, load, port_number};
use super::{get, record};

fn signer() -> Signer {
    Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap()
}

#[test]
fn only_a_signed_record_of_this_pod_and_its_trust_is_believed() {
    let (ours, theirs) = (signer(), signer());
    let keys = [theirs.verify_key(), ours.verify_key()];
    let folder = tempfile::tempdir().unwrap();
    let record = record(get("/healthz", &[]));
    let elsewhere = PodRecord { namespace: "other".to_owned(), ..record.clone() };
    let neighbour = PodRecord { pod: "orders-1".to_owned(), ..record.clone() };
    let weaker = PodRecord { trust: "weaker".to_owned(), ..record.clone() };
    let sealed = record.seal(&ours).unwrap();
    let altered = sealed.replace("healthz", "healthy");
    assert_ne!(sealed, altered);
    let as_bundle = {
        let payload = serde_json::to_string(&record).unwrap();
        let signature = ours.sign(Domain::Bundle, payload.as_bytes());
        serde_json::json!({"payload": payload, "signature": signature}).to_string()
    };
    let ok = |text: String, keys: &[_]| {
        std::fs::write(folder.path().join("record"), text).unwrap();
        load(folder.path(), keys, "shop", "orders")
    };

    let nameless = ok(sealed.clone(), &keys);
    assert!(matches!(nameless, Err(RecordLoadError::Unreadable { .. })), "{nameless:?}");
    std::fs::write(folder.path().join("name"), "orders-0").unwrap();
    assert_eq!(ok(sealed.clone(), &keys).unwrap(), record);
    assert_eq!(ok(record.seal(&theirs).unwrap(), &keys).unwrap(), record, "the previous key");
    for (case, text, keys) in [
        ("forged", record.seal(&signer()).unwrap(), &keys[..]),
        ("no key", sealed.clone(), &[]),
        ("altered", altered, &keys),
        ("signed for another use", as_bundle, &keys),
        ("unsigned", serde_json::to_string(&record).unwrap(), &keys),
        ("empty", String::new(), &keys),
    ] {
        let outcome = ok(text, keys);
        assert!(matches!(outcome, Err(RecordLoadError::Refused(_))), "{case}: {outcome:?}");
    }
    for (other, found) in [(elsewhere, "other/orders"), (weaker, "shop/weaker")] {
        match ok(other.seal(&ours).unwrap(), &keys) {
            Err(RecordLoadError::Misplaced { found: seen, .. }) => assert_eq!(seen, found),
            outcome => panic!("{found}: {outcome:?}"),
        }
    }
    match ok(neighbour.seal(&ours).unwrap(), &keys) {
        Err(RecordLoadError::OfAnotherPod { found, pod }) => {
            assert_eq!((found.as_str(), pod.as_str()), ("orders-1", "orders-0"));
        }
        outcome => panic!("another pod's: {outcome:?}"),
    }
    let missing = load(&folder.path().join("none"), &keys, "shop", "orders");
    assert!(matches!(missing, Err(RecordLoadError::Unreadable { .. })), "{missing:?}");
}

#[test]
fn a_port_name_has_a_number_only_by_the_record() {
    let record = PodRecord {
        ports: [("web".to_owned(), 8080)].into(),
        ..record(ProbeAction::GRPC { port: 1, service: None })
    };
    let name = |name: &str| PortRef::Name(name.to_owned());
    for (port, with, expected) in [
        (PortRef::Number(80), None, Some(80)),
        (name("web"), Some(&record), Some(8080)),
        (name("admin"), Some(&record), None),
        (name("web"), None, None),
    ] {
        assert_eq!(port_number(&port, with), expected, "{port:?}");
    }
}
