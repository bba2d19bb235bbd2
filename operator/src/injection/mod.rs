//! What an injected pod looks like: the one truth that the webhook writes ([`InjectionSpec`]), the admission
//! policy demands (`render::admission`) and the operator judges running pods by ([`structure`]).
//!
//! Every field is explicit, those included that the API server would default, so that what is stored equals
//! what is written here and can be compared as a literal.

pub mod containers;
pub mod forbidden;
pub mod ports;
pub mod resources;
pub mod shape;
pub mod structure;
pub mod volumes;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements, Volume};
use postern_config::layout;

use shape::Shape;

/// What is injected into the pods behind one lock.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectionSpec {
    /// The lock's namespace.
    pub namespace: String,
    /// The lock's name.
    pub trust: String,
    /// Keys that check the operator's signatures, as [`postern_config::signed::VerifyKey`] writes them; the
    /// current one first.
    pub verify_keys: Vec<String>,
    /// Image of both containers.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; absent: Kubernetes' own choice by the image's tag.
    pub pull_policy: Option<String>,
    /// Requests and limits of each of the two containers.
    pub resources: ResourceRequirements,
    /// What the lock says about it.
    pub shape: Shape,
}

impl InjectionSpec {
    /// The init containers, in their order: the redirect is the first of the pod, if there is one, and the sidecar the
    /// next, before anything that could listen.
    pub fn containers(&self) -> Vec<Container> {
        let redirect = (!self.shape.listens()).then(|| containers::redirect(self));
        redirect.into_iter().chain([containers::sidecar(self)]).collect()
    }

    /// The volumes of the two containers.
    pub fn volumes(&self) -> [Volume; 4] {
        volumes::all(&self.trust)
    }
}

/// Whether a container's or volume's name is kept for Postern.
pub fn reserved(name: &str) -> bool {
    name.starts_with(layout::RESERVED_PREFIX)
}

/// Whether it is the name of one of the two containers that are injected.
pub fn injected_container(name: &str) -> bool {
    [layout::REDIRECT_CONTAINER, layout::SIDECAR_CONTAINER].contains(&name)
}

/// Whether it is the name of one of the volumes that are injected.
pub fn injected_volume(name: &str) -> bool {
    [layout::CONFIG_VOLUME, layout::RECORD_VOLUME, layout::STATE_VOLUME, layout::NO_TOKEN_VOLUME]
        .contains(&name)
}

#[cfg(test)]
pub(crate) mod tests;
