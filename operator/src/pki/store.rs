//! The Secrets of the operator's own namespace: both authorities, the signing key, the webhook's certificate.
//!
//! Two replicas start at once, so that each Secret is created, never applied: who comes second reads what the
//! first has made. What lacks Postern's mark, or can't be read, is left as it is. The one exception is the
//! webhook's certificate: an authority can always make it anew.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use postern_config::signed::Signer;
use zeroize::Zeroizing;

use super::{Authority, AuthorityKind, Leaf, LeafInfo, LeafSpec, PkiError, RenewalReason, renewal_due};
use crate::apply::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL};

/// Secret of the authority that signs backends' certificates.
pub const BACKENDS_SECRET: &str = "postern-backend-ca";
/// Secret of the authority that signs callers' certificates.
pub const CALLERS_SECRET: &str = "postern-client-ca";
/// Secret of the key that signs bundles and pod records.
pub const SIGNING_SECRET: &str = "postern-signing-key";
/// Secret of the webhook's serving certificate.
pub const WEBHOOK_SECRET: &str = "postern-webhook-tls";

const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
/// PKCS#8 (DER) of the Ed25519 key.
const SIGNING_KEY: &str = "signing-key.p8";

/// Why a Secret of the operator's own can't be had. Names the Secret and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The API server refused or was not reached.
    #[error("Secret {name} cannot be {verb}: {source}")]
    Api {
        /// `namespace/name`.
        name: String,
        /// `read`, `created` or `renewed`.
        verb: &'static str,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Somebody else's Secret has the name.
    #[error(
        "Secret {0} is not Postern's (no label app.kubernetes.io/managed-by: postern), so it is left alone; \
         delete or rename it and Postern will make its own"
    )]
    Foreign(String),
    /// Postern's, and damaged.
    #[error(
        "Secret {name} cannot be used ({cause}), and making a new one would lock out every pod and gateway that \
         trusts it; restore it from a backup, or delete it to start anew"
    )]
    Unreadable {
        /// `namespace/name`.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Nothing can be generated or issued.
    #[error("Secret {name} cannot be made: {source}")]
    Pki {
        /// `namespace/name`.
        name: String,
        /// Why.
        source: PkiError,
    },
    /// Other replicas changed it each time it was read.
    #[error("Secret {0} changes all the time; is something else writing it?")]
    Contended(String),
}

/// The webhook's certificate with its key, as it lies in the Secret.
pub struct ServingCertificate {
    /// Certificate chain, PEM.
    pub cert_pem: String,
    /// Private key, PKCS#8 PEM.
    pub key_pem: Zeroizing<String>,
    /// What the certificate says.
    pub info: LeafInfo,
    /// Why it was issued just now, if it was.
    pub issued: Option<RenewalReason>,
}

/// The Secrets of one namespace.
#[derive(Clone)]
pub struct Store {
    secrets: Api<Secret>,
    namespace: String,
}

impl Store {
    /// The store in the operator's namespace.
    pub fn new(client: kube::Client, namespace: &str) -> Self {
        Self { secrets: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// One of the authorities; made if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn authority(&self, kind: AuthorityKind, now: Timestamp) -> Result<Authority, StoreError> {
        let name = match kind {
            AuthorityKind::Backends => BACKENDS_SECRET,
            AuthorityKind::Callers => CALLERS_SECRET,
        };
        let secret = if let Some(secret) = self.read(name).await? {
            secret
        } else {
            let new = Authority::generate(kind, now).map_err(|source| self.pki(name, source))?;
            self.create(tls_secret(name, new.cert_pem(), &new.key_pem()), name).await?
        };
        let secret = Owned(secret);
        Authority::from_pem(&secret.text(CERTIFICATE), &secret.text(PRIVATE_KEY))
            .map_err(|error| self.unreadable(name, &error))
    }

    /// The key that signs bundles and pod records; made if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn signing_key(&self) -> Result<Signer, StoreError> {
        let name = SIGNING_SECRET;
        let secret = if let Some(secret) = self.read(name).await? {
            secret
        } else {
            let new = Signer::generate().map_err(|_| self.pki(name, PkiError::Randomness))?;
            self.create(secret(name, "Opaque", [(SIGNING_KEY, new.to_vec())]), name).await?
        };
        let secret = Owned(secret);
        Signer::from_pkcs8(secret.bytes(SIGNING_KEY)).map_err(|error| self.unreadable(name, &error))
    }

    /// The webhook's certificate as every replica is to present it; made if there is none, and renewed where
    /// [`renewal_due`] says so. Of two replicas that renew at once one wins, and both have its certificate.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn webhook_certificate(
        &self,
        backends: &Authority,
        spec: &LeafSpec,
        now: Timestamp,
    ) -> Result<ServingCertificate, StoreError> {
        const TRIES: usize = 5;
        let name = WEBHOOK_SECRET;
        for _ in 0..TRIES {
            let existing = self.read(name).await?.map(Owned);
            let present = existing.as_ref().and_then(Owned::serving);
            let due = match &present {
                Some(present) if backends.signed(&present.info) => {
                    renewal_due(Some(&present.info), spec, backends.id(), now, None)
                }
                Some(_) => Some(RenewalReason::OtherAuthority),
                None => Some(RenewalReason::Unreadable),
            };
            let reason = match (present, due) {
                (Some(present), None) => return Ok(present),
                (_, due) => due,
            };
            let leaf = backends.issue(spec, now).map_err(|source| self.pki(name, source))?;
            let mut new = tls_secret(name, &leaf.cert_pem, &leaf.key_pem);
            let written = if let Some(existing) = existing {
                new.metadata.resource_version.clone_from(&existing.0.metadata.resource_version);
                self.secrets.replace(name, &post(), &new).await
            } else {
                self.secrets.create(&post(), &new).await
            };
            drop(Owned(new));
            match written {
                Ok(stored) => {
                    drop(Owned(stored));
                    let info = LeafInfo::inspect(&leaf.cert_pem).map_err(|source| self.pki(name, source))?;
                    let Leaf { cert_pem, key_pem, .. } = leaf;
                    return Ok(ServingCertificate { cert_pem, key_pem, info, issued: reason });
                }
                // Another replica was faster, or the Secret was deleted meanwhile: look again.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(source) => return Err(self.api(name, "renewed", source)),
            }
        }
        Err(StoreError::Contended(self.full(name)))
    }

    /// The Secret, if it is there and ours.
    async fn read(&self, name: &str) -> Result<Option<Secret>, StoreError> {
        let found = self.secrets.get_opt(name).await.map_err(|source| self.api(name, "read", source))?;
        let marked = |secret: &Secret| {
            let labels = secret.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(MANAGED_BY_LABEL)).is_some_and(|value| value == MANAGED_BY)
        };
        match found {
            Some(secret) if !marked(&secret) => Err(StoreError::Foreign(self.full(name))),
            found => Ok(found),
        }
    }

    /// Creates `secret`, or yields what another replica has created first.
    async fn create(&self, secret: Secret, name: &str) -> Result<Secret, StoreError> {
        let created = self.secrets.create(&post(), &secret).await;
        drop(Owned(secret));
        match created {
            Ok(created) => Ok(created),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.read(name).await?.ok_or_else(|| StoreError::Contended(self.full(name)))
            }
            Err(source) => Err(self.api(name, "created", source)),
        }
    }

    fn full(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    fn api(&self, name: &str, verb: &'static str, source: kube::Error) -> StoreError {
        StoreError::Api { name: self.full(name), verb, source: Box::new(source) }
    }

    fn pki(&self, name: &str, source: PkiError) -> StoreError {
        StoreError::Pki { name: self.full(name), source }
    }

    fn unreadable(&self, name: &str, cause: &dyn std::fmt::Display) -> StoreError {
        StoreError::Unreadable { name: self.full(name), cause: cause.to_string() }
    }
}

/// A Secret whose values are wiped when it is dropped.
struct Owned(Secret);

impl Drop for Owned {
    fn drop(&mut self) {
        for value in self.0.data.iter_mut().flat_map(|data| data.values_mut()) {
            zeroize::Zeroize::zeroize(&mut value.0);
        }
    }
}

impl Owned {
    fn bytes(&self, key: &str) -> &[u8] {
        self.0
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .map(|value| value.0.as_slice())
            .unwrap_or_default()
    }

    fn text(&self, key: &str) -> Zeroizing<String> {
        Zeroizing::new(std::str::from_utf8(self.bytes(key)).unwrap_or_default().to_owned())
    }

    fn serving(&self) -> Option<ServingCertificate> {
        let (cert_pem, key_pem) = (self.text(CERTIFICATE), self.text(PRIVATE_KEY));
        let info = LeafInfo::inspect_pair(&cert_pem, &key_pem).ok()?;
        Some(ServingCertificate { cert_pem: cert_pem.to_string(), key_pem, info, issued: None })
    }
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn tls_secret(name: &str, cert_pem: &str, key_pem: &str) -> Secret {
    let data = [(CERTIFICATE, cert_pem.as_bytes().to_vec()), (PRIVATE_KEY, key_pem.as_bytes().to_vec())];
    secret(name, "kubernetes.io/tls", data)
}

fn secret<const N: usize>(name: &str, kind: &str, data: [(&str, Vec<u8>); N]) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some(kind.to_owned()),
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect()),
        ..Secret::default()
    }
}

#[cfg(test)]
pub(crate) mod tests;
