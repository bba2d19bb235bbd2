//! What the tests of the whole sidecar share.

pub mod application;
pub mod client;
pub mod faults;
pub mod guard;
pub mod h2;
pub mod house;
pub mod pki;
pub mod prelude;
pub mod process;
pub mod raw;
pub mod recorder;

use std::time::{Duration, Instant};

pub use application::Application;
pub use client::{Attempt, Client};
pub use guard::GuardedPod;
pub use pki::{Authority, Leaf, Pki, Shape};
pub use process::Sidecar;
pub use raw::Raw;
pub use recorder::Recorder;

/// The identity that the tests' routes name.
pub const ORDERS: &str = "spiffe://test/ns/shop/gateway/edge/route/orders";

/// Longer than anything takes that works.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Installs the provider, as `main` does.
pub fn install_provider() {
    // A second test of the same binary finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
