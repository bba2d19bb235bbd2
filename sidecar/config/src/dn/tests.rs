use super::*;

fn parse(text: &str) -> DistinguishedName {
    DistinguishedName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// One attribute's value.
fn value(text: &str) -> Value {
    parse(text).rdns()[0].values().next().unwrap().clone()
}

#[test]
fn equal_names() {
    let cases = [
        ("CN=acme,O=Acme", "cn=acme,o=Acme"),
        ("CN=acme,O=Acme", "CN = acme , O=Acme "),
        ("CN=acme,O=Acme", "2.5.4.3=acme,OID.2.5.4.10=Acme"),
        ("CN=a+OU=b,O=c", "OU=b + CN=a,O=c"),
        (r"CN=Acme\, Inc.", r"CN=Acme\2c Inc\2E"),
        (r"CN=\ a\ ", r"CN=\20a\20"),
        (r"CN=Lu\C4\8Di\C4\87", "CN=Lučić"),
        (r"CN=\#1", r"CN=\231"),
        (r"CN=a=b", r"CN=a\=b"),
        (r"CN=a#b", r"CN=a\#b"),
        ("CN=#0C0161", "CN=#0c0161"),
        ("E=a@b.c", "emailAddress=a@b.c"),
        (r"CN=a\0Ab", "CN=a\nb"),
    ];
    for (one, other) in cases {
        assert_eq!(parse(one), parse(other), "{one} {other}");
    }
}

#[test]
fn different_names() {
    let cases = [
        ("CN=acme,O=Acme", "O=Acme,CN=acme"),
        ("CN=acme", "CN=Acme"),
        ("CN=acme", "CN=acme,O=Acme"),
        ("CN=a+OU=b", "CN=a,OU=b"),
        ("CN=acme", "O=acme"),
        (r"CN=acme\ ", "CN=acme"),
        ("CN=a  b", "CN=a b"),
        ("CN=#0C0161", "CN=a"),
        (r"CN=a\,O=b", "CN=a,O=b"),
        ("CN=é", "CN=e\u{301}"),
    ];
    for (one, other) in cases {
        assert_ne!(parse(one), parse(other), "{one} {other}");
    }
}

#[test]
fn values_are_unescaped() {
    for (text, expected) in [
        (r#"CN=James \"Jim\" Smith\, III"#, r#"James "Jim" Smith, III"#),
        (r"CN=Before\0dAfter", "Before\rAfter"),
        ("UID=jsmith,DC=example,DC=net", "jsmith"),
        (r"CN=\\", "\\"),
        ("CN=a b  ,O=x", "a b"),
        (r"CN=a \  ", "a  "),
    ] {
        assert_eq!(value(text), Value::Text(expected.to_owned()), "{text}");
    }
    assert_eq!(value("1.3.6.1.4.1.1466.0=#04024869"), Value::Encoded(vec![4, 2, 0x48, 0x69]));
    assert_eq!(parse("CN=acme,O=Acme,C=DE").rdns().len(), 3);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let long = format!("CN={}", "a".repeat(BYTES));
    let cases: &[(&str, DnError)] = &[
        ("", DnError::Empty),
        ("  ", DnError::Empty),
        (&long, DnError::TooLong),
        ("/C=DE/O=Acme", DnError::Slashes),
        ("acme", DnError::NoAttribute(1)),
        ("CN=a,", DnError::NoAttribute(6)),
        ("CN=a,,O=b", DnError::NoAttribute(6)),
        ("CN=a+", DnError::NoAttribute(6)),
        ("=a", DnError::NoAttribute(1)),
        ("CN=a,FOO=b", DnError::UnknownAttribute { at: 6, name: "FOO".into() }),
        ("1=b", DnError::UnknownAttribute { at: 1, name: "1".into() }),
        ("2.05.4.3=b", DnError::UnknownAttribute { at: 1, name: "2.05.4.3".into() }),
        ("CN=", DnError::NoValue(4)),
        ("CN=,O=a", DnError::NoValue(4)),
        ("CN=#", DnError::BadHex(4)),
        ("CN=#0", DnError::BadHex(4)),
        ("CN=#0g,O=a", DnError::BadHex(4)),
        (r"CN=a\", DnError::BadEscape(5)),
        (r"CN=a\n1", DnError::BadEscape(5)),
        (r"CN=\é", DnError::BadEscape(4)),
        ("CN=a;O=b", DnError::Unescaped { at: 5, found: ';' }),
        ("CN=\"a\"", DnError::Unescaped { at: 4, found: '"' }),
        ("CN=a\0", DnError::Unescaped { at: 5, found: '\0' }),
        (r"CN=\C3", DnError::NotUtf8(4)),
        ("CN=a+cn=b", DnError::Twice(6)),
        ("CN=a+2.5.4.3=a", DnError::Twice(6)),
    ];
    for (text, expected) in cases {
        assert_eq!(DistinguishedName::parse(text).unwrap_err(), *expected, "{text}");
    }
}

#[test]
fn what_is_written_reads_back() {
    for text in [
        r"CN=\ a\,b\+c\ ,O=\#1#",
        "OU=b+CN=a",
        "1.2.3.4=#0c0161",
        r"CN=a\00b",
        "EMAILADDRESS=a@b.c,C=DE",
        r#"CN=\"\<\>\;\\="#,
    ] {
        let name = parse(text);
        assert_eq!(parse(&name.to_string()), name, "{text} {name}");
    }
    assert_eq!(parse("o=Acme , cn=x").to_string(), "O=Acme,CN=x");
}
