use zeroize::Zeroizing;

use super::*;

const GOOD_HASH: &str = "$2y$10$abcdefghijklmnopqrstuuE8QWgG7sK6Jc6oNsJq7oOSv6q1Oy1S6";

fn data(type_: &str, texts: &[(&str, &str)]) -> SecretData {
    let data = texts
        .iter()
        .map(|(key, text)| ((*key).to_owned(), Zeroizing::new(text.as_bytes().to_vec())))
        .collect();
    SecretData { type_: type_.to_owned(), data }
}

fn said<T>(result: Result<T, Refusal>) -> Option<String> {
    let refusal = result.err()?;
    assert_eq!((refusal.condition, refusal.reason), (ConditionType::ResolvedRefs, Reason::InvalidSecret));
    Some(refusal.message)
}

#[test]
fn a_credential_is_of_its_type_and_whole() {
    let basic = |user: &str, password: &str| data(BASIC_AUTH, &[("username", user), ("password", password)]);
    for (data, part) in [
        (basic("alice", "correct horse: battery"), None),
        (data("Opaque", &[("username", "alice"), ("password", "x")]), Some("of type Opaque")),
        (data(BASIC_AUTH, &[("password", "x")]), Some("no key username")),
        (data(BASIC_AUTH, &[("username", "alice")]), Some("no key password")),
        (basic("", "x"), Some("username in Secret")),
        (basic("a:b", "x"), Some("username in Secret")),
        (basic("alice\n", "x"), Some("username in Secret")),
        (basic(&"a".repeat(256), "x"), Some("shorten it")),
        (basic("alice", ""), Some("password in Secret")),
        (basic("alice", "hunter2\n"), Some("password in Secret")),
    ] {
        let said = said(credential("Secret shop/own", &data));
        assert_eq!(said.is_some(), part.is_some(), "{said:?}");
        assert!(said.as_ref().zip(part).is_none_or(|(said, part)| said.contains(part)), "{said:?}");
        assert!(said.is_none_or(|said| !said.contains("hunter2")));
    }
}

#[test]
fn a_header_value_is_long_and_harmless() {
    let of = |text: &str| said(value("Secret shop/key", &data("Opaque", &[("value", text)]), "value"));
    assert_eq!(of("0123456789abcdef"), None);
    for text in ["0123456789abcde", "", &"a".repeat(4097)] {
        assert!(of(text).unwrap().contains("openssl rand"), "{}", text.len());
    }
    for bad in ["\n", " ", "\"", "'", "\\", "$", "`", "é", "\0"] {
        let said = of(&format!("hunter2-hunter2-hunter2{bad}")).unwrap();
        assert!(said.contains("can't carry") && !said.contains("hunter2"), "{said}");
    }
    assert!(said(value("Secret shop/key", &data("Opaque", &[]), "value")).unwrap().contains("no key value"));
}

#[test]
fn users_are_read_from_either_key_and_each_fault_is_named() {
    let of = |key: &str, text: &str| users("Secret shop/users", &data("Opaque", &[(key, text)]));
    for key in ["auth", ".htpasswd"] {
        let users = of(key, &format!("alice:{GOOD_HASH}\n")).unwrap();
        assert_eq!((users.len(), users[0].username.as_str()), (1, "alice"));
    }
    let weak = "bob:$apr1$abcdefgh$abcdefghijklmnopqrstuv";
    for (text, part) in [
        (weak, "line 1"),
        ("", "no users"),
        ("alice", "no colon"),
        (&format!("{weak}\n{weak}\n{weak}\n{weak}"), "and 1 more"),
    ] {
        let said = said(of("auth", text)).unwrap();
        assert!(said.contains(part) && !said.contains("abcdefgh"), "{said}");
    }
    assert!(said(of("users", "x")).unwrap().contains("no key auth"));
}
