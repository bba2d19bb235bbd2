//! TLS to the application as the kubelet does it for `scheme: HTTPS` probes: any certificate will do.
//!
//! It is dialled inside its own pod, at an address that is the pod's own, so nobody else can answer there; and
//! its certificate is mostly of its own making. Used for probes, and for applications that speak HTTPS.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

/// A configuration that takes any certificate, TLS 1.2 or 1.3.
///
/// # Errors
/// If the provider knows neither version.
pub(crate) fn config() -> Result<ClientConfig, Error> {
    config_with(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// The same, with what a provider has.
///
/// # Errors
/// As [`config`].
pub(crate) fn config_with(provider: Arc<CryptoProvider>) -> Result<ClientConfig, Error> {
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes)))
        .with_no_client_auth())
}

/// A connector that takes any certificate.
///
/// # Errors
/// As [`config`].
pub(crate) fn connector() -> Result<TlsConnector, Error> {
    Ok(TlsConnector::from(Arc::new(config()?)))
}

/// With the signature schemes to offer.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // Checking the signature of a certificate that anybody may have made would only keep out servers whose
    // certificate is too old for the parser, which the kubelet takes.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
