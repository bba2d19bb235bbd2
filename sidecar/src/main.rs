//! `postern-sidecar`: see the crate's documentation.

fn main() {}
