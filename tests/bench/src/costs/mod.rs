//! What doesn't wobble, bounded: allocations, system calls and instructions for each request, bytes for each idle
//! connection. `make costs` runs them, one after the other, in a network of their own.
//!
//! A bound is what is true today and a little more; what is aimed at stands beside it in `BENCHMARKS.md`. Where a
//! change lowers a figure, lower its bound too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking"
)]

mod allocations;
mod calls;
mod instructions;
mod memory;

use std::path::{Path, PathBuf};

use crate::backend;
use crate::load::{Asked, Caller, Way};
use crate::pki::{Group, Offer, Pki};
use crate::proxies::{BACKEND, Kind, Programs};

/// What a request of the tests comes with.
#[derive(Clone, Copy, Debug)]
struct Sent {
    door: u16,
    offer: Offer,
}

/// Keys, and an application; the test's own work comes between.
fn stage(work: impl AsyncFnOnce(&Pki)) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = std::env::temp_dir().join(format!("postern-costs-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let _removed = Removed(directory.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let pki = Pki::write(&directory).unwrap();
        backend::serve(BACKEND).unwrap();
        work(&pki).await;
    });
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The sidecar as it is released.
fn released() -> Programs {
    let sidecar =
        std::env::var_os("SIDECAR").expect("SIDECAR names the sidecar to measure: 'make costs' sets it");
    Programs { sidecar: sidecar.into(), peers: Path::new("/nonexistent").to_owned() }
}

fn way(pki: &Pki, sent: Sent) -> Way {
    Kind::Postern.way(pki, sent.door, false, Group::X25519, sent.offer).unwrap()
}

async fn caller(pki: &Pki, sent: Sent) -> Caller {
    callers(pki, sent, 1, 1).await.pop().unwrap()
}

/// On so many connections, with so many streams on each where it is HTTP/2.
async fn callers(pki: &Pki, sent: Sent, connections: usize, streams: usize) -> Vec<Caller> {
    let asked = crate::rows::shown(sent.door, Asked::get(1024));
    way(pki, sent).callers(sent.offer, connections, streams, &asked).await.unwrap()
}

async fn ask(caller: &mut Caller, times: u32) {
    for _ in 0..times {
        caller.once().await.unwrap();
    }
}

/// Says what was found, so that bounds can be lowered, and fails above the bound. Only what is bounded below one may
/// be nothing at all.
fn bounded(what: &str, found: f64, most: f64) {
    println!("{what}: {found:.2} (at most {most})");
    assert!(found <= most, "{what}: {found:.2} is more than {most}");
    assert!(found > 0.0 || most < 1.0, "{what}: the test counts nothing");
}
