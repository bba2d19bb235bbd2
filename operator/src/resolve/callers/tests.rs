use postern_config::policy::Upstream;

use super::*;
use crate::plan::{BasicPlan, CallerPlan, HeaderPlan};

fn of(mode: Mode) -> DoorLock {
    DoorLock::Caller(CallerPlan { mode, header_name: "Authorization".to_owned(), upstream: Upstream::Strip })
}

fn basic(source: BasicSource) -> DoorLock {
    DoorLock::Basic(BasicPlan { header_name: "Authorization".to_owned(), upstream: Upstream::Strip, source })
}

/// Nobody is written into the policy who could never get in; the modes are those of the sidecar's own table.
#[test]
fn a_caller_opens_a_door_with_what_it_is_known_by() {
    let header = || DoorLock::Header(HeaderPlan { name: "X-Key".to_owned(), own: None });
    let users = || basic(BasicSource::Users { secret: "users".to_owned() });
    let generated = || basic(BasicSource::Generated);
    // Whether one with a certificate, with credentials, with credentials beside a tenant's certificate gets in.
    for (require, locks, expected) in [
        (Require::All, vec![DoorLock::MutualTLS], [true, false, false]),
        (Require::All, vec![generated()], [false, true, true]),
        (Require::All, vec![users()], [true, true, true]),
        (Require::All, vec![header()], [false, false, false]),
        (Require::All, vec![of(Mode::Default)], [true, true, true]),
        (Require::All, vec![of(Mode::Force)], [true, false, true]),
        (Require::All, vec![of(Mode::Exclusive)], [true, false, true]),
        (Require::All, vec![DoorLock::MutualTLS, generated()], [false, false, false]),
        (Require::Any, vec![DoorLock::MutualTLS, generated()], [true, true, true]),
        (Require::All, vec![of(Mode::Default), header()], [false, false, false]),
        (Require::Any, vec![of(Mode::Force), header()], [true, false, true]),
    ] {
        let door = Door { require, locks, ..Door::mutual_tls() };
        let caller = |certificate: bool, credentials: bool| Caller {
            name: policy_name("acme"),
            certificates: certificate
                .then(|| CertificateMatch::Fingerprint { sha256: "7f".repeat(32) })
                .into_iter()
                .collect(),
            credentials: credentials
                .then(|| Credential {
                    id: "caller/acme/basic".to_owned(),
                    username: "acme".to_owned(),
                    verifier: String::new(),
                })
                .into_iter()
                .collect(),
            header_values: Vec::new(),
        };
        let alone = Callers::default();
        let tenant = Callers {
            tenant: vec![CertificateMatch::Fingerprint { sha256: "8f".repeat(32) }],
            ..Callers::default()
        };
        let found = [
            alone.opens(&caller(true, false), &door),
            alone.opens(&caller(false, true), &door),
            tenant.opens(&caller(false, true), &door),
        ];
        assert_eq!(found, expected, "{door} {:?}", door.require);
        assert!(!tenant.opens(&caller(false, false), &door) || door.locks == [users()], "{door}");
    }
}

#[test]
fn a_caller_is_told_from_a_gateway_by_its_name() {
    assert_eq!(name_of(&policy_name("acme")), Some("acme"));
    assert_eq!(name_of("gateway/edge"), None);
}
