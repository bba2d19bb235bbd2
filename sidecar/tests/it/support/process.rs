//! The program itself, standalone, with its log.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::{Leaf, Pki, eventually};

/// A running `postern-sidecar --config`.
pub struct Sidecar {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    directory: TempDir,
}

impl Sidecar {
    /// With one listener for each `(port, upstream)`, and a policy in YAML in which `ROOTS` stands for the
    /// callers' authority.
    pub async fn start(pki: &Pki, ways: &[(u16, SocketAddr)], policy: &str) -> Self {
        Self::start_with(pki, ways, policy, &[]).await
    }

    pub async fn start_with(pki: &Pki, ways: &[(u16, SocketAddr)], policy: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_server(directory.path(), &pki.server);
        let config = directory.path().join("config.yaml");
        std::fs::write(&config, document(directory.path(), pki, ways, policy)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern-sidecar"))
            .arg("--config")
            .arg(&config)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, shared) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("the log is not JSON: {line}"));
                shared.lock().unwrap().push(value);
            }
        });
        let sidecar = Self { child, log, directory };
        sidecar.logged("configuration loaded", |line| line["message"] == "configuration loaded").await;
        sidecar
    }

    /// Where callers of the `index`th listener connect to.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.listening("callers").nth(index).unwrap()
    }

    pub fn endpoint(&self, name: &str) -> SocketAddr {
        self.listening(name).next().unwrap()
    }

    fn listening(&self, name: &str) -> impl Iterator<Item = SocketAddr> {
        let log = self.log.lock().unwrap();
        let lines = log.iter().filter(|line| line["message"] == "listening" && line["endpoint"] == name);
        lines.map(|line| line["address"].as_str().unwrap().parse().unwrap()).collect::<Vec<_>>().into_iter()
    }

    /// Waits for a line of the log.
    pub async fn logged(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(&format!("a line in the log: {what}"), async || {
            found = self.log.lock().unwrap().iter().find(|line| is_it(line)).cloned();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Waits for the newest refusal with a code.
    pub async fn refused(&self, code: &str) -> Value {
        self.logged(code, |line| line["code"] == code).await
    }

    pub fn lines(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the configuration's file.
    pub fn configure(&self, pki: &Pki, ways: &[(u16, SocketAddr)], policy: &str) {
        let text = document(self.directory.path(), pki, ways, policy);
        std::fs::write(self.path("config.yaml"), text).unwrap();
    }

    /// Replaces what the configuration's file says of how the sidecar works.
    pub fn set(&self, settings: &Value) {
        let path = self.path("config.yaml");
        let mut document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        document["settings"] = settings.clone();
        let new = self.path("config.new");
        std::fs::write(&new, document.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// Waits until so many configurations have been loaded.
    pub async fn loaded(&self, count: usize) {
        eventually(&format!("{count} configurations loaded"), async || {
            let lines = self.lines();
            lines.iter().filter(|line| line["message"] == "configuration loaded").count() == count
        })
        .await;
    }

    pub fn write_server(&self, leaf: &Leaf) {
        write_server(self.directory.path(), leaf);
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the process", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most memory that a process has ever had.
pub fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

fn write_server(directory: &Path, leaf: &Leaf) {
    std::fs::write(directory.join("tls.crt"), &leaf.pem).unwrap();
    std::fs::write(directory.join("tls.key"), leaf.key.serialize_pem()).unwrap();
}

fn document(directory: &Path, pki: &Pki, ways: &[(u16, SocketAddr)], policy: &str) -> String {
    let policy: serde_yaml::Value = serde_yaml::from_str(policy).unwrap();
    let mut policy = serde_json::to_value(policy).unwrap();
    for authority in policy["authorities"].as_array_mut().unwrap() {
        if authority["roots"] == "ROOTS" {
            authority["roots"] = pki.callers.pem.clone().into();
        }
    }
    let listeners: Vec<Value> = ways
        .iter()
        .map(|(port, upstream)| serde_json::json!({"address": "127.0.0.1:0", "port": port, "upstream": upstream}))
        .collect();
    serde_json::json!({
        "listeners": listeners,
        "server": {
            "certificateFile": directory.join("tls.crt"),
            "privateKeyFile": directory.join("tls.key"),
        },
        "policy": policy,
        "metricsAddress": "127.0.0.1:0",
        "probeAddress": "127.0.0.1:0",
    })
    .to_string()
}
