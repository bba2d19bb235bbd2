//! What the tests use on both ends of the lock.
//!
//! * [`serve`]: a server that says what it saw and counts its hits ([`hits`]).
//! * [`attempt`]: one try to get in, as data; [`call`] does it and tells how it ended, once
//!   or again and again over one connection.
//! * [`load`]: the same try at a steady rate, to show that no request is lost.

pub mod attempt;
pub mod call;
pub mod control;
pub mod grpc;
pub mod hits;
pub mod large;
pub mod load;
pub mod serve;
mod tls;
