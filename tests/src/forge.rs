//! Certificates that an attacker could think of, some of them made with the real authorities' keys, which an
//! attacker does not have: the lock must hold even then.

use postern_echo::attempt::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::cluster::Cluster;
use crate::install;

/// The certificates of an authority and its key.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a leaf says.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The URI of its subject alternative name.
    pub uri: String,
    /// Valid from this many days after now.
    pub from_days: i64,
    /// Until this many days after now.
    pub until_days: i64,
    /// Its extended key usage.
    pub usage: ExtendedKeyUsagePurpose,
    /// Whether it says that it is a CA.
    pub authority: bool,
    /// The common name of its subject, which is else empty.
    pub common_name: Option<String>,
}

impl Leaf {
    /// A client's, valid now.
    pub fn client(uri: &str) -> Self {
        Self {
            uri: uri.to_owned(),
            from_days: -1,
            until_days: 30,
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            authority: false,
            common_name: None,
        }
    }

    /// As it is, with a subject.
    pub fn named(self, common_name: &str) -> Self {
        Self { common_name: Some(common_name.to_owned()), ..self }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(rcgen::DnType::CommonName, name.as_str());
        }
        params.subject_alt_names = vec![SanType::URI(self.uri.as_str().try_into().expect("an ASCII URI"))];
        params.not_before = OffsetDateTime::now_utc() + Duration::days(self.from_days);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(self.until_days);
        params.extended_key_usages = vec![self.usage.clone()];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }
}

impl Authority {
    /// A real one, from the operator's namespace.
    pub async fn of_postern(cluster: &Cluster, name: &str) -> Self {
        let secret =
            cluster.secret(install::NAMESPACE, name).await.unwrap_or_else(|| panic!("no Secret {name}"));
        let pem = |key: &str| String::from_utf8(secret[key].clone()).expect("PEM is text");
        let key = KeyPair::from_pem(&pem("tls.key")).expect("a key");
        let certificate = pem("tls.crt");
        Self { issuer: Issuer::from_ca_cert_pem(&certificate, key).expect("an authority"), certificate }
    }

    /// Postern's own for callers.
    pub async fn client(cluster: &Cluster) -> Self {
        Self::of_postern(cluster, "postern-client-ca").await
    }

    /// Postern's own for backends.
    pub async fn backend(cluster: &Cluster) -> Self {
        Self::of_postern(cluster, "postern-backend-ca").await
    }

    /// One of the attacker's own that copies the names in the real one's certificate.
    pub async fn impostor(cluster: &Cluster, of: &str) -> Self {
        let secret = cluster.secret(install::NAMESPACE, of).await.unwrap_or_else(|| panic!("no Secret {of}"));
        let pem = String::from_utf8(secret["tls.crt"].clone()).expect("PEM is text");
        let key = KeyPair::generate().expect("a key");
        Self { issuer: Issuer::from_ca_cert_pem(&pem, key).expect("an authority"), certificate: pem }
    }

    /// One of the attacker's own with a name of its own.
    pub fn unknown() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "somebody else's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.certificate.clone()
    }

    /// A leaf with a new key.
    pub fn issue(&self, leaf: &Leaf) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf.params().signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A leaf that is signed by itself.
pub fn self_signed(leaf: &Leaf) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let certificate = leaf.params().self_signed(&key).expect("a certificate");
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}

/// The certificate and key in a Secret, as whoever can read it could use them.
pub async fn stolen(cluster: &Cluster, namespace: &str, secret: &str) -> Identity {
    let data =
        cluster.secret(namespace, secret).await.unwrap_or_else(|| panic!("no Secret {namespace}/{secret}"));
    let pem = |key: &str| String::from_utf8(data[key].clone()).expect("PEM is text");
    Identity { certificate: pem("tls.crt"), key: pem("tls.key") }
}

/// The one URI in a certificate's subject alternative name.
pub fn uri_of(identity: &Identity) -> String {
    use x509_parser::prelude::{GeneralName, Pem};
    let pem =
        Pem::iter_from_buffer(identity.certificate.as_bytes()).next().expect("a certificate").expect("PEM");
    let certificate = pem.parse_x509().expect("a certificate");
    let names =
        certificate.subject_alternative_name().expect("readable").expect("a subject alternative name");
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    uris.next().expect("a URI")
}

/// SHA-256 of the first certificate (DER), lower-case hexadecimal digits.
pub fn sha256_of(identity: &Identity) -> String {
    use x509_parser::prelude::Pem;
    let pem =
        Pem::iter_from_buffer(identity.certificate.as_bytes()).next().expect("a certificate").expect("PEM");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &pem.contents);
    hex::encode(digest)
}
