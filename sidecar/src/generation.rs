//! One configuration, whole and valid: what a reload makes and the workers enforce.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use http::HeaderName;
use postern_config::policy as config;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DistinguishedName, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

use crate::authorize::Code;
use crate::authorize::compile::PolicyError;
use crate::authorize::door::ClientCertificate;
use crate::authorize::policy::Policy;
use crate::identify::verified::{Key, Verified};
use crate::identify::{Authorities, AuthorityError, Caller, Refusal, sha256};
use crate::observe::seen::Seen;
use crate::settings::{Settings, SettingsError};
use crate::tls::{self, Admission};

/// What a generation is made of.
pub struct Parts<'a> {
    /// The policy as written.
    pub policy: &'a config::Policy,
    /// The pod's port names.
    pub port_names: &'a BTreeMap<String, u16>,
    /// Identities that may use the admin endpoint.
    pub admins: &'a [String],
    /// The server's certificate chain, PEM.
    pub certificate: Vec<u8>,
    /// Its private key, PEM.
    pub private_key: Zeroizing<Vec<u8>>,
    /// How the sidecar works, as written.
    pub settings: &'a postern_config::settings::Settings,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `sha256:<hex>`.
    pub hash: String,
    /// The bundle's sequence; none without an operator.
    pub sequence: Option<u64>,
}

/// Everything that one configuration decides.
#[derive(Debug)]
pub struct Generation {
    /// Who is let in by TLS, and to what.
    pub gate: Arc<Gate>,
    /// Of each port that speaks TLS.
    tls: BTreeMap<u16, Arc<ServerConfig>>,
    /// For the admin endpoint.
    pub admin: Arc<ServerConfig>,
    /// Where it comes from.
    pub origin: Origin,
    /// The server's certificate.
    pub server: ServerCertificate,
    /// Names of ports that the pod doesn't have.
    pub unresolved: BTreeSet<String>,
    /// Ports that are listed twice, with doors that differ.
    pub ambiguous: BTreeSet<u16>,
    /// How the sidecar works.
    pub settings: Settings,
    /// When each credential and key of the policy was last used.
    pub seen: Arc<Seen>,
    /// Headers that hold secrets on some port; no application sees them.
    pub secret_headers: HashSet<HeaderName>,
}

/// The certificate that callers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// SHA-256 of the leaf, lower-case hex.
    pub sha256: String,
    /// Its one URI, if it has one: `By` of the forwarded identity.
    pub uri: Option<String>,
    /// From when on it is valid, in seconds since the epoch.
    pub not_before: i64,
    /// When it expires, in seconds since the epoch.
    pub not_after: i64,
}

/// The policy with the authorities that it trusts.
#[derive(Debug)]
pub struct Gate {
    /// Who may do what.
    pub policy: Policy,
    /// Who vouches for callers.
    pub authorities: Authorities,
    /// Whom it has let in.
    pub verified: Verified,
}

/// A configuration that is not used.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The policy.
    #[error("the policy: {0}")]
    Policy(#[from] PolicyError),
    /// Its authorities.
    #[error("the policy: {0}")]
    Authority(#[from] AuthorityError),
    /// The server's certificate.
    #[error("the server's certificate chain cannot be read ({0}); give PEM, leaf first")]
    Certificate(String),
    /// The server's key.
    #[error("the server's private key cannot be read; give one PKCS#8 key in PEM")]
    PrivateKey,
    /// They don't belong together, or are of a kind that TLS 1.3 doesn't know.
    #[error("the server's certificate and private key are not usable together: {0}")]
    Pair(rustls::Error),
    /// How the sidecar should work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The TLS library.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

impl Generation {
    /// Parses everything; what it returns is valid.
    ///
    /// # Errors
    /// [`GenerationError`], from the first part that is wrong.
    pub fn build(provider: &Arc<CryptoProvider>, mut parts: Parts<'_>) -> Result<Self, GenerationError> {
        let chain = CertificateDer::pem_slice_iter(&parts.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| GenerationError::Certificate(error.to_string()))?;
        let leaf =
            chain.first().ok_or_else(|| GenerationError::Certificate("no certificate in it".to_owned()))?;
        let (server, issuer) = describe(leaf)?;
        let key =
            PrivateKeyDer::from_pem_slice(&parts.private_key).map_err(|_| GenerationError::PrivateKey)?;
        parts.private_key.zeroize();
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(GenerationError::Pair)?;
        let certificate = Arc::new(SingleCertAndKey::from(certified));

        let compiled = Policy::compile(parts.policy, parts.port_names)?;
        let authorities = Authorities::parse(&parts.policy.authorities, issuer.clone())?;
        let gate = Arc::new(Gate { policy: compiled.policy, authorities, verified: Verified::default() });
        let admins = Admins {
            authorities: Authorities::own_only(&parts.policy.authorities, issuer)?,
            identities: parts.admins.iter().cloned().collect(),
        };
        let config = |admission: Arc<dyn Admission>, wanted, alpn: &[&[u8]]| {
            tls::server_config(provider, Arc::clone(&certificate) as _, admission, wanted, alpn)
                .map_err(GenerationError::Tls)
        };
        // Most ports are alike, and a configuration for TLS is not small.
        let mut made: HashMap<(ClientCertificate, bool), Arc<ServerConfig>> = HashMap::new();
        let mut tls = BTreeMap::new();
        for (port, locked) in gate.policy.locked_ports().filter(|(_, locked)| locked.takes_tls()) {
            let (wanted, is_http) = (locked.client_certificate(), locked.protocol.is_http());
            let of_port = match made.entry((wanted, is_http)) {
                Entry::Occupied(entry) => Arc::clone(entry.get()),
                Entry::Vacant(entry) => {
                    let alpn: &[&[u8]] = if is_http { &[b"h2", b"http/1.1"] } else { &[] };
                    Arc::clone(entry.insert(config(Arc::clone(&gate) as _, wanted, alpn)?))
                }
            };
            tls.insert(port, of_port);
        }
        Ok(Self {
            tls,
            admin: config(Arc::new(admins), ClientCertificate::Demanded, &[b"http/1.1"])?,
            seen: Arc::new(Seen::new(gate.policy.ids().iter().cloned())),
            secret_headers: gate.policy.secret_headers(),
            gate,
            origin: parts.origin,
            server,
            unresolved: compiled.unresolved,
            ambiguous: compiled.ambiguous,
            settings: Settings::check(parts.settings)?,
        })
    }

    /// TLS of a port; none where it isn't spoken.
    pub fn tls(&self, port: u16) -> Option<Arc<ServerConfig>> {
        self.tls.get(&port).cloned()
    }
}

/// What is shown of the leaf, and its issuer (DER).
fn describe(leaf: &CertificateDer<'_>) -> Result<(ServerCertificate, Vec<u8>), GenerationError> {
    let (_, parsed) =
        X509Certificate::from_der(leaf).map_err(|error| GenerationError::Certificate(error.to_string()))?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let uri = names.and_then(|extension| {
        extension.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
    });
    let server = ServerCertificate {
        sha256: hex::encode(sha256(leaf)),
        uri,
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    };
    Ok((server, parsed.issuer().as_raw().to_vec()))
}

impl Gate {
    /// Whether a caller that an authority vouches for may be one at all.
    ///
    /// # Errors
    /// [`Code::Revoked`] or [`Code::KeyNotPinned`].
    pub fn check(&self, caller: &Caller) -> Result<(), Box<Refusal>> {
        // Hashing is what costs here, and the leaf's hash is known.
        let is_any_revoked = self.policy.has_revoked_any();
        let issuers = caller.chain.iter().skip(1).filter(|_| is_any_revoked).map(|it| sha256(it));
        for fingerprint in std::iter::once(caller.fingerprint).chain(issuers) {
            if self.policy.has_revoked(&fingerprint) {
                let reason = format!("the certificate (SHA-256 {}) is revoked", hex::encode(fingerprint));
                return Err(Refusal::by_policy(Code::Revoked, reason, &caller.chain));
            }
        }
        if self.policy.allows_key(caller) {
            return Ok(());
        }
        let reason = format!(
            "the key (SHA-256 {}) is not one that {} may use now",
            hex::encode(caller.key),
            caller.identity
        );
        Err(Refusal::by_policy(Code::KeyNotPinned, reason, &caller.chain))
    }
}

impl Admission for Gate {
    fn admit(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Arc<Caller>, Box<Refusal>> {
        let key = Key::of(chain);
        if let Some(caller) = self.verified.find(key, now) {
            return Ok(caller);
        }
        let caller = Arc::new(self.authorities.identify(chain, now)?);
        self.check(&caller)?;
        self.verified.keep(key, &caller, now);
        Ok(caller)
    }

    fn hints(&self) -> Vec<DistinguishedName> {
        self.authorities.hints()
    }
}

#[derive(Debug)]
struct Admins {
    authorities: Authorities,
    identities: BTreeSet<String>,
}

impl Admission for Admins {
    fn admit(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Arc<Caller>, Box<Refusal>> {
        let caller = self.authorities.identify(chain, now)?;
        if self.identities.contains(&*caller.identity) {
            return Ok(Arc::new(caller));
        }
        let reason = format!("{} is not among the admins", caller.identity);
        Err(Refusal::by_policy(Code::NotAdmin, reason, chain))
    }

    fn hints(&self) -> Vec<DistinguishedName> {
        self.authorities.hints()
    }
}
