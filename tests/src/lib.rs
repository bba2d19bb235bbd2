//! What the tests on real pods stand on. They reach a cluster through `KUBECONFIG` and drive it as its users do.
//!
//! * [`run`]: one test with its own namespaces, beside others or alone.
//! * [`cluster`]: the API server: apply, read, wait, exec, logs.
//! * [`install`]: Postern itself, by Helm, once for all tests.
//! * [`workload`], [`gateway`], [`attacker`]: the pods on each side of the lock.
//! * [`attack`]: tries that get in without the lock and must not with it.
//! * [`scene`]: workload, lock and key together.
//! * [`keyring`]: what a gateway holds beside its certificate.
//! * [`forge`]: certificates that an attacker could think of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "panicking is how a test fails"
)]

pub mod attack;
pub mod attacker;
pub mod cluster;
pub mod exec;
pub mod forge;
pub mod gateway;
pub mod install;
pub mod keyring;
pub mod load;
pub mod lock;
pub mod logs;
pub mod node;
pub mod run;
pub mod scene;
pub mod wait;
pub mod workload;

pub use run::{Sharing, Test, run};
