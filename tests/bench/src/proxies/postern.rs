//! Postern's sidecar, standalone, with one door for each lock.

use anyhow::{Context as _, Result};
use postern_config::layout::INBOUND_PORT;
use serde_json::{Value, json};

use super::{BACKEND, HTTP, Kind, Programs, TCP, write};
use crate::pki::{GATEWAY, Pki, VISITOR};

/// Behind a certificate and HTTP Basic credentials.
pub(crate) const BASIC: u16 = 2;
/// Behind a certificate and a secret header.
pub(crate) const HEADER: u16 = 3;
/// Behind a certificate, with rules for paths.
pub(crate) const RULES: u16 = 4;

/// The user's password, of 128 random bits as the operator makes them; no secret, since nobody else has this lock.
pub(crate) const PASSWORD: &str = "hFqk2Yv0dLr7Xn4sT9bQ1w";

pub(super) fn command(programs: &Programs, pki: &Pki) -> Result<(String, Vec<String>)> {
    Ok((programs.sidecar.display().to_string(), vec!["--config".to_owned(), configuration(pki)?]))
}

/// Writes the file that lets both callers in.
pub(crate) fn configuration(pki: &Pki) -> Result<String> {
    write(pki, "postern.json", &document(pki, &[GATEWAY, VISITOR]).to_string())
}

/// Writes the file of a sidecar in a pod, which listens where the redirect leads, with one door.
pub(super) fn redirected_configuration(pki: &Pki) -> Result<String> {
    let mut document = document(pki, &[GATEWAY]);
    let listener = json!({"address": format!("0.0.0.0:{INBOUND_PORT}"), "port": policy_port(HTTP), "upstream": BACKEND.to_string()});
    if let Some(document) = document.as_object_mut() {
        document.insert("listeners".to_owned(), json!([listener]));
    }
    write(pki, "postern-redirected.json", &document.to_string())
}

/// Takes one of the two callers' keys away.
pub(crate) fn without_visitor(pki: &Pki) -> Result<()> {
    let new = write(pki, "postern.new", &document(pki, &[GATEWAY]).to_string())?;
    std::fs::rename(new, pki.path("postern.json")).context("replacing the sidecar's configuration")
}

fn document(pki: &Pki, callers: &[&str]) -> Value {
    let mutual = json!({"type": "MutualTLS"});
    let basic = json!({"type": "Basic", "headerName": "authorization", "upstream": "Strip"});
    let header = json!({"type": "Header", "name": "x-api-key"});
    let doors = [
        (HTTP, "HTTP", json!([mutual])),
        (TCP, "TCP", json!([mutual])),
        (BASIC, "HTTP", json!([mutual, basic])),
        (HEADER, "HTTP", json!([mutual, header])),
        (RULES, "HTTP", json!([mutual])),
    ];
    let ports = doors.iter().map(|(door, protocol, locks)| {
        json!({"port": policy_port(*door), "protocol": protocol,
            "access": {"type": "Locked", "locks": {"require": "All", "list": locks}}})
    });
    let routes = doors.iter().map(|(door, ..)| {
        let callers = callers.iter().map(|identity| caller(*door, identity));
        let mut route = json!({"name": format!("bench/{door}"), "port": policy_port(*door), "callers": callers.collect::<Value>()});
        if let (RULES, Some(route)) = (*door, route.as_object_mut()) {
            let path = |value: &str| json!({"method": "GET", "path": {"type": "PathPrefix", "value": value}});
            route.insert("rules".to_owned(), json!([{"matches": [path("/orders"), path("/customers")]}, {"matches": [path("/1024")]}]));
        }
        route
    });
    let listeners = doors.iter().map(|(door, ..)| {
        let address = format!("127.0.0.1:{}", Kind::Postern.first_port() + door);
        json!({"address": address, "port": policy_port(*door), "upstream": BACKEND.to_string()})
    });
    json!({
        "listeners": listeners.collect::<Value>(),
        "server": {"certificateFile": pki.path("server.crt"), "privateKeyFile": pki.path("server.key")},
        "policy": {
            "authorities": [{"name": "callers", "type": "Postern", "roots": pki.callers}],
            "ports": ports.collect::<Value>(),
            "routes": routes.collect::<Value>(),
        },
        "settings": {"limits": {"connections": 19000}},
        "metricsAddress": "127.0.0.1:10090",
        "probeAddress": "127.0.0.1:10091",
    })
}

/// The application's port, as the policy names it.
fn policy_port(door: u16) -> u16 {
    8000 + door
}

fn caller(door: u16, identity: &str) -> Value {
    let name = identity.rsplit('/').next().unwrap_or(identity);
    let mut caller = json!({"name": name,
        "certificates": [{"type": "Identity", "authority": "callers", "identity": identity}]});
    let secret = format!("sha256:{}", sha256(PASSWORD.as_bytes()));
    if let Some(caller) = caller.as_object_mut() {
        match door {
            BASIC => {
                let credential = json!({"id": name, "username": name, "verifier": secret});
                caller.insert("credentials".to_owned(), json!([credential]));
            }
            HEADER => {
                caller.insert("headerValues".to_owned(), json!([{"id": name, "verifier": secret}]));
            }
            _ => {}
        }
    }
    caller
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
