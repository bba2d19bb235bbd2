//! The operator: watch → gather → resolve → render → apply → status.
//!
//! `resolve` and `render` are pure; only `gather` reads from the cluster and only `apply` and `status` write.

pub mod acknowledge;
pub mod announce;
pub mod app;
pub mod apply;
pub mod armed;
pub mod bootstrap;
pub mod check;
pub mod config;
pub mod gather;
pub mod health;
pub mod images;
pub mod injection;
pub mod inputs;
pub mod issue;
pub mod leader;
pub mod leftovers;
pub mod metrics;
pub mod pki;
pub mod plan;
pub mod reconcile;
pub mod registration;
pub mod render;
pub mod resolve;
pub mod rollout;
pub mod settings;
pub mod status;
pub mod watch;
pub mod webhook;
