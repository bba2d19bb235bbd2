//! What people and the operator get to see of the traffic.
//!
//! * [`trace`] says which trace a request belongs to; [`export`] sends spans to a collector ([`span`], [`otlp`]).
//! * [`seen`] remembers when each credential and key was last used.
//! * [`request`] measures one request and tells of it at its end.
//! * [`audit`] counts what an audited port lets through although a lock says no.

pub mod audit;
pub mod export;
mod otlp;
pub(crate) mod request;
pub mod seen;
mod span;
pub(crate) mod trace;
