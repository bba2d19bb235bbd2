//! The sidecar whole: real processes and apps, real sockets, real certificates. One binary, since each links all that the
//! sidecar is made of.
//!
//! A test here has its own sidecar, its own application and its own ports, so that any number may run at a time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and has no callers"
)]

mod admission;
mod audit;
mod bad_clients;
mod limits;
mod listener_mode;
mod locks;
mod locks_change;
mod observe;
mod observe_tracing;
mod protocols;
mod reload;
mod standalone;
mod support;
mod traffic;
mod wire;
