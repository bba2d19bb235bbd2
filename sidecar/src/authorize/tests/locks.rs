//! For whom locks open, by table.

use postern_config::policy::{Enforcement, Mode};

use super::super::door::ClientCertificate;
use super::super::locks::{Relation, admits};
use super::*;

/// Callers with a name on three ports, one for each mode; and a gateway.
const CALLERS: &str = r#"
authorities: [{name: postern, type: Postern, roots: unused}, {name: partner, roots: unused}]
ports:
  - {port: 1, protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: Caller, mode: Default, headerName: authorization, upstream: Strip}]}}}
  - {port: 2, protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: Caller, mode: Force, headerName: authorization, upstream: Strip}]}}}
  - {port: 3, protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: Caller, mode: Exclusive, headerName: authorization, upstream: Strip}]}}}
routes: [{name: r1, port: 1, callers: WHO}, {name: r2, port: 2, callers: WHO}, {name: r3, port: 3, callers: WHO}]
tenant: [{type: Identity, authority: partner, identity: "urn:tenant"}]
"#;
const WHO: &str = r#"[
  {name: own, certificates: [{type: Identity, authority: partner, identity: "urn:own"}], credentials: [{id: own, username: own, verifier: "sha256:00"}]},
  {name: bare, credentials: [{id: bare, username: bare, verifier: "sha256:01"}]},
  {name: gateway, certificates: [{type: Identity, authority: postern, identity: "spiffe://d/any"}]}]"#;

fn hex64(text: &str) -> String {
    let mut text = text.to_owned();
    for byte in ["00", "01", "02", "03", "04"] {
        text = text.replace(&format!("sha256:{byte}\""), &format!("sha256:{}\"", byte.repeat(32)));
    }
    text
}

fn judge_shown(
    policy: &Policy,
    port: u16,
    who: Option<(&str, &str)>,
    proofs: &[Proof],
) -> Result<String, Code> {
    let caller = who.map(|(authority, identity)| caller(authority, identity, &KEYS.pinned));
    let standing = caller.as_ref().map(|caller| policy.standing(port, caller)).unwrap_or_default();
    let certificate = caller.as_ref().map(|caller| Certificate {
        identity: &caller.identity,
        key: &caller.key,
        standing: &standing,
    });
    let (host, path) = (Host::parse("x").unwrap(), Path::parse("/").unwrap());
    let ask = Ask::Http { method: &Method::GET, host: &host, path: &path };
    authorize(policy, &Request { port, shown: Shown { certificate, proofs, ..Shown::default() }, ask })
        .map(|permit| permit.caller().unwrap_or("nobody").to_owned())
        .map_err(|denial| denial.code)
}

/// Every cell of the table of modes in the design, but for its rows of access tokens.
#[test]
fn callers_with_a_name() {
    use Code::{CertificateRequired as Required, NoCredentials as No, NotOwnCertificate as NotOwn};
    use Code::{RepeatedKey as Repeated, WrongCredentials as Wrong};
    let policy = compile(&hex64(&CALLERS.replace("WHO", WHO))).unwrap().policy;
    // Places in the list of the lock's credentials.
    let right_own = Proof::Right(vec![0]);
    let right_bare = Proof::Right(vec![1]);
    let repeated = Proof::Unusable(Denial::new(Code::RepeatedKey, "twice"));
    let own = Some(("partner", "urn:own"));
    let tenant = Some(("partner", "urn:tenant"));
    let foreign = Some(("partner", "urn:foreign"));
    let elsewhere = Some(("postern", "urn:own"));
    let gateway = Some(("postern", "spiffe://d/any"));
    for (case, who, proof, by_mode) in [
        ("nothing", None, &Proof::Absent, [Err(No), Err(Required), Err(Required)]),
        ("credentials", None, &right_own, [Ok("own"), Err(Required), Err(Required)]),
        ("credentials, no own", None, &right_bare, [Ok("bare"), Err(Required), Err(Required)]),
        ("wrong", None, &Proof::Wrong, [Err(Wrong), Err(Required), Err(Required)]),
        ("repeated", None, &repeated, [Err(Repeated), Err(Required), Err(Required)]),
        ("own", own, &Proof::Absent, [Ok("own"), Ok("own"), Ok("own")]),
        ("gateway", gateway, &Proof::Absent, [Ok("gateway"), Ok("gateway"), Ok("gateway")]),
        ("tenant", tenant, &Proof::Absent, [Err(No), Err(No), Err(No)]),
        ("foreign", foreign, &Proof::Absent, [Err(NotOwn), Err(NotOwn), Err(NotOwn)]),
        ("elsewhere", elsewhere, &Proof::Absent, [Err(NotOwn), Err(NotOwn), Err(NotOwn)]),
        ("own + right", own, &right_own, [Ok("own"), Ok("own"), Ok("own")]),
        ("own + wrong", own, &Proof::Wrong, [Err(Wrong), Err(Wrong), Err(Wrong)]),
        ("own + repeated", own, &repeated, [Err(Repeated), Err(Repeated), Err(Repeated)]),
        ("own + another's", own, &right_bare, [Ok("bare"), Err(NotOwn), Err(NotOwn)]),
        ("tenant + right, no own", tenant, &right_bare, [Ok("bare"), Ok("bare"), Ok("bare")]),
        ("tenant + right, own", tenant, &right_own, [Ok("own"), Err(NotOwn), Err(NotOwn)]),
        ("tenant + wrong", tenant, &Proof::Wrong, [Err(Wrong), Err(Wrong), Err(Wrong)]),
        ("foreign + right", foreign, &right_own, [Ok("own"), Err(NotOwn), Err(NotOwn)]),
        ("foreign + right, no own", foreign, &right_bare, [Ok("bare"), Err(NotOwn), Err(NotOwn)]),
        ("foreign + wrong", foreign, &Proof::Wrong, [Err(Wrong), Err(Wrong), Err(Wrong)]),
        ("gateway + right", gateway, &right_own, [Ok("own"), Err(NotOwn), Err(NotOwn)]),
        ("gateway + wrong", gateway, &Proof::Wrong, [Err(Wrong), Err(Wrong), Err(Wrong)]),
    ] {
        for (port, expected) in (1..).zip(by_mode) {
            let found = judge_shown(&policy, port, who, std::slice::from_ref(proof));
            assert_eq!(found, expected.map(str::to_owned), "{case}, port {port}");
        }
    }
}

/// All 72 combinations of what the table knows: those that are not listed are denied.
#[test]
fn nothing_else_is_admitted() {
    use Relation::{Foreign, NotShown, Own, Tenants};
    let mut admitted = Vec::new();
    for mode in [Mode::Default, Mode::Force, Mode::Exclusive] {
        for certificate in [NotShown, Own, Tenants, Foreign] {
            for has_own in [true, false] {
                for credentials in [None, Some(false), Some(true)] {
                    if admits(mode, certificate, has_own, credentials) {
                        admitted.push((mode, certificate, has_own, credentials));
                    }
                }
            }
        }
    }
    let mut expected = Vec::new();
    for (certificate, has_own, credentials) in [
        (NotShown, true, Some(true)),
        (NotShown, false, Some(true)),
        (Own, true, None),
        (Own, true, Some(true)),
        (Own, false, None),
        (Own, false, Some(true)),
        (Tenants, true, Some(true)),
        (Tenants, false, Some(true)),
        (Foreign, true, Some(true)),
        (Foreign, false, Some(true)),
    ] {
        expected.push((Mode::Default, certificate, has_own, credentials));
    }
    for mode in [Mode::Force, Mode::Exclusive] {
        for (certificate, has_own, credentials) in [
            (Own, true, None),
            (Own, true, Some(true)),
            (Own, false, None),
            (Own, false, Some(true)),
            (Tenants, false, Some(true)),
        ] {
            expected.push((mode, certificate, has_own, credentials));
        }
    }
    assert_eq!(admitted, expected);
}

const MUTUAL: &str = "{type: MutualTLS}";
const BASIC: &str = "{type: Basic, headerName: authorization, upstream: Strip}";
const USERS: &str = "{type: Basic, headerName: authorization, upstream: Strip, users: [{id: u, username: u, verifier: \"sha256:04\"}]}";
const HEADER: &str = "{type: Header, name: x-key}";

/// A port 1 with these locks, in front of two gateways with all kinds of keys.
fn door(require: &str, locks: &[&str], more: &str) -> String {
    hex64(&format!(
        "{{authorities: [{{name: postern, type: Postern, roots: unused}}], \
         ports: [{{port: 1, protocol: HTTP, access: {{type: Locked, locks: {{require: {require}, list: [{}]}}}}{more}}}], \
         routes: [{{name: r, port: 1, callers: [\
         {{name: a, certificates: [{{type: Identity, authority: postern, identity: 'spiffe://d/a'}}], \
           credentials: [{{id: a, username: a, verifier: \"sha256:00\"}}], headerValues: [{{id: va, verifier: \"sha256:01\"}}]}}, \
         {{name: b, certificates: [{{type: Identity, authority: postern, identity: 'spiffe://d/b'}}], \
           credentials: [{{id: b, username: b, verifier: \"sha256:02\"}}], headerValues: [{{id: vb, verifier: \"sha256:03\"}}]}}]}}]}}",
        locks.join(", ")
    ))
}

#[test]
fn all_or_any_of_several_locks() {
    let (a, b) = (Proof::Right(vec![0]), Proof::Right(vec![1]));
    let (absent, wrong) = (Proof::Absent, Proof::Wrong);
    let (cert_a, cert_b) = (Some(("postern", "spiffe://d/a")), Some(("postern", "spiffe://d/b")));
    let cert_c = Some(("postern", "spiffe://d/c"));
    for (case, require, locks, who, proofs, expected) in [
        ("one caller's", "All", vec![BASIC, HEADER], None, vec![&a, &a], Ok("a")),
        ("two callers'", "All", vec![BASIC, HEADER], None, vec![&a, &b], Err(Code::KeysOfSeveral)),
        ("one lacks", "All", vec![BASIC, HEADER], None, vec![&a, &absent], Err(Code::NoSecretHeader)),
        ("one wrong", "All", vec![BASIC, HEADER], None, vec![&a, &wrong], Err(Code::WrongSecretHeader)),
        (
            "the first miss",
            "All",
            vec![BASIC, HEADER],
            None,
            vec![&wrong, &wrong],
            Err(Code::WrongCredentials),
        ),
        ("one of two", "Any", vec![BASIC, HEADER], None, vec![&absent, &b], Ok("b")),
        ("two of two", "Any", vec![BASIC, HEADER], None, vec![&b, &a], Ok("a")),
        ("one wrong, one right", "Any", vec![BASIC, HEADER], None, vec![&wrong, &a], Ok("a")),
        ("both wrong", "Any", vec![HEADER, BASIC], None, vec![&wrong, &wrong], Err(Code::WrongSecretHeader)),
        (
            "wrong before absent",
            "Any",
            vec![BASIC, HEADER],
            None,
            vec![&absent, &wrong],
            Err(Code::WrongSecretHeader),
        ),
        ("none", "Any", vec![MUTUAL, BASIC], None, vec![&absent, &absent], Err(Code::NoCredentials)),
        (
            "nobody's certificate",
            "Any",
            vec![MUTUAL, BASIC],
            cert_c,
            vec![&absent, &absent],
            Err(Code::NoRoute),
        ),
        ("certificate alone", "Any", vec![MUTUAL, BASIC], cert_b, vec![&absent, &absent], Ok("b")),
        (
            "certificate of one, credentials of another",
            "Any",
            vec![MUTUAL, BASIC],
            cert_b,
            vec![&absent, &a],
            Ok("a"),
        ),
        ("both", "All", vec![MUTUAL, BASIC], cert_a, vec![&absent, &a], Ok("a")),
        ("of two", "All", vec![MUTUAL, BASIC], cert_b, vec![&absent, &a], Err(Code::KeysOfSeveral)),
        ("no certificate", "All", vec![MUTUAL, BASIC], None, vec![&absent, &a], Err(Code::NoCertificate)),
        ("users, whoever calls", "All", vec![MUTUAL, USERS], cert_b, vec![&absent, &a], Ok("b")),
        ("users alone", "All", vec![USERS], None, vec![&a], Ok("a")),
        ("no user", "All", vec![MUTUAL, USERS], cert_b, vec![&absent, &wrong], Err(Code::WrongCredentials)),
        ("a place that there isn't", "All", vec![USERS], None, vec![&b], Err(Code::WrongCredentials)),
        ("nothing at all", "All", vec![BASIC], None, vec![], Err(Code::NoCredentials)),
    ] {
        let policy = compile(&door(require, &locks, "")).unwrap().policy;
        let proofs: Vec<Proof> = proofs.into_iter().cloned().collect();
        assert_eq!(judge_shown(&policy, 1, who, &proofs), expected.map(str::to_owned), "{case}");
    }
}

#[test]
fn a_challenge_says_which_header() {
    let basic = |name: &str| BASIC.replace("authorization", name);
    for (name, expected) in [
        ("authorization", r#"Basic realm="postern", charset="UTF-8""#),
        ("x-auth", r#"Header realm="postern", name="x-auth", value="Basic""#),
    ] {
        let policy = compile(&door("All", &[&basic(name)], "")).unwrap().policy;
        for proof in [Proof::Absent, Proof::Wrong] {
            let shown = Shown { proofs: std::slice::from_ref(&proof), ..Shown::default() };
            let (host, path) = (Host::parse("x").unwrap(), Path::parse("/").unwrap());
            let ask = Ask::Http { method: &Method::GET, host: &host, path: &path };
            let denial = authorize(&policy, &Request { port: 1, shown, ask }).unwrap_err();
            assert_eq!(denial.code.status(), 401);
            assert_eq!(denial.challenge.unwrap(), expected);
        }
    }
}

#[test]
fn what_becomes_of_client_certificates() {
    use ClientCertificate::{Demanded, Recorded, Requested, Unwanted};
    let caller = |mode| format!("{{type: Caller, mode: {mode}, headerName: authorization, upstream: Strip}}");
    let (default, force, exclusive) = (caller("Default"), caller("Force"), caller("Exclusive"));
    for (require, locks, more, expected) in [
        ("All", vec![MUTUAL], "", Demanded),
        ("All", vec![MUTUAL, BASIC], "", Demanded),
        ("Any", vec![MUTUAL], "", Demanded),
        ("Any", vec![MUTUAL, BASIC], "", Requested),
        ("All", vec![BASIC, HEADER], "", Unwanted),
        ("Any", vec![BASIC, HEADER], "", Unwanted),
        ("All", vec![&default], "", Requested),
        ("All", vec![&force], "", Requested),
        ("All", vec![&exclusive], "", Demanded),
        ("All", vec![&exclusive, HEADER], "", Demanded),
        ("Any", vec![&exclusive, HEADER], "", Requested),
        ("Any", vec![MUTUAL, &exclusive], "", Demanded),
        ("All", vec![MUTUAL], ", enforcement: Audit", Recorded),
    ] {
        let policy = compile(&door(require, &locks, more)).unwrap().policy;
        assert_eq!(policy.locked(1).unwrap().client_certificate(), expected, "{require} {locks:?} {more}");
    }
}

#[test]
fn an_audited_port_permits_and_tells() {
    let policy = compile(&door("All", &[MUTUAL], ", enforcement: Audit")).unwrap().policy;
    assert_eq!(policy.audited_ports().collect::<Vec<_>>(), [1]);
    assert_eq!(policy.locked(1).unwrap().enforcement, Enforcement::Audit);
    let request = Request { port: 1, shown: Shown::default(), ask: Ask::Connection };
    let permit = authorize(&policy, &request).unwrap();
    assert_eq!(permit.would_deny().unwrap().code, Code::NoCertificate);
    assert_eq!((permit.route(), permit.caller(), permit.uses().count()), (None, None, 0));
    assert!(permit.ground().is_none());
    // What was wrong with the certificate tells more than that there is none.
    let denial = Denial::new(Code::Expired, "long ago");
    let shown = Shown { refused: Some(&denial), ..Shown::default() };
    let permit = authorize(&policy, &Request { shown, ..request }).unwrap();
    assert_eq!(permit.would_deny(), Some(&denial));
    // Whoever is let in by the locks would not be denied.
    assert_eq!(judge_shown(&policy, 1, Some(("postern", "spiffe://d/a")), &[]), Ok("a".to_owned()));
}

#[test]
fn what_is_used_is_told_by_its_number() {
    let policy = compile(&door("All", &[MUTUAL, BASIC, HEADER], "")).unwrap().policy;
    assert_eq!(policy.ids().iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "b", "va", "vb"]);
    let who = caller("postern", "spiffe://d/b", &KEYS.pinned);
    let standing = policy.standing(1, &who);
    let certificate = Some(Certificate { identity: &who.identity, key: &who.key, standing: &standing });
    let proofs = [Proof::Absent, Proof::Right(vec![0, 1]), Proof::Right(vec![1])];
    let shown = Shown { certificate, proofs: &proofs, ..Shown::default() };
    let (host, path) = (Host::parse("x").unwrap(), Path::parse("/").unwrap());
    let ask = Ask::Http { method: &Method::GET, host: &host, path: &path };
    let permit = authorize(&policy, &Request { port: 1, shown, ask }).unwrap();
    // Another's credential that the same password fits was not used.
    assert_eq!(permit.uses().collect::<Vec<_>>(), [1, 3]);
    let principal = permit.principal().unwrap();
    assert!(principal.starts_with(&[0, 0, 0, 0, 0, 0, 0, 1, b'r']), "{principal:?}");
}

#[test]
fn what_rested_on_a_secret_goes_with_it() {
    let before = door("All", &[BASIC, HEADER], "");
    let policy = compile(&before).unwrap().policy;
    let proofs = [Proof::Right(vec![0]), Proof::Right(vec![0])];
    let (host, path) = (Host::parse("x").unwrap(), Path::parse("/").unwrap());
    let ask = Ask::Http { method: &Method::GET, host: &host, path: &path };
    let shown = Shown { proofs: &proofs, ..Shown::default() };
    let ground = authorize(&policy, &Request { port: 1, shown, ask }).unwrap().ground().unwrap();
    let replaced = |from: &str, to: &str| before.replace(from, to);
    let five = "05".repeat(32);
    for (case, now, expected) in [
        ("as before", before.clone(), true),
        ("another id", replaced("{id: a,", "{id: z,"), true),
        ("another password", replaced(&"00".repeat(32), &five), false),
        ("another user", replaced("username: a,", "username: c,"), false),
        ("another value", replaced(&"01".repeat(32), &five), false),
        ("a neighbour's other password", replaced(&"02".repeat(32), &five), true),
        ("another header", replaced("name: x-key", "name: x-other"), false),
        ("a lock more", door("All", &[MUTUAL, BASIC, HEADER], ""), false),
        ("any of them", door("Any", &[MUTUAL, BASIC, HEADER], ""), true),
        ("a lock less", door("All", &[HEADER], ""), true),
        ("the port goes", replaced("port: 1, protocol", "port: 2, protocol"), false),
        ("the route goes", replaced("name: r, port: 1", "name: r, port: 2"), false),
    ] {
        let now = compile(&now).unwrap().policy;
        assert_eq!(ground.holds(&now, 1, None), expected, "{case}");
    }
}

#[test]
fn doors_that_cannot_be() {
    let port = |more: &str| {
        format!("{{authorities: [{{name: x, roots: '', adminOnly: true}}], ports: [{{port: 1, {more}}}]}}")
    };
    let locked = |protocol: &str, locks: &str, more: &str| {
        port(&format!(
            "protocol: {protocol}, access: {{type: Locked, locks: {{require: All, list: [{locks}]}}}}{more}"
        ))
    };
    let header = |name: &str| format!("{{type: Header, name: {name}}}");
    let plain = ", transport: Plaintext";
    for (text, message) in [
        (locked("HTTP", "", ""), "no lock at all"),
        (locked("TCP", BASIC, ""), "only mutual TLS"),
        (locked("TCP", &format!("{MUTUAL}, {HEADER}"), ""), "only mutual TLS"),
        (locked("HTTP", MUTUAL, plain), "without TLS"),
        (
            locked(
                "HTTP",
                "{type: Caller, mode: Default, headerName: authorization, upstream: Strip}",
                plain,
            ),
            "without TLS",
        ),
        (locked("TCP", MUTUAL, plain), "without TLS"),
        (locked("HTTP", &header("X-Key"), ""), "lower-case"),
        (locked("HTTP", &header("'x key'"), ""), "lower-case"),
        (locked("HTTP", &header("host"), ""), "another meaning"),
        (locked("HTTP", &header("client_cert"), ""), "another meaning"),
        (locked("HTTP", &header("transfer-encoding"), ""), "another meaning"),
        (locked("HTTP", &format!("{BASIC}, {}", header("authorization")), ""), "two locks"),
        (locked("HTTP", &USERS.replace("sha256:04", "$1$salt$hash"), ""), "u"),
        (port("protocol: TCP, access: {type: Open, reason: r, paths: [/a]}"), "isn't HTTP"),
        (port("protocol: HTTP, access: {type: Open, reason: r, paths: [a]}"), "can never match"),
        ("{authorities: [], ports: [], revoked: [zz]}".to_owned(), "revoked certificate"),
        (
            "{authorities: [], ports: [], tenant: [{type: Identity, authority: x, identity: i}]}".to_owned(),
            "the tenant",
        ),
        (
            "{authorities: [{name: x, roots: '', adminOnly: true}], ports: [], routes: [{name: r, port: 1, \
             callers: [{name: c, certificates: [{type: Identity, authority: x, identity: i}]}]}]}"
                .to_owned(),
            "not among those",
        ),
    ] {
        let error = compile(&text).expect_err(&text).to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn doors_that_differ_stay_closed() {
    let entry = |port: &str, locks: &str| {
        format!(
            "{{port: {port}, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{locks}]}}}}}}"
        )
    };
    for (first, second, is_open) in [(MUTUAL, MUTUAL, true), (MUTUAL, BASIC, false), (BASIC, HEADER, false)] {
        let text =
            format!("{{authorities: [], ports: [{}, {}]}}", entry("web", first), entry("8081", second));
        let compiled = compile(&text).unwrap();
        assert_eq!(compiled.policy.door(8081).is_some(), is_open, "{first} {second}");
        assert_eq!(compiled.ambiguous.contains(&8081), !is_open, "{first} {second}");
    }
}
