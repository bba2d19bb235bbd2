//! Entry point of `postern-operator`.
fn main() {}
