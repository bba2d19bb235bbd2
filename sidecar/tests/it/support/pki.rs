//! Authorities and certificates of all kinds.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::ORDERS;

/// A CA.
pub struct Authority {
    pub issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key.
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
}

/// How a certificate differs from a proper client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Client,
    Server,
    NoUsage,
    Expired,
    NotYetValid,
    TwoNames,
    Authority,
}

/// What a lock has: one authority for servers, one for callers.
pub struct Pki {
    pub servers: Authority,
    pub callers: Authority,
    pub server: Leaf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name = common_name(name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// As a client that verifies servers wants it.
    pub fn roots(&self) -> rustls::RootCertStore {
        use rustls_pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    pub fn client(&self, identity: &str) -> Leaf {
        self.issue(Shape::Client, identity)
    }

    pub fn issue(&self, shape: Shape, identity: &str) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params(shape, identity).signed_by(&key, &self.issuer).unwrap();
        Leaf { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        let key = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        Self { certificate: self.certificate.clone(), pem: self.pem.clone(), key }
    }
}

impl Leaf {
    pub fn self_signed(identity: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params(Shape::Client, identity).self_signed(&key).unwrap();
        Self { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// As policies name it.
    pub fn pin(&self) -> String {
        hex::encode(postern_sidecar::identify::sha256(&self.key.subject_public_key_info()))
    }

    pub fn sha256(&self) -> String {
        hex::encode(postern_sidecar::identify::sha256(&self.certificate))
    }
}

impl Pki {
    pub fn new() -> Self {
        let servers = Authority::new("postern backends");
        let server = servers.issue(Shape::Server, "spiffe://test/ns/shop/server/orders");
        Self { server, servers, callers: Authority::new("postern callers") }
    }

    /// The key of the tests' route.
    pub fn gateway(&self) -> Leaf {
        self.callers.client(ORDERS)
    }
}

fn params(shape: Shape, identity: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["orders.shop.svc".to_owned()]).unwrap();
    params.distinguished_name = common_name("edge");
    params.is_ca = match shape {
        Shape::Authority => IsCa::Ca(BasicConstraints::Unconstrained),
        _ => IsCa::ExplicitNoCa,
    };
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match shape {
        Shape::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Shape::NoUsage => Vec::new(),
        _ => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.subject_alt_names.push(SanType::URI(identity.try_into().unwrap()));
    if shape == Shape::TwoNames {
        params.subject_alt_names.push(SanType::URI("spiffe://test/another".try_into().unwrap()));
    }
    if shape == Shape::NotYetValid {
        params.not_before = date_time_ymd(2100, 1, 1);
        params.not_after = date_time_ymd(2101, 1, 1);
    }
    if shape == Shape::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
