//! The sidecar: accept → tls → identify → authorize → forward.
//!
//! A connection passes the stages in this order and no stage knows a later one. [`authorize`] is a pure
//! function; [`forward`] takes the permit that it gives, so that nothing can be forwarded unauthorised.

pub mod admin;
pub mod app;
pub mod authorize;
pub mod budget;
pub mod check;
pub mod cli;
pub mod connection;
pub mod credentials;
pub mod describe;
pub mod destination;
pub mod drain;
mod endpoint;
pub mod explain;
pub mod fields;
mod first_bytes;
pub mod forward;
pub mod generation;
pub mod identify;
pub mod limits;
pub mod listener;
pub mod log;
mod memory;
pub mod metrics;
pub mod observe;
pub mod original_destination;
pub mod own_addresses;
mod present;
pub mod probes;
pub mod readiness;
pub mod redirect;
pub mod reload;
mod rewound;
pub mod settings;
pub mod signal;
pub mod status;
mod text;
pub mod tls;
mod unverified;
mod vital;
pub mod worker;
