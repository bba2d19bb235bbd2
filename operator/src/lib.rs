//! The operator: watch → gather → resolve → render → apply → status.
//!
//! `resolve` and `render` are pure; only `gather` reads from the cluster and only `apply` and `status` write.
