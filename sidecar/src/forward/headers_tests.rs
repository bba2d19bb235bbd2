use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::*;
use crate::forward::certificate::Certificates;
use crate::identify::Caller;
use crate::identify::matcher::Facts;

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name, value.as_bytes());
    }
    fields
}

fn lines(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines: Vec<_> = fields.iter().map(|field| (text(field.name), text(field.value))).collect();
    lines.sort();
    lines
}

pub(in crate::forward) fn caller(uri: Option<&str>) -> Caller {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
    let leaf = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    Caller {
        authority: "postern".into(),
        authorities: Box::new(["postern".into()]),
        identity: uri.unwrap_or("CN=\"edge\"").into(),
        facts: Facts::of(leaf.der()).unwrap(),
        key: [1; 32],
        chain: vec![CertificateDer::from(vec![1, 2, 3])],
        fingerprint: [0xab; 32],
        not_after: UnixTime::now(),
    }
}

fn of(caller: Option<&Caller>, is_secure: bool) -> Identity {
    let peer = "::ffff:10.0.0.9".parse().unwrap();
    let told =
        |caller: &Caller| Certificates::default().of(&Arc::new(caller.clone()), Some("spiffe://d/server"));
    Identity::new(caller.map(|caller| told(caller).unwrap()), peer, is_secure)
}

fn identity(uri: &str) -> Identity {
    of(Some(&caller(Some(uri))), true)
}

/// What the application gets of these, sorted.
fn passed(given: &[(&str, &str)], who: &Identity, told: ForwardedCertificate) -> Vec<(String, String)> {
    let (fields, trace) = (fields(given), Carried::default());
    let said = Said { host: "a.example", request_id: b"r1", who, told, trace, keys: Keys::default() };
    lines(&Fields::of(&ToApplication::new(&fields, said)))
}

fn forward(given: &[(&str, &str)]) -> Vec<(String, String)> {
    passed(given, &identity("spiffe://d/x"), ForwardedCertificate::Replace)
}

/// What is always written.
fn written(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let hash = "ab".repeat(32);
    let forwarded = format!("By=spiffe://d/server;Hash={hash};URI=spiffe://d/x");
    let mut all = vec![
        ("client-cert", ":AQID:"),
        ("host", "a.example"),
        ("x-forwarded-client-cert", &forwarded),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "r1"),
    ];
    if !more.iter().any(|(name, _)| *name == "x-forwarded-for") {
        all.push(("x-forwarded-for", "10.0.0.9"));
    }
    all.extend(more);
    let mut all: Vec<_> = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    all.sort();
    all
}

#[test]
fn what_the_application_sees() {
    for (case, given, expected) in [
        ("nothing but identity", vec![("host", "other")], vec![]),
        (
            "its own headers",
            vec![("accept", "*/*"), ("x-custom", "1")],
            vec![("accept", "*/*"), ("x-custom", "1")],
        ),
        (
            "forged identity in every spelling",
            vec![
                ("X-Forwarded-Client-Cert", "URI=spiffe://d/admin"),
                ("x_forwarded_client_cert", "URI=spiffe://d/admin"),
                ("X-Forwarded_Client-Cert", "URI=spiffe://d/admin"),
                ("Client-Cert", ":AA==:"),
                ("client_cert", ":AA==:"),
                ("Client-Cert-Chain", ":AA==:"),
                ("client_cert_chain", ":AA==:"),
                ("x_forwarded_for", "6.6.6.6"),
                ("x_request_id", "6"),
                ("X_Forwarded_Proto", "ftp"),
                ("x-forwarded-proto", "http"),
                ("client-certain", "kept"),
            ],
            vec![("client-certain", "kept")],
        ),
        (
            "hop by hop, and what Connection names",
            vec![
                ("connection", "close, X-Secret"),
                ("connection", "x-other"),
                ("x-secret", "1"),
                ("x-other", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic x"),
                ("transfer-encoding", "chunked"),
                ("te", "gzip"),
                ("expect", "100-continue"),
                ("authorization", "Bearer kept"),
            ],
            vec![("authorization", "Bearer kept")],
        ),
        (
            "Connection cannot remove identity",
            vec![("connection", "x-forwarded-client-cert, client-cert, host")],
            vec![],
        ),
        (
            "trailers are wanted",
            vec![("te", "gzip, Trailers"), ("connection", "te")],
            vec![("te", "trailers")],
        ),
        ("cookies in pieces", vec![("cookie", "a=1"), ("cookie", "b=2")], vec![("cookie", "a=1; b=2")]),
        (
            "the way here is continued",
            vec![("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 3.3.3.3")],
            vec![("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9")],
        ),
    ] {
        assert_eq!(forward(&given), written(&expected), "{case}");
    }
}

#[test]
fn the_host_comes_first() {
    let (fields, trace) = (fields(&[("accept", "*/*"), ("host", "A.example")]), Carried::default());
    let (who, told) = (of(None, true), ForwardedCertificate::Replace);
    let said = Said { host: "a.example", request_id: b"r1", who: &who, told, trace, keys: Keys::default() };
    let passed = Fields::of(&ToApplication::new(&fields, said));
    let names: Vec<&[u8]> = passed.iter().map(|field| field.name).collect();
    let expected: [&[u8]; 5] =
        [b"host", b"accept", b"x-request-id", b"x-forwarded-proto", b"x-forwarded-for"];
    assert_eq!(names, expected);
}

#[test]
fn trailers_carry_nothing_that_decides() {
    let mut trailers = fields(&[
        ("grpc-status", "0"),
        ("checksum", "x"),
        ("client_cert", ":AA==:"),
        ("x-forwarded-client-cert", "x"),
        ("x-forwarded-for", "6.6.6.6"),
        ("host", "x"),
        ("authorization", "x"),
        ("content-length", "5"),
        ("content_length", "5"),
        ("transfer-encoding", "chunked"),
        ("transfer_encoding", "chunked"),
        ("connection", "checksum2"),
        ("checksum2", "x"),
    ])
    .into_map()
    .unwrap();
    clean_trailers(&mut trailers);
    let kept: Vec<_> = lines(&Fields::of_map(&trailers)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(kept, ["checksum", "grpc-status"]);
}

#[test]
fn identities_are_quoted_where_they_could_be_misread() {
    let value = |uri| identity(uri).certificate.unwrap().forwarded.to_string();
    assert!(value("urn:a").ends_with(";URI=urn:a"));
    assert!(value("urn:a;URI=urn:b").ends_with(r#";URI="urn:a;URI=urn:b""#));
    assert!(value(r#"urn:"a\"#).ends_with(r#";URI="urn:\"a\\""#));
    let subject = of(Some(&caller(None)), true).certificate.unwrap().forwarded;
    assert!(subject.ends_with(r#";Subject="CN=\"edge\"""#), "{subject:?}");
}

#[test]
fn an_identity_need_not_be_ascii() {
    let who = Caller { identity: "CN=\"Zoë\"".into(), ..caller(None) };
    let told = of(Some(&who), true).certificate.unwrap().forwarded;
    assert!(told.ends_with(r#";Subject="CN=\"Zoë\"""#), "{told}");
}

#[test]
fn who_shows_no_certificate_is_not_told_of() {
    let given = [("client-cert", ":AA==:"), ("x-forwarded-client-cert", "URI=a")];
    let lines = passed(&given, &of(None, false), ForwardedCertificate::Replace);
    assert!(lines.iter().all(|(name, _)| !name.contains("client-cert")), "{lines:?}");
    assert!(lines.contains(&("x-forwarded-proto".to_owned(), "http".to_owned())), "{lines:?}");
}

#[test]
fn request_ids_are_kept_if_well_formed() {
    for (given, kept) in [
        (vec![("x-request-id", "abc-1.2_3:/+=@")], true),
        (vec![("x-request-id", "")], false),
        (vec![("x-request-id", "a b")], false),
        (vec![("x-request-id", "a\"b")], false),
        (vec![("x-request-id", "a"), ("x-request-id", "b")], false),
        (vec![], false),
    ] {
        let fields = fields(&given);
        let id = request_id(&fields);
        assert_eq!(Some(id.as_str().as_bytes()) == fields.first(Name::XRequestId), kept, "{given:?}");
        assert!(kept || id.as_str().len() == 32, "{id:?}");
    }
    let long = "x".repeat(129);
    assert_eq!(request_id(&fields(&[("x-request-id", &long)])).as_str().len(), 32);
    let made: HashSet<String> = (0..200).map(|_| request_id(&Fields::new()).as_str().to_owned()).collect();
    assert_eq!(made.len(), 200, "each is another");
}

#[test]
fn a_byte_that_is_not_ascii_hides_no_option_of_connection() {
    let mut given = fields(&[("x-secret", "1"), ("x-other", "2")]);
    given.add(Name::Connection, b"cl\xe9se, X-Secret");
    assert_eq!(lines(&clean(&given)), [("x-other".to_owned(), "2".to_owned())]);
}

#[test]
fn a_caller_may_tell_of_whom_it_calls_for_where_the_route_says_so() {
    let own = format!("By=spiffe://d/server;Hash={};URI=spiffe://d/x", "ab".repeat(32));
    let (xfcc, cert, chain) = ("x-forwarded-client-cert", "client-cert", "client-cert-chain");
    for (case, given, expected) in [
        ("nothing told", vec![], vec![(xfcc, own.clone())]),
        ("elements", vec![(xfcc, "URI=a;Hash=1,URI=b")], vec![(xfcc, format!("URI=a;Hash=1,URI=b,{own}"))]),
        ("two lines", vec![(xfcc, "URI=a"), (xfcc, "URI=b")], vec![(xfcc, format!("URI=a,URI=b,{own}"))]),
        (
            "quoted",
            vec![(xfcc, r#"Subject="O=a, \"b\"";URI=c"#)],
            vec![(xfcc, format!(r#"Subject="O=a, \"b\"";URI=c,{own}"#))],
        ),
        ("a quote without an end", vec![(xfcc, r#"URI=a;Subject="b"#)], vec![(xfcc, own.clone())]),
        ("another spelling", vec![("x_forwarded_client_cert", "URI=a")], vec![(xfcc, own.clone())]),
        (
            "certificate and chain",
            vec![(cert, ":AQID:"), (chain, ":AQ==:, :Ag==:")],
            vec![(cert, ":AQID:".to_owned()), (chain, ":AQ==:, :Ag==:".to_owned()), (xfcc, own.clone())],
        ),
        ("not a byte sequence", vec![(cert, "AQID"), (chain, ":AQ==:, x")], vec![(xfcc, own.clone())]),
        ("not base64", vec![(cert, ":A*:")], vec![(xfcc, own.clone())]),
        ("two certificates", vec![(cert, ":AQID:"), (cert, ":AQID:")], vec![(xfcc, own.clone())]),
        ("another spelling of it", vec![("client_cert", ":AQID:")], vec![(xfcc, own.clone())]),
        ("a chain without a certificate", vec![(chain, ":AQ==:")], vec![(xfcc, own.clone())]),
    ] {
        let lines = passed(&given, &identity("spiffe://d/x"), ForwardedCertificate::Append);
        let about: Vec<_> = lines.into_iter().filter(|(name, _)| name.contains("cert")).collect();
        let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(about, expected, "{case}");
    }
}

#[test]
fn what_connection_names_takes_no_more_room_than_what_is_there() {
    let mut given = fields(&[("x-a", "1"), ("x-b", "2"), ("X-A", "3")]);
    given.add(Name::Connection, ",x-a, ,X-A,gone,".repeat(4000).as_bytes());
    let named = named_by_connection(&given);
    assert_eq!(named, [b"x-a"]);
    assert!(named.capacity() <= 8, "{}", named.capacity());
    assert_eq!(lines(&clean(&given)), [("x-b".to_owned(), "2".to_owned())]);
}

#[test]
fn an_answer_loses_what_is_of_its_hop() {
    let mut answer = fields(&[
        ("server", "a"),
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "x"),
        ("content-length", "2"),
    ]);
    to_caller(&mut answer);
    assert_eq!(lines(&answer), lines(&fields(&[("content-length", "2"), ("server", "a")])));
}
