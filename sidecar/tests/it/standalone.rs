//! A sidecar without an operator: its file is checked, its secrets lie in files, SIGHUP makes it look.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Application, Pki, Shape, Sidecar, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postern_config::verifier;

const EXAMPLE: &str = "../examples/systemd";

fn check(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern-sidecar"))
        .arg("--check")
        .arg("--config")
        .arg(file)
        .output()
        .unwrap()
}

/// The example of `examples/systemd`, with its files.
fn example(directory: &Path) -> String {
    let pki = Pki::new();
    let server = pki.servers.issue(Shape::Server, "spiffe://test/server");
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    write("tls.crt", &server.pem);
    write("tls.key", &server.key.serialize_pem());
    write("partner-ca.crt", &pki.callers.pem);
    write("htpasswd", "gateway:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n");
    write("gateway-key", "0123456789abcdef0123456789abcdef\n");
    let text = std::fs::read_to_string(Path::new(EXAMPLE).join("config.yaml")).unwrap();
    text.replace("/etc/postern-sidecar", &directory.display().to_string())
}

#[test]
fn the_example_passes_and_a_faulty_file_is_told_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let text = example(directory.path());
    std::fs::write(&file, &text).unwrap();
    let good = check(&file);
    assert_eq!(String::from_utf8_lossy(&good.stderr), "");
    assert_eq!(good.status.code(), Some(0));

    let faulty =
        text.replacen("protocol: HTTP", "protocol: FTP", 1).replacen("upstream: Strip", "upstream: Drop", 1);
    std::fs::write(&file, faulty).unwrap();
    let bad = check(&file);
    let told = String::from_utf8_lossy(&bad.stderr).into_owned();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((bad.status.code(), lines.len()), (Some(1), 2), "{told}");
    assert!(lines[0].contains(":17:") && lines[0].contains("\"FTP\" is none of HTTP"), "{told}");
    assert!(lines[1].contains(":24:") && lines[1].contains("\"Drop\" is none of Strip, Keep"), "{told}");
}

/// Where systemd's own tool is there, it knows every directive of the unit.
#[test]
fn systemd_knows_every_directive_of_the_example() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("postern-sidecar.service");
    let text = std::fs::read_to_string(Path::new(EXAMPLE).join("postern-sidecar.service")).unwrap();
    assert!(text.contains("--check\n") && text.contains("kill -HUP $MAINPID"));
    std::fs::write(&unit, text.replace("/usr/bin/postern-sidecar", env!("CARGO_BIN_EXE_postern-sidecar")))
        .unwrap();
    let Ok(told) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output() else {
        return eprintln!("skipped: there is no systemd-analyze here");
    };
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let about: Vec<&str> = told.lines().filter(|line| line.contains("postern-sidecar.service")).collect();
    let faults: Vec<&&str> =
        about.iter().filter(|line| !line.contains("User") && !line.contains("Group")).collect();
    assert!(faults.is_empty(), "{told}");
}

#[tokio::test]
async fn secrets_lie_in_files_and_are_reloaded() {
    crate::support::install_provider();
    let (pki, application) = (Pki::new(), Application::http().await);
    let ways = [(8080, application.address)];
    let policy = "{authorities: [], ports: [{port: 8080, protocol: HTTP, access: {type: Locked, locks: {require: All, \
                  list: [{type: Basic, headerName: authorization, upstream: Strip}, {type: Header, name: x-key}]}}}], \
                  routes: [{name: r, port: 8080, callers: [{name: c}]}]}";
    // The first configuration has no files yet, so nobody is let in.
    let bare = policy.replace("{type: Basic, headerName: authorization, upstream: Strip}, ", "");
    let sidecar = Sidecar::start(&pki, &ways, &bare).await;
    let hash =
        |password: &str| format!("ada:{}\n", verifier::pbkdf2(password.as_bytes(), b"saltsaltsaltsalt"));
    std::fs::write(sidecar.path("htpasswd"), hash("first")).unwrap();
    std::fs::write(sidecar.path("key"), "0123456789abcdef0123456789abcdef\n").unwrap();
    sidecar.configure(&pki, &ways, policy);
    let file = sidecar.path("config.yaml");
    let mut document: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    document["files"] = serde_json::json!({
        "users": [{"port": 8080, "file": sidecar.path("htpasswd")}],
        "headerValues": [{"route": "r", "caller": "c", "file": sidecar.path("key")}],
    });
    std::fs::write(&file, document.to_string()).unwrap();

    let status = async |password: &str, key: &str| {
        let credentials = STANDARD.encode(format!("ada:{password}"));
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Basic {credentials}\r\nx-key: {key}\r\nconnection: close\r\n\r\n"
        );
        let client = crate::support::Client::new(sidecar.address(0), &pki.servers, None, &[b"http/1.1"]);
        match client.attempt(request.as_bytes()).await {
            crate::support::Attempt::Answered(status, _) => status,
            other => panic!("{other:?}"),
        }
    };
    let key = "0123456789abcdef0123456789abcdef";
    eventually("the password of the file", async || status("first", key).await == 200).await;
    assert_eq!(status("second", key).await, 401);
    assert_ne!(status("first", "x").await, 200);

    std::fs::write(sidecar.path("htpasswd"), hash("second")).unwrap();
    kill(Pid::from_raw(sidecar.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    sidecar
        .logged("SIGHUP", |line| line["message"].as_str().is_some_and(|it| it.starts_with("SIGHUP")))
        .await;
    eventually("the new password", async || status("second", key).await == 200).await;
    assert_eq!(status("first", key).await, 401, "the old one is forgotten");

    // A faulty file is not used.
    std::fs::write(sidecar.path("htpasswd"), "ada:hunter2\n").unwrap();
    let line = sidecar.logged("rejected", |line| line["message"] == "configuration rejected").await;
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("line 1: user \"ada\"") && !reason.contains("hunter2"), "{reason}");
    assert_eq!(status("second", key).await, 200);
}
