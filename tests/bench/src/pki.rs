//! The same certificates for every proxy: ECDSA with P-256, one authority for servers and one for callers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The host name in the servers' certificate.
pub(crate) const SERVER: &str = "orders.shop.svc";

/// Who may call.
pub(crate) const GATEWAY: &str = "spiffe://bench/gateway";

/// Who may call too, until the policy says otherwise.
pub(crate) const VISITOR: &str = "spiffe://bench/visitor";

/// Files for the proxies, and settings for the callers.
pub(crate) struct Pki {
    pub(crate) directory: PathBuf,
    /// The callers' authority, PEM.
    pub(crate) callers: String,
    servers: CertificateDer<'static>,
    gateway: Leaf,
    visitor: Leaf,
}

struct Leaf {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

/// The group in which the two sides agree on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What each of the proxies knows.
    X25519,
    /// With ML-KEM, which Debian 12's OpenSSL doesn't know.
    Hybrid,
}

/// What a caller offers by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Nothing, for bytes.
    Nothing,
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

impl Pki {
    /// Makes all of it and writes what proxies read into a directory.
    pub(crate) fn write(directory: &Path) -> Result<Self> {
        let (servers, server_issuer) = authority("servers")?;
        let (callers, caller_issuer) = authority("callers")?;
        let server = leaf(&server_issuer, ExtendedKeyUsagePurpose::ServerAuth, "spiffe://bench/server")?;
        let pki = Self {
            directory: directory.to_owned(),
            callers: callers.pem(),
            servers: servers.der().clone(),
            gateway: leaf(&caller_issuer, ExtendedKeyUsagePurpose::ClientAuth, GATEWAY)?,
            visitor: leaf(&caller_issuer, ExtendedKeyUsagePurpose::ClientAuth, VISITOR)?,
        };
        let key = server.key.serialize_pem();
        for (name, text) in [
            ("server.crt", server.pem.clone()),
            ("server.key", key.clone()),
            ("server.pem", server.pem + &key),
            ("callers.crt", pki.callers.clone()),
        ] {
            std::fs::write(directory.join(name), text).with_context(|| format!("writing {name}"))?;
        }
        Ok(pki)
    }

    /// How a caller comes: TLS 1.3 with one cipher suite and one group, and a certificate.
    pub(crate) fn caller(
        &self,
        visitor: bool,
        group: Group,
        offer: Offer,
    ) -> Result<Arc<rustls::ClientConfig>> {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![match group {
            Group::X25519 => aws_lc_rs::kx_group::X25519,
            Group::Hybrid => aws_lc_rs::kx_group::X25519MLKEM768,
        }];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.servers.clone())?;
        let leaf = if visitor { &self.visitor } else { &self.gateway };
        let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(leaf.key.serialize_der()).into();
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![leaf.certificate.clone()], key)?;
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = match offer {
            Offer::Nothing => Vec::new(),
            Offer::Http1 => vec![b"http/1.1".to_vec()],
            Offer::Http2 => vec![b"h2".to_vec()],
        };
        Ok(Arc::new(config))
    }

    /// The path of one of the files.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

fn authority(name: &str) -> Result<(rcgen::Certificate, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate, Issuer::new(params, key)))
}

fn leaf(issuer: &Issuer<'static, KeyPair>, usage: ExtendedKeyUsagePurpose, identity: &str) -> Result<Leaf> {
    let mut params = CertificateParams::new(vec![SERVER.to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "bench");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let uri =
        identity.try_into().map_err(|error| anyhow!("{identity} is no URI for a certificate: {error}"))?;
    params.subject_alt_names.push(SanType::URI(uri));
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Leaf { pem: certificate.pem(), certificate: certificate.der().clone(), key })
}
