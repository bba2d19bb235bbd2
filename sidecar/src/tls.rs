//! TLS 1.3, with a client certificate demanded, asked for or not wanted, and nothing remembered between connections.
//!
//! A resumed session would carry over a chain that was checked under an older policy, so there are no
//! tickets, no session storage and no early data.

mod handshake;
mod records;
mod seal;
mod stream;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use self::handshake::Failure;
pub use self::stream::TlsStream;
use crate::authorize::Code;
use crate::authorize::door::ClientCertificate;
use crate::identify::{Caller, Refusal};

/// Decides on the chain that a handshake presents.
pub trait Admission: std::fmt::Debug + Send + Sync {
    /// The caller, if the handshake may succeed.
    ///
    /// # Errors
    /// What is wrong, for the log; the caller sees an alert.
    fn admit(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Arc<Caller>, Box<Refusal>>;

    /// Names of authorities, for callers that hold several certificates.
    fn hints(&self) -> Vec<DistinguishedName>;
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub enum HandshakeError<IO> {
    /// Refused, or impossible. The alert has been sent; see [`linger`] for the stream.
    Refused(Box<Refusal>, Option<IO>),
    /// The caller went away before it had said anything of use.
    Closed,
}

/// How long, and for how many bytes, a refused caller is listened to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

/// Lets an alert arrive: a socket that is closed while bytes wait in it is reset, and the reset overtakes what
/// was written last.
pub async fn linger<IO: AsyncRead + AsyncWrite + Unpin>(mut stream: IO) {
    let listen = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // However it ends, it has ended.
    let _ = tokio::time::timeout(LINGER, listen).await;
}

/// A server's configuration; `alpn` in order of preference, empty for ports without negotiation.
///
/// # Errors
/// If the provider knows no TLS 1.3.
pub fn server_config(
    provider: &Arc<CryptoProvider>,
    certificate: Arc<dyn ResolvesServerCert>,
    admission: Arc<dyn Admission>,
    wanted: ClientCertificate,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(thrifty(provider)))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = if wanted == ClientCertificate::Unwanted {
        builder.with_no_client_auth()
    } else {
        let provider = Arc::clone(provider);
        // Whoever may show anything need not be told whose certificates are of use.
        let hints = if wanted == ClientCertificate::Recorded { Vec::new() } else { admission.hints() };
        builder.with_client_cert_verifier(Arc::new(Verifier { provider, admission, hints, wanted }))
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.ignore_client_order = true;
    // For `records`, which goes on with the keys after the handshake.
    config.enable_secret_extraction = true;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The same, with the cipher first that every caller offers (RFC 8446, section 9.1) and that costs least: with SHA-384
/// instead of SHA-256 a third of a handshake's work would be hashing. Who wants another cipher can offer that alone.
fn thrifty(provider: &CryptoProvider) -> CryptoProvider {
    let mut provider = provider.clone();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

thread_local! {
    /// What [`Verifier`] decided during the piece of a handshake that is running on this thread.
    ///
    /// rustls hands a verifier no connection, and takes no answer from it but yes or an alert. Its work runs from
    /// start to end on one thread, so the answer is taken out right after each piece of it.
    static DECIDED: RefCell<Option<Decision>> = const { RefCell::new(None) };
}

/// On the caller of a handshake.
type Decision = Result<Arc<Caller>, Box<Refusal>>;

/// Keeps a decision, but for one that follows a refusal: what was wrong first tells more than that nothing can be proven
/// by it.
fn keep(decided: &mut Option<Decision>, decision: Decision) {
    if !matches!(decided, Some(Err(_))) {
        *decided = Some(decision);
    }
}

/// What came out about the caller in a handshake that succeeded.
#[derive(Debug)]
pub enum Peer {
    /// It showed no certificate.
    Nobody,
    /// An authority vouches for it.
    Known(Arc<Caller>),
    /// What it showed is not accepted, and the port lets that be ([`ClientCertificate::Recorded`]).
    Refused(Box<Refusal>),
}

/// Performs a handshake within `limit`.
///
/// # Errors
/// [`HandshakeError`].
pub async fn accept<IO>(
    config: Arc<ServerConfig>,
    stream: IO,
    limit: Duration,
) -> Result<(TlsStream<IO>, Peer), HandshakeError<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut decided = None;
    let take = || {
        if let Some(decision) = DECIDED.take() {
            keep(&mut decided, decision);
        }
    };
    // Boxed, because it is large, and the connection outlives it.
    let outcome = tokio::time::timeout(limit, Box::pin(handshake::perform(config, stream, take))).await;
    match (outcome, decided) {
        // The signature over the handshake, which follows the certificate, has been checked by now.
        (Ok(Ok(stream)), Some(Ok(caller))) => Ok((stream, Peer::Known(caller))),
        // The verifier lets the handshake go on after a refusal only where the port wants it so.
        (Ok(Ok(stream)), Some(Err(refusal))) => Ok((stream, Peer::Refused(refusal))),
        (Ok(Ok(stream)), None) if !stream.has_certificate() => Ok((stream, Peer::Nobody)),
        (Ok(Err((_, stream))), Some(Err(refusal))) => Err(HandshakeError::Refused(refusal, Some(stream))),
        (_, Some(Err(refusal))) => Err(HandshakeError::Refused(refusal, None)),
        (Ok(Err((Failure::Closed, _))), _) => Err(HandshakeError::Closed),
        (Ok(Err((Failure::Tls(error), stream))), _) => {
            Err(HandshakeError::Refused(explain(&error), Some(stream)))
        }
        (Err(_), _) => {
            let reason = format!("the handshake was not complete after {} s", limit.as_secs());
            Err(HandshakeError::Refused(Refusal::bare(Code::HandshakeTimeout, reason), None))
        }
        (Ok(Ok(_)), None) => {
            let refusal = Refusal::bare(Code::NoCertificate, "no certificate was looked at");
            Err(HandshakeError::Refused(refusal, None))
        }
    }
}

fn explain(error: &Error) -> Box<Refusal> {
    match error {
        Error::NoCertificatesPresented => {
            Refusal::bare(Code::NoCertificate, "no client certificate was presented")
        }
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            Refusal::bare(Code::PlaintextRefused, "the first bytes are no TLS, and this port has a lock")
        }
        Error::AlertReceived(alert) => {
            Refusal::bare(Code::HandshakeFailed, format!("the caller broke off with the alert {alert:?}"))
        }
        Error::PeerIncompatible(
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Refusal::bare(
            Code::UnsupportedVersion,
            "the caller offers no version of TLS that this port takes",
        ),
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            Refusal::bare(Code::NothingInCommon, error.to_string())
        }
        other => Refusal::bare(Code::HandshakeFailed, other.to_string()),
    }
}

/// Asks [`Admission`], and translates a refusal into the alert that comes closest.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    admission: Arc<dyn Admission>,
    hints: Vec<DistinguishedName>,
    wanted: ClientCertificate,
}

impl Verifier {
    /// Whoever doesn't hold the certificate's key is nobody, and where that is no reason to refuse the handshake it is
    /// written down.
    fn proven(
        &self,
        signature: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match signature {
            Err(error) if self.wanted == ClientCertificate::Recorded => {
                let reason =
                    format!("the caller did not prove that it holds the certificate's key ({error})");
                let decision = Err(Refusal::bare(Code::HandshakeFailed, reason));
                DECIDED.with_borrow_mut(|decided| keep(decided, decision));
                Ok(HandshakeSignatureValid::assertion())
            }
            other => other,
        }
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.wanted == ClientCertificate::Demanded
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut chain = vec![end_entity.clone()];
        chain.extend_from_slice(intermediates);
        let decision = self.admission.admit(&chain, now);
        let answer = match &decision {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) if self.wanted == ClientCertificate::Recorded => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(Error::InvalidCertificate(alert(refusal.denial.code))),
        };
        DECIDED.set(Some(decision));
        answer
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.proven(verify_tls12_signature(message, certificate, signed, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.proven(verify_tls13_signature(message, certificate, signed, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn alert(code: Code) -> CertificateError {
    match code {
        Code::Expired => CertificateError::Expired,
        Code::NotYetValid => CertificateError::NotValidYet,
        Code::Revoked => CertificateError::Revoked,
        Code::SelfSigned | Code::UnknownIssuer | Code::ForgedIssuer | Code::ServerAuthority => {
            CertificateError::UnknownIssuer
        }
        Code::NotForClients | Code::AuthorityAsClient => CertificateError::InvalidPurpose,
        Code::MalformedCertificate => CertificateError::BadEncoding,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}
