//! The process doesn't outlive its parts.

use std::time::Duration;

use super::*;
use crate::generation::Generation;
use crate::reload::LoadError;

/// Comes to grief at once.
struct Broken(PathBuf);

impl Source for Broken {
    fn load(&mut self, _: &Arc<CryptoProvider>) -> Result<Option<Generation>, LoadError> {
        panic!("as the test wants it");
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }

    fn completes(&self, _: &Path) -> bool {
        false
    }
}

#[test]
fn a_part_that_ends_unasked_takes_the_process_along() {
    // Another test of this binary may have installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for workers in [1, 2] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        let config = "{listeners: [{address: '127.0.0.1:0', port: 1, upstream: '127.0.0.1:1'}], \
                      server: {certificateFile: none, privateKeyFile: none}, \
                      policy: {authorities: [], ports: [], routes: []}}";
        std::fs::write(&path, config).unwrap();
        let options = Options { workers, access_log: false, limits: Limits::default() };
        let mut app = App::standalone(&path, options, Metrics::new(workers)).unwrap();
        app.source = Box::new(Broken(path));
        let ready = app.ready.clone();
        let outcome = app.run_until(async { tokio::time::sleep(Duration::from_secs(10)).await });
        let Err(StartError::Ended(part)) = outcome else { panic!("{workers} workers: {outcome:?}") };
        assert_eq!(part, "the watch over the configuration");
        assert!(!ready.report().ready, "{:?}", ready.report());
    }
}
