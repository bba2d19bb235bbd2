//! When files are tried, and when they count as tried.

use std::sync::atomic::AtomicUsize;

use super::*;

/// Can't be loaded before the `passes`th time; its files never change.
struct Troubled {
    loads: Arc<AtomicUsize>,
    passes: usize,
    files: Vec<PathBuf>,
}

impl Source for Troubled {
    fn load(&mut self, _: &Arc<CryptoProvider>) -> Result<Option<Generation>, LoadError> {
        let load = self.loads.fetch_add(1, Relaxed) + 1;
        if load < self.passes { Err(LoadError::NoListeners(PathBuf::from("full"))) } else { Ok(None) }
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    fn completes(&self, _: &Path) -> bool {
        false
    }
}

#[tokio::test]
async fn what_failed_for_a_passing_reason_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle");
    std::fs::write(&file, "unchanged").unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    // The first look with its retries, and two more.
    let passes = RETRIES.len() + 1 + 2;
    let (status, metrics) = (Arc::new(Status::default()), Arc::new(ControlMetrics::default()));
    let (_draining, draining) = watch::channel(false);
    let reloader = Reloader {
        source: Box::new(Troubled { loads: Arc::clone(&loads), passes, files: vec![file] }),
        workers: Vec::new(),
        budget: Budget::new(Limits::default()),
        tracing: watch::channel(None).0,
        limits: Limits::default(),
        status: Arc::clone(&status),
        readiness: Readiness::new(),
        metrics: Arc::clone(&metrics),
        provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        draining,
    };
    let running = tokio::spawn(reloader.run());
    let mut was_rejected = false;
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while loads.load(Relaxed) < passes || status.loaded().rejected.is_some() {
        was_rejected |= status.loaded().rejected.is_some();
        assert!(std::time::Instant::now() < end, "{} attempts", loads.load(Relaxed));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(was_rejected);
    assert_eq!(metrics.rejected_now.load(Relaxed), 0);
    let [_, failed] = &metrics.reloads;
    assert_eq!(failed.load(Relaxed), 1, "one trouble counts once");
    running.abort();
}

#[test]
fn one_rename_completes_what_lies_in_one_place() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let write = |files: &str| {
        let text = format!(
            "{{listeners: [{{address: '127.0.0.1:0', port: 1, upstream: '127.0.0.1:1'}}], \
             server: {{certificateFile: elsewhere/tls.crt, privateKeyFile: elsewhere/tls.key}}, \
             policy: {{authorities: [], ports: [], routes: []}}, files: {files}}}"
        );
        std::fs::write(at("config.yaml"), text).unwrap();
    };
    write("{}");
    let file = standalone::File::open(&at("config.yaml")).unwrap();
    assert!(file.completes(&at("config.yaml")));
    assert!(file.completes(&at("..data")));
    for other in ["other.yaml", "..data_tmp", "tls.crt"] {
        assert!(!file.completes(&at(other)), "{other}");
    }
    // What the new file says counts, not what the old one said.
    write(&format!("{{users: [{{port: 1, file: {}}}]}}", at("htpasswd").display()));
    assert!(!file.completes(&at("config.yaml")));
    assert!(file.completes(&at("..data")));
    write("{users: [{port: 1, file: elsewhere/htpasswd}]}");
    assert!(!file.completes(&at("..data")));
    std::fs::write(at("config.yaml"), "{").unwrap();
    assert!(!file.completes(&at("config.yaml")) && !file.completes(&at("..data")));

    let expected = guard::Expectation {
        namespace: "shop".to_owned(),
        trust: "orders".to_owned(),
        verify_keys: Vec::new(),
        port_names: std::collections::BTreeMap::new(),
    };
    let secret = guard::Secret::new(expected, directory.path(), directory.path());
    assert!(secret.completes(&at("..data")));
    for other in ["bundle.json", "bundle.sig", "..data_tmp", "tls.key"] {
        assert!(!secret.completes(&at(other)), "{other}");
    }
}
