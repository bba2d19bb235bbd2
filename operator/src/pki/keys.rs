//! Leaves as rustls presents them; a new one takes the place of the old between two handshakes.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::PkiError;

/// The certificate that is presented at the moment, as server or client. Empty until the first
/// [`Self::set`]: handshakes fail until then.
#[derive(Debug, Default)]
pub struct CurrentKey {
    current: ArcSwapOption<CertifiedKey>,
}

impl CurrentKey {
    /// Presents this chain from the next handshake on.
    ///
    /// # Errors
    /// If chain or key can't be read, don't belong together, or no crypto provider is installed; what was
    /// presented before stays.
    pub fn set(&self, cert_pem: &str, key_pem: &str) -> Result<(), PkiError> {
        let chain = CertificateDer::pem_slice_iter(cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| PkiError::Certificate(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| PkiError::Key)?;
        let provider = CryptoProvider::get_default().ok_or(PkiError::NoProvider)?;
        let signing_key = provider.key_provider.load_private_key(key).map_err(|_| PkiError::Key)?;
        let certified = CertifiedKey::new(chain, signing_key);
        certified.keys_match().map_err(|_| PkiError::KeyMismatch)?;
        self.current.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// Whether there is something to present.
    pub fn is_set(&self) -> bool {
        self.current.load().is_some()
    }
}

impl ResolvesServerCert for CurrentKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

impl ResolvesClientCert for CurrentKey {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }

    fn has_certs(&self) -> bool {
        self.is_set()
    }
}
