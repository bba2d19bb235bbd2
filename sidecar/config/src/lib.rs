//! The schema that the operator writes and the sidecar reads, and nothing else.
//!
//! * [`layout`]: names, ports and paths inside a guarded pod.
//! * [`policy`]: what the sidecar enforces.
//! * [`bundle`]: the policy with its origin and sequence, as signed by the operator.
//! * [`record`]: what injection learnt about one pod (its probes and port names), signed likewise.
//! * [`settings`]: how it works apart from that (log, limits, traces).
//! * [`signed`]: the signature that both carry.
//! * [`loaded`]: the sidecar's answer to "which configuration have you loaded?".
//! * [`verifier`] and [`htpasswd`]: what passwords are checked by.
//! * [`dn`]: distinguished names as text.
//! * [`standalone`]: the file behind `postern-sidecar --config FILE`.

pub mod bundle;
pub mod dn;
pub mod htpasswd;
pub mod layout;
pub mod loaded;
pub mod policy;
pub mod record;
pub mod settings;
pub mod signed;
pub mod standalone;
pub mod verifier;
