use super::*;

const SHA512: &str = "$6$abcdefghijklmnop$J/AWykHqo2Tx5UtavGnFc3ytI33la50JpzLTarSWVhkIXK6wOjNwwZjsrIw2UgmrER2EKrSHCeQyAINEEXAk1/";
const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

fn told(text: &str) -> Vec<String> {
    parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_as_the_tools_write_it_is_read() {
    let text = format!("# staff\r\n\r\nada:{BCRYPT}\r\nbob smith:{SHA512}:a comment\nÄnne:{BCRYPT}");
    let users = parse(&text).unwrap();
    let expected = [("ada", BCRYPT), ("bob smith", SHA512), ("Änne", BCRYPT)];
    let found: Vec<_> = users.iter().map(|it| (it.username.as_str(), it.verifier.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_fault_is_told_with_its_line_and_none_quotes_a_hash() {
    let text = format!(
        "ada:{BCRYPT}\nno colon\n:{BCRYPT}\nada:{SHA512}\nbob:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n eve:{BCRYPT}\n\
         mal:hunter2hunter2\n{}:{BCRYPT}\nfay:",
        "x".repeat(256)
    );
    let faults = told(&text);
    let expected = [
        "line 2: no colon",
        "line 3: no user before",
        "line 4: user \"ada\" was already there in line 1",
        "line 5: user \"bob\": $apr1$ is MD5",
        "line 6: the user's name begins",
        "line 7: user \"mal\": this is no hash, but perhaps a password",
        "line 8: the user's name has more than 255 bytes",
        "line 9: user \"fay\": there is no hash",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, start) in faults.iter().zip(expected) {
        assert!(fault.starts_with(start), "{fault}");
        assert!(!fault.contains("hunter2") && !fault.contains("eIMz"), "{fault}");
    }
}

#[test]
fn files_have_bounds() {
    assert_eq!(parse("# nobody\n"), Err(vec![Fault::NoUsers]));
    assert_eq!(parse(&"#".repeat(BYTES + 1)), Err(vec![Fault::TooLong]));
    let list = |hashes: &mut dyn Iterator<Item = String>| {
        let lines: Vec<_> = hashes.enumerate().map(|(user, hash)| format!("u{user}:{hash}\n")).collect();
        lines.concat()
    };
    let many = |count| list(&mut std::iter::repeat_n(BCRYPT.to_owned(), count));
    assert_eq!(parse(&many(USERS)).unwrap().len(), USERS);
    assert_eq!(parse(&many(USERS + 1)), Err(vec![Fault::TooManyUsers]));
    let mut costs = (10..=14).chain([14]).map(|it: u32| BCRYPT.replace("05", &it.to_string()));
    let kinds = list(&mut costs);
    assert!(parse(&kinds).is_ok());
    let costly = format!(
        "{kinds}v:{0}\nw:{1}\n",
        SHA512.replace("$abc", "$rounds=1000000$abc"),
        SHA512.replace("$abc", "$rounds=1000000$bc")
    );
    assert!(told(&costly)[0].contains("would take about 4 s"), "{:?}", told(&costly));
}
