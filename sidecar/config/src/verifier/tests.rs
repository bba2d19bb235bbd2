use super::*;

const SHA512: &str = "$6$abcdefghijklmnop$J/AWykHqo2Tx5UtavGnFc3ytI33la50JpzLTarSWVhkIXK6wOjNwwZjsrIw2UgmrER2EKrSHCeQyAINEEXAk1/";
const SHA256: &str = "$5$rounds=12345$0123456789abcdef$Iw4L5jyOGsQ9n6Wf3p9KR94iih1JUOlFUgtEaATQ.50";
const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
const PBKDF2: &str =
    "$pbkdf2-sha256$i=100000$c2FsdHNhbHRzYWx0c2FsdA$MI+P8ArZxL807eVfmB/TB8eo+begDzCe812TLwaxnRY";

fn slow(text: &str) -> Slow {
    match Verifier::parse(text).unwrap() {
        Verifier::Slow(slow) => slow,
        Verifier::Sha256(_) => panic!("{text}"),
    }
}

#[test]
fn every_accepted_format_is_read() {
    assert_eq!(slow(SHA512).work(), Work::Sha512Crypt(5_000, 16));
    assert_eq!(slow(SHA256).work(), Work::Sha256Crypt(12_345, 16));
    for version in ["2a", "2b", "2y"] {
        assert_eq!(slow(&BCRYPT.replace("2y", version)).work(), Work::Bcrypt(5));
    }
    assert_eq!(slow(PBKDF2).work(), Work::Pbkdf2(NonZeroU32::new(100_000).unwrap()));
    assert!(matches!(Verifier::parse(&sha256(b"secret")), Ok(Verifier::Sha256(_))));
    assert_eq!(slow(&pbkdf2(b"secret", &[7; 16])).work(), Work::Pbkdf2(PBKDF2_ITERATIONS));
    assert_eq!(sha256(b"abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn weak_unknown_and_broken_ones_are_refused_with_what_to_do() {
    let bcrypt = |cost: &str| BCRYPT.replace("05", cost);
    let cases: &[(String, &str)] = &[
        (String::new(), "no hash"),
        ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00".into(), "MD5"),
        ("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/".into(), "MD5"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".into(), "SHA-1"),
        ("rl.3StKT.4T8M".into(), "DES"),
        ("hunter2".into(), "plain text"),
        ("$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA".into(), "not known"),
        (BCRYPT.replace("2y", "2x"), "faulty"),
        (bcrypt("04"), "cost 4 is not accepted, 5 to 14"),
        (bcrypt("15"), "cost 15"),
        (bcrypt("5"), "cost of two digits"),
        (bcrypt("+5"), "cost of two digits"),
        (BCRYPT[..59].into(), "the hash"),
        (format!("{BCRYPT}a"), "the hash"),
        (BCRYPT.replace("abc", "a:c"), "the salt"),
        (BCRYPT[..20].into(), "shorter"),
        (SHA512[..SHA512.len() - 1].into(), "86"),
        (SHA512.replace("$abc", "$rounds=4999$abc"), "rounds 4999"),
        (SHA512.replace("$abc", "$rounds=1000001$abc"), "rounds 1000001"),
        (SHA512.replace("$abc", "$rounds=99999999999$abc"), "no rounds"),
        (SHA512.replace("$abc", "$rounds=-1$abc"), "no rounds"),
        (SHA512.replace("abcdefghijklmnop", "abc"), "salt"),
        (format!("{SHA512}$"), "no rounds"),
        (PBKDF2.replace("100000", "99999"), "iterations 99999"),
        (PBKDF2.replace("100000", "2000001"), "iterations 2000001"),
        (PBKDF2.replace("i=", "l="), "i=<iterations>"),
        (PBKDF2.replace("c2FsdHNhbHRzYWx0c2FsdA", "c2FsdA"), "8 to 64"),
        (format!("{PBKDF2}=="), "unpadded"),
        ("sha256:12".into(), "64 lower-case"),
        (sha256(b"x").to_uppercase().replace("SHA", "sha"), "64 lower-case"),
    ];
    for (text, reason) in cases {
        let error = Verifier::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
        assert!(text.len() < 8 || !error.contains(text.as_str()), "no verifier is quoted: {error}");
    }
}

#[test]
fn a_dummy_is_as_much_work_as_its_model() {
    for text in [SHA512, SHA256, BCRYPT, PBKDF2] {
        let work = slow(text).work();
        assert_eq!(work.dummy().work(), work);
        if let Slow::ShaCrypt { text, .. } = work.dummy() {
            assert_eq!(slow(&text), work.dummy(), "a dummy is well formed");
        }
    }
}

#[test]
fn debug_shows_no_hash() {
    for text in [SHA512, SHA256, BCRYPT, PBKDF2, &sha256(b"x")] {
        let shown = format!("{:?}", Verifier::parse(text).unwrap());
        assert!(!text.split(['$', ':']).filter(|it| it.len() > 10).any(|it| shown.contains(it)), "{shown}");
    }
}

#[test]
fn the_work_of_a_set_is_that_of_its_costliest_users() {
    let other = BCRYPT.replace("abc", "bbb");
    let plain = sha256(b"x");
    let users = [("a", BCRYPT), ("a", &other), ("b", SHA512), ("c", BCRYPT), ("c", BCRYPT), ("d", &plain)];
    let work = work_of(users).unwrap();
    assert_eq!(work, [(Work::Bcrypt(5), 2), (Work::Sha512Crypt(5_000, 16), 1)].into());

    let costly = |salt: char| BCRYPT.replace("05", "14").replace("abc", &format!("ab{salt}"));
    assert!(work_of([("a", &*costly('x')), ("b", &*costly('y'))]).is_ok(), "users don't add up");
    let (four, three): (Vec<_>, Vec<_>) =
        ("wxyz".chars().map(costly).collect(), "xyz".chars().map(costly).collect());
    assert!(work_of(three.iter().map(|it| ("a", it.as_str()))).is_ok());
    let error = work_of(four.iter().map(|it| ("a", it.as_str()))).unwrap_err();
    assert!(matches!(error, SetError::TooMuchWork { seconds: 4 }), "{error}");
    let many: Vec<String> = (0_u8..65).map(|it| sha256(&[it])).collect();
    let error = work_of(many.iter().map(|it| ("a", it.as_str()))).unwrap_err();
    assert_eq!(error, SetError::TooManyPasswords("a".into()));
}
