//! Every protocol that an application speaks, through the real program, with real clients and servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and has no callers"
)]

#[path = "../support/mod.rs"]
mod support;

mod applications;
mod bodies;
mod grpc;
mod server;
mod stage;
mod tcp;
mod websocket;
