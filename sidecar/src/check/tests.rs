use super::*;

const CERTIFICATE: &str = "certificate.pem";

/// A directory with what a file may name.
fn directory() -> tempfile::TempDir {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write(CERTIFICATE, &certificate.pem());
    write("key.pem", &key.serialize_pem());
    write("other-key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    write("htpasswd", "ada:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n");
    write("weak", "ada:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n\nno colon\n");
    write("value", "0123456789abcdef0123456789abcdef\n");
    write("short", "secret\n");
    directory
}

/// `FILES/` stands for the directory.
fn told(directory: &tempfile::TempDir, text: &str) -> Vec<String> {
    let (root, file) = (directory.path().display().to_string(), directory.path().join("config.yaml"));
    std::fs::write(&file, text.replace("FILES", &root)).unwrap();
    let prefix = format!("{}:", file.display());
    let lines = check(&file).into_iter().map(|fault| {
        let line = fault.to_string();
        line.strip_prefix(&prefix).unwrap().replace(&root, "FILES")
    });
    lines.collect()
}

const GOOD: &str = r#"listeners:
  - {address: "127.0.0.1:8443", port: 8080, upstream: "127.0.0.1:8080"}
server: {certificateFile: FILES/certificate.pem, privateKeyFile: FILES/key.pem}
policy:
  authorities: [{name: partner, type: Bundle}]
  ports:
    - port: 8080
      protocol: HTTP
      access:
        type: Locked
        locks:
          require: All
          list:
            - {type: MutualTLS}
            - {type: Basic, headerName: authorization, upstream: Strip}
            - {type: Header, name: x-key}
  routes:
    - name: orders
      port: 8080
      callers:
        - name: gateway
          certificates: [{type: Subject, authority: partner, subject: "CN=acme,O=Acme"}]
files:
  roots: [{authority: partner, file: FILES/certificate.pem}]
  users: [{port: 8080, file: FILES/htpasswd}]
  headerValues: [{route: orders, caller: gateway, file: FILES/value}]
"#;

/// The good file with changes, each of a text that is there.
fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

fn assert_told(directory: &tempfile::TempDir, text: &str, expected: &[&str]) {
    let lines = told(directory, text);
    assert_eq!(lines.len(), expected.len(), "{text}\n{lines:#?}");
    for (line, start) in lines.iter().zip(expected) {
        // Columns depend on the directory's name.
        let (place, message) = line.split_once(": ").filter(|_| !line.starts_with(' ')).unwrap_or(("", line));
        let line = format!("{}: {message}", place.split(':').next().unwrap_or_default());
        assert!(line.starts_with(start), "{line:?} is not {start:?}\n{lines:#?}");
    }
}

#[test]
fn a_good_file_has_no_fault() {
    let directory = directory();
    assert_eq!(told(&directory, GOOD), Vec::<String>::new());
    let json = serde_yaml::from_str::<serde_json::Value>(GOOD).unwrap().to_string();
    assert_eq!(told(&directory, &json), Vec::<String>::new(), "JSON is YAML");
    let anchors = changed(&[
        ("address: \"127.0.0.1:8443\"", "address: &a \"127.0.0.1:8443\""),
        ("upstream: \"127.0.0.1:8080\"", "upstream: *a"),
    ]);
    assert_eq!(told(&directory, &anchors), Vec::<String>::new());
}

#[test]
fn every_fault_of_the_shape_is_told_in_one_go() {
    let text = changed(&[
        ("address: \"127.0.0.1:8443\", port: 8080", "address: here, port: 70000, extra: 1"),
        (", upstream: \"127.0.0.1:8080\"", ""),
        ("certificateFile: FILES/certificate.pem, ", "certificateFile: [x], "),
        ("protocol: HTTP", "protocol: FTP"),
        ("{type: MutualTLS}", "{type: MutualTLs}"),
        ("upstream: Strip}", "upstream: Strip, users: 7}"),
        ("name: x-key", "nam: x-key"),
        ("  routes:\n    - name: orders\n      port: 8080", "  routes:\n    - port: true"),
    ]);
    let expected = [
        "2: listeners[0].upstream: it is missing; write it: Address and port of the application",
        "2: listeners[0].address: \"here\" is no address",
        "2: listeners[0].port: 70000 is not a whole number from 0 to 65535",
        "2: listeners[0].extra: there is no such field; here may stand address, port, upstream",
        "3: server.certificateFile: this is a list, and should be text",
        "8: policy.ports[0].protocol: \"FTP\" is none of HTTP, H2C, HTTPS, TCP, UDP",
        "14: policy.ports[0].access.locks.list[0].type: \"MutualTLs\" is none of MutualTLS, Basic, Header, Caller",
        "15: policy.ports[0].access.locks.list[1].users: this is a number, and should be a list",
        "16: policy.ports[0].access.locks.list[2].name: it is missing",
        "16: policy.ports[0].access.locks.list[2].nam: there is no such field",
        "18: policy.routes[0].name: it is missing",
        "18: policy.routes[0].port: this is true or false, and should be a whole number from 0 to 65535, or text",
    ];
    assert_told(&directory(), &text, &expected);
}

#[test]
fn every_fault_of_the_meaning_is_told_in_one_go() {
    let text = changed(&[
        (
            "upstream: \"127.0.0.1:8080\"}",
            "upstream: \"127.0.0.1:8080\"}\n  - {address: \"127.0.0.1:8443\", port: 9090, upstream: \"127.0.0.1:9090\"}",
        ),
        ("privateKeyFile: FILES/key.pem", "privateKeyFile: FILES/none.pem"),
        ("CN=acme,O=Acme\"}", "CN=acme;O=Acme\"}, {type: Fingerprint, sha256: \"7F:83\"}"),
        (
            "- name: gateway\n",
            "- name: gateway\n          credentials: [{id: a, username: ada, verifier: hunter2}]\n",
        ),
        ("FILES/htpasswd", "FILES/weak"),
        ("caller: gateway, file: FILES/value", "caller: gateway, file: FILES/short"),
        ("authority: partner, file", "authority: partnr, file"),
    ]);
    let expected = [
        "3: listeners[1].address: listeners[0] listens there already",
        "3: listeners[1].port: 9090 is not in policy.ports",
        "4: server.privateKeyFile: FILES/none.pem cannot be read",
        "6: policy.authorities[0]: authority \"partner\": its roots are no PEM certificates",
        "23: policy.routes[0].callers[0].credentials[0]: credential \"a\": this is no hash",
        "24: policy.routes[0].callers[0].certificates[0]: \"CN=acme;O=Acme\": at byte 8",
        "24: policy.routes[0].callers[0].certificates[1]: \"7F:83\" is no SHA-256",
        "26: files.roots[0]: FILES/certificate.pem: authority \"partnr\" is not in policy.authorities",
        "27: files.users[0]: FILES/weak: line 1: user \"ada\": $apr1$ is MD5",
        "27: files.users[0]: FILES/weak: line 3: no colon",
        "28: files.headerValues[0]: FILES/short: it holds no value of at least 16",
    ];
    assert_told(&directory(), &text, &expected);
}

#[test]
fn what_only_shows_in_the_whole_is_told_at_last() {
    let text = changed(&[("FILES/key.pem", "FILES/other-key.pem")]);
    assert_told(
        &directory(),
        &text,
        &[":  the server's certificate and private key are not usable together"],
    );
    let text = changed(&[("{type: MutualTLS}", "{type: MutualTLS}\n      transport: Plaintext")]);
    assert_eq!(told(&directory(), &text).len(), 1, "{:?}", told(&directory(), &text));
}

#[test]
fn names_that_lead_nowhere() {
    let text = changed(&[
        ("    - port: 8080\n      protocol", "    - port: http\n      protocol"),
        ("route: orders, caller: gateway", "route: orders, caller: edge"),
    ]);
    let expected = [
        "2: listeners[0].port: 8080 is not in policy.ports",
        "7: policy.ports[0].port: \"http\" is a name, which only pods have",
        "19: policy.routes[0].port: it is not in policy.ports",
        "25: files.users[0]: FILES/htpasswd: port 8080 in policy.ports has no Basic lock",
        "26: files.headerValues[0]: FILES/value: no route \"orders\" in policy.routes has a caller \"edge\"",
    ];
    assert_told(&directory(), &text, &expected);
}

#[test]
fn columns_count_from_one() {
    let text = "listeners:\n  - {port: x, address: \"127.0.0.1:1\", upstream: here}\nserver:\n  certificateFile: a\npolicy: {}\n";
    let lines = told(&directory(), text);
    let expected = [
        "2:12: listeners[0].port",
        "2:49: listeners[0].upstream",
        "4:3: server.privateKeyFile",
        "5:9: policy.authorities",
        "5:9: policy.ports",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{line:?} is not {start:?}");
    }
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    let directory = directory();
    for (text, start) in [
        ("", "1:1: the file is empty"),
        ("listeners: [\nserver: }", "2:"),
        ("a: *b", "1:4:"),
        ("listeners: []\nlisteners: []", "1:1: server: it is missing"),
        ("7", "1:1: this is a number, and should be a map"),
    ] {
        let lines = told(&directory, text);
        assert!(lines.iter().any(|line| line.starts_with(start)), "{text:?} {lines:#?}");
    }
    let deep = "[".repeat(200);
    assert_told(&directory, &deep, &["1: more than"]);
    let file = directory.path().join("none.yaml");
    assert!(check(&file)[0].to_string().contains("os error 2"), "{:?}", check(&file));
}
