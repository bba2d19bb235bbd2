//! The resources of Postern, group `postern.dev`, version `v1alpha1`: [`BackendTrust`] is the lock,
//! [`ApiRoute`] the key.
//!
//! These types are the truth: the CRDs, their copies in the chart and the reference page are generated from
//! them by the binary `crdgen`.

pub mod api_route;
pub mod authorities;
pub mod backend_trust;
pub mod callers;
pub mod condition;
pub mod duration;
pub mod limits;
pub mod locks;
pub mod manifest;
pub mod port;
pub mod reference;
pub mod rollout;
pub mod rotation;
mod schema;
pub mod selector;
pub mod sidecar;

pub use api_route::{ApiRoute, ApiRouteSpec, ApiRouteStatus};
pub use backend_trust::{BackendTrust, BackendTrustSpec, BackendTrustStatus};
pub use condition::{ConditionType, Reason};
pub use duration::Duration;
pub use port::PortRef;
pub use selector::{LabelRequirement, PodSelector, SelectorOperator};

/// The API group.
pub const GROUP: &str = "postern.dev";
/// The API version.
pub const VERSION: &str = "v1alpha1";

#[cfg(test)]
mod tests;
