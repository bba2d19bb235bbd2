//! What must hold for any bytes that come from outside: one function per target, which panics where it doesn't.
//!
//! `cargo fuzz` feeds them for as long as one likes (`make fuzz`), `cargo test` with a fixed number of cases that
//! [`cases`] makes of the same seeds: `corpus/<target>/*`, and the words of `dictionary/<target>`.

pub mod answer;
pub mod basic;
pub mod cases;
pub mod certificates;
pub mod configuration;
pub mod headers;
pub mod host;
pub mod htpasswd;
pub mod names;
pub mod path;
pub mod reply;
pub mod request;
pub mod wire;

/// What must hold for these bytes.
pub type Check = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Check)] = &[
    ("path", path::check),
    ("host", host::check),
    ("headers", headers::check),
    ("configuration", configuration::check),
    ("htpasswd", htpasswd::check),
    ("certificates", certificates::check),
    ("names", names::check),
    ("basic", basic::check),
    ("wire", wire::check),
    ("answer", answer::check),
    ("request", request::check),
    ("reply", reply::check),
];
