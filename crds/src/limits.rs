//! Bounds of the schema that whoever fills a status must keep, or the API server refuses the status.

/// Entries in `status.conditions`, and in the conditions of one gateway.
pub const CONDITIONS: usize = 8;
/// Characters of a condition's message.
pub const MESSAGE: usize = 32_768;
/// Entries in `BackendTrust.status.pods.unguarded`; the counts beside it tell of the others.
pub const UNGUARDED: usize = 64;
/// Entries in `BackendTrust.status.ports`.
pub const STATUS_PORTS: usize = 128;
/// Entries in `BackendTrust.status.ports[].services`.
pub const SERVICES: usize = 32;
/// Entries in `BackendTrust.status.certificates`.
pub const CERTIFICATES: usize = 8;
/// Characters of each text in `status.summary`.
pub const SUMMARY: usize = 1024;
/// Characters of each other text in a status: names, hashes, `<service>:<port>`.
pub const TEXT: usize = 320;
/// Gateways of one `ApiRoute`, in its spec and its status.
pub const GATEWAYS: usize = 16;
/// Callers with a name of one `BackendTrust`, in its spec and its status, and of one `ApiRoute`.
pub const CALLERS: usize = 64;
/// Certificates of one caller with a name, in its spec and its status, and of the tenant.
pub const CALLER_CERTIFICATES: usize = 8;
/// Characters of the name of a `BackendTrust`, an `ApiRoute` or a gateway: outputs join three of them.
pub const NAME: usize = 63;
