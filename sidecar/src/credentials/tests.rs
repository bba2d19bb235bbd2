use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::time::ClockId;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_config::policy::{Credential, HeaderSecret};
use postern_config::verifier;

use super::*;
use crate::fields::Fields;

const SHA512: &str = "$6$abcdefghijklmnop$J/AWykHqo2Tx5UtavGnFc3ytI33la50JpzLTarSWVhkIXK6wOjNwwZjsrIw2UgmrER2EKrSHCeQyAINEEXAk1/";
const SHA256: &str = "$5$rounds=12345$0123456789abcdef$Iw4L5jyOGsQ9n6Wf3p9KR94iih1JUOlFUgtEaATQ.50";
const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
const PBKDF2: &str =
    "$pbkdf2-sha256$i=100000$c2FsdHNhbHRzYWx0c2FsdA$MI+P8ArZxL807eVfmB/TB8eo+begDzCe812TLwaxnRY";

fn credential(id: &str, username: &str, verifier: &str) -> Credential {
    Credential { id: id.into(), username: username.into(), verifier: verifier.into() }
}

fn users(list: &[(&str, &str)]) -> Arc<Users> {
    let named: Vec<_> =
        list.iter().enumerate().map(|(at, (name, it))| credential(&format!("c{at}"), name, it)).collect();
    Arc::new(Users::compile(&named).unwrap())
}

fn basic(name: &str, password: impl AsRef<[u8]>) -> Vec<u8> {
    let pair = [name.as_bytes(), b":", password.as_ref()].concat();
    format!("Basic {}", STANDARD.encode(pair)).into_bytes()
}

fn presented(name: &str, password: impl AsRef<[u8]>) -> Presented {
    Presented::parse(&basic(name, password)).unwrap()
}

fn source() -> IpAddr {
    IpAddr::from([192, 0, 2, 1])
}

fn checker() -> Checker {
    Checker::new(Pool::start(Load::for_workers(1)).unwrap())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Positions, or none if it was wrong.
fn positions(users: &Users, answer: Answer) -> Vec<usize> {
    match answer {
        Answer::Right(matched) => users.indexes(matched).collect(),
        Answer::Wrong => Vec::new(),
        Answer::Busy => panic!("busy"),
    }
}

#[test]
fn basic_credentials_are_read_strictly() {
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    let good: &[(String, &[u8], &[u8])] = &[
        (format!("Basic {}", encode(b"ada:secret")), b"ada", b"secret"),
        (format!("bAsIc   {}", encode(b"ada:a:b:c")), b"ada", b"a:b:c"),
        (format!("Basic {}", encode(b":")), b"", b""),
        (format!("Basic {}", encode(b"\xff:\xe4")), b"\xff", b"\xe4"),
        (
            format!("Basic {}", encode(&[&[b'a'; 255][..], b":", &[b'b'; 511]].concat())),
            &[b'a'; 255],
            &[b'b'; 511],
        ),
    ];
    for (value, name, password) in good {
        let it = Presented::parse(value.as_bytes()).unwrap();
        assert_eq!((it.username(), it.password()), (*name, *password));
        assert_eq!(format!("{it:?}"), "Presented(…)");
    }
    let long = |name: usize, password: usize| {
        format!("Basic {}", encode(&[&vec![b'a'; name][..], b":", &vec![b'b'; password]].concat()))
    };
    let bad = [
        ("Bearer abc".to_owned(), BasicError::OtherScheme),
        ("Basic".into(), BasicError::OtherScheme),
        (format!("Basic{}", encode(b"ada:secret")), BasicError::OtherScheme),
        (format!("Basic\t{}", encode(b"ada:secret")), BasicError::OtherScheme),
        (String::new(), BasicError::OtherScheme),
        ("Basic YTpi=".into(), BasicError::NotBase64),
        ("Basic YTo".into(), BasicError::NotBase64),
        ("Basic YT pi".into(), BasicError::NotBase64),
        ("Basic YTpi, Basic YTpi".into(), BasicError::NotBase64),
        ("Basic YTpj-_==".into(), BasicError::NotBase64),
        ("Basic ".into(), BasicError::NoColon),
        (format!("Basic {}", encode(b"ada")), BasicError::NoColon),
        (format!("Basic {}", encode(b"ada:a\nb")), BasicError::ControlCharacter),
        (format!("Basic {}", encode(b"a\0da:b")), BasicError::ControlCharacter),
        (format!("Basic {}", encode(b"ada:a\x7f")), BasicError::ControlCharacter),
        (long(256, 1), BasicError::TooLong),
        (long(1, 512), BasicError::TooLong),
        (long(1, 5000), BasicError::TooLong),
    ];
    for (value, expected) in bad {
        assert_eq!(Presented::parse(value.as_bytes()).unwrap_err(), expected, "{value}");
    }
}

#[test]
fn exactly_one_header_is_taken() {
    let (mut fields, name) = (Fields::new(), "authorization");
    assert!(Presented::from_fields(&fields, name).unwrap().is_none());
    fields.push(name, &basic("ada", "secret"));
    assert_eq!(Presented::from_fields(&fields, name).unwrap().unwrap().username(), b"ada");
    fields.push(name, b"Basic");
    assert_eq!(Presented::from_fields(&fields, name).unwrap_err(), BasicError::Repeated);
}

#[test]
fn every_kind_of_hash_opens_for_its_password_alone() {
    let quick = verifier::sha256(b"secret");
    // Made by glibc's crypt: UTF-8, more than bcrypt's 72 bytes, long, and empty.
    let others: &[(&str, &[u8])] = &[
        ("$2b$06$DCq7YPn5Rq63x1Lad4cll.nyo2o.eb3JSmOI9HMzT6oUzwgak5wgO", b"secret"),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.pIKrLVkBX9/OvQMSygY1pWEVn72t6na", b"secret"),
        ("$2y$05$abcdefghijklmnopqrstuucAlS3LCZL9LcVSWwMtNJG6yF5tEYLy2", "päss wörd".as_bytes()),
        ("$2y$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q", &[b'x'; 80]),
        ("$2y$05$abcdefghijklmnopqrstuu0oImNDIy4flhldV9YqunRgBAePKmw7m", b""),
        (
            "$6$rounds=5000$abcdefghijklmnop$bnuqzgQ5srkoCbFu6sZ0QXp/vRRfaTw13CUNXOZoIGxSnymgWBegqZuxrRJRKKgGZXtXpW77D20KerFpyy3311",
            &[b'x'; 300],
        ),
        (
            "$6$abcdefghijklmnop$6.vC8ffobuN7AxcHvesxeeksF2DXFfpYyFt3PFU8pYpEQPhWFSN7hwaUQRfHg/LkfB3jIPEitUcU7ZTqjaQUp1",
            b"",
        ),
    ];
    let own = [SHA512, SHA256, BCRYPT, PBKDF2, &quick].map(|it| (it, &b"secret"[..]));
    run(async {
        let checker = checker();
        for (verifier, password) in own.iter().chain(others) {
            let users = users(&[("ada", verifier)]);
            let answer = checker.verify(&users, source(), presented("ada", password)).await;
            assert_eq!(positions(&users, answer), [0], "{verifier}");
            for (name, wrong) in [("ada", &b"Secret"[..]), ("eve", password), ("Ada", password)] {
                let answer = checker.verify(&users, source(), presented(name, wrong)).await;
                assert_eq!(answer, Answer::Wrong, "{verifier} {name}");
            }
        }
    });
}

#[test]
fn an_answer_names_every_position() {
    let quick = verifier::sha256(b"secret");
    let other = verifier::sha256(b"other");
    let list = [
        ("ada", BCRYPT),
        ("bob", BCRYPT),
        ("ada", &other),
        ("ada", BCRYPT),
        ("ada", SHA512),
        ("bob", &quick),
        ("bob", &quick),
    ];
    let users = users(&list);
    run(async {
        let checker = checker();
        let cases: &[(&str, &str, &[usize])] = &[
            ("ada", "secret", &[0, 3, 4]),
            ("ada", "other", &[2]),
            ("bob", "secret", &[5, 6]),
            ("bob", "other", &[]),
        ];
        // The second time from memory.
        for _ in 0..2 {
            for (name, password, expected) in cases {
                let answer = checker.verify(&users, source(), presented(name, password)).await;
                assert_eq!(positions(&users, answer), *expected, "{name} {password}");
            }
        }
    });
    assert_eq!(users.id(5).map(|it| &**it), Some("c5"));
    assert!(users.id(7).is_none());
}

#[test]
fn right_answers_are_remembered_until_the_verifier_changes_and_wrong_ones_never() {
    let (before, moved) = (users(&[("ada", BCRYPT)]), users(&[("bob", PBKDF2), ("ada", BCRYPT)]));
    let changed = users(&[("ada", &verifier_of("another"))]);
    run(async {
        let checker = checker();
        let now = |users: &Arc<Users>, password: &str| match checker.check(
            users,
            source(),
            presented("ada", password),
        ) {
            Check::Now(answer) => Some(answer),
            Check::Later(_) => None,
        };
        assert_eq!(now(&before, "secret"), None);
        assert_eq!(
            positions(&before, checker.verify(&before, source(), presented("ada", "secret")).await),
            [0]
        );
        assert_eq!(now(&before, "secret").map(|it| positions(&before, it)), Some(vec![0]));
        assert_eq!(
            now(&moved, "secret").map(|it| positions(&moved, it)),
            Some(vec![1]),
            "in the next generation too"
        );
        assert_eq!(now(&changed, "secret"), None, "another verifier");
        for _ in 0..2 {
            assert_eq!(now(&before, "wrong"), None);
            assert_eq!(checker.verify(&before, source(), presented("ada", "wrong")).await, Answer::Wrong);
        }
    });
}

fn verifier_of(password: &str) -> String {
    bcrypt::hash_with_salt(password, 5, [9; 16]).unwrap().format_for_version(bcrypt::Version::TwoY)
}

#[test]
fn quick_answers_need_no_pool() {
    let users = users(&[("ada", &verifier::sha256(b"secret"))]);
    let checker = checker();
    for (name, password, is_right) in [("ada", "secret", true), ("ada", "x", false), ("eve", "secret", false)]
    {
        match checker.check(&users, source(), presented(name, password)) {
            Check::Now(answer) => assert_eq!(!positions(&users, answer).is_empty(), is_right),
            Check::Later(_) => panic!("slow"),
        }
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap().into()
}

/// Unknown names, wrong passwords, and users whose own hash is cheap: the same work, so about the same time.
#[test]
fn no_time_tells_who_exists() {
    let quick = verifier::sha256(b"secret");
    let list = [("slow", PBKDF2), ("fast", BCRYPT), ("quick", &*quick)];
    let users = users(&list);
    let names = ["nobody", "slow", "fast", "quick"];
    let mut times = [Duration::MAX; 4];
    // In turns, so that whoever else uses the machine slows all of them; the least is what the work itself takes.
    for _ in 0..9 {
        for (name, least) in names.iter().zip(&mut times) {
            let person = users.find(name.as_bytes());
            let start = processor_time();
            assert_eq!(users.check_slow(person, b"wrong"), 0);
            *least = (*least).min(processor_time().saturating_sub(start));
        }
    }
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*most < *least * 3 / 2, "{times:?}");
}

#[test]
fn equal_checks_are_one_check_and_a_dropped_one_is_not_begun() {
    let users = users(&[("ada", BCRYPT)]);
    run(async {
        let load = Load { queue: 2, per_source: 2, ..Load::for_workers(1) };
        let checker = Checker::new(Pool::start(load).unwrap());
        let begin = |password: &str| checker.check(&users, source(), presented("ada", password));
        let all: Vec<Check> = (0..50).map(|_| begin("secret")).collect();
        for check in all {
            let Check::Later(pending) = check else { panic!("busy or remembered") };
            assert_eq!(positions(&users, pending.await), [0]);
        }
        let many: Vec<Check> = (0..50).map(|it| begin(&format!("wrong {it}"))).collect();
        assert!(many.iter().any(|it| matches!(it, Check::Now(Answer::Busy))), "the queue has a bound");
        let later = many.into_iter().filter_map(|it| if let Check::Later(it) = it { Some(it) } else { None });
        for pending in later {
            assert_eq!(pending.await, Answer::Wrong);
        }
        drop(begin("dropped"));
        assert_eq!(checker.verify(&users, source(), presented("ada", "dropped")).await, Answer::Wrong);
    });
}

#[test]
fn a_check_that_waited_too_long_is_busy_not_wrong() {
    let users = users(&[("ada", BCRYPT)]);
    run(async {
        let load = Load { patience: Duration::ZERO, ..Load::for_workers(1) };
        let checker = Checker::new(Pool::start(load).unwrap());
        assert_eq!(checker.verify(&users, source(), presented("ada", "secret")).await, Answer::Busy);
    });
}

#[test]
fn faulty_credentials_are_named_by_their_id_alone() {
    let cases = [
        (
            credential("shop/orders", "ada", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"),
            "credential \"shop/orders\": $1$ is MD5",
        ),
        (credential("x", "a:b", BCRYPT), "credential \"x\": the user's name"),
        (credential("x", "", BCRYPT), "credential \"x\": the user's name"),
        (credential("x", "a\nb", BCRYPT), "credential \"x\": the user's name"),
    ];
    for (it, expected) in cases {
        let error = Users::compile([&it]).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("qjXMv"), "{error}");
    }
}

#[test]
fn secrets_are_found_by_their_value() {
    let secret =
        |id: &str, value: &str| HeaderSecret { id: id.into(), verifier: verifier::sha256(value.as_bytes()) };
    let list = [secret("a", "one"), secret("b", "two"), secret("c", "one")];
    let secrets = Secrets::compile(&list).unwrap();
    assert_eq!(secrets.check(b"one"), [0, 2]);
    assert_eq!(secrets.check(b"two"), [1]);
    assert!(secrets.check(b"").is_empty() && secrets.check(b"One").is_empty());
    assert_eq!(secrets.id(2).map(|it| &**it), Some("c"));
    assert!(Secrets::compile(&[]).unwrap().check(b"one").is_empty());
    let slow = HeaderSecret { id: "d".into(), verifier: BCRYPT.into() };
    let error = Secrets::compile([&slow]).unwrap_err().to_string();
    assert!(error.contains("secret \"d\"") && !error.contains("OQiy"), "{error}");
}
