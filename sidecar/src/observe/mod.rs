//! What people and the operator get to see of the traffic.
//!
//! * [`seen`] remembers when each credential and key was last used.

pub mod seen;
