//! What can be wrong with what a caller shows in a handshake, one by one.

use rustls::AlertDescription::{
    self, AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
    DecryptError, UnknownCA, UnsupportedCertificate,
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{Authority, Leaf, ORDERS, Pki, Shape};

/// A lock with all that it takes to have each fault, on any number of ports.
pub struct Faults {
    pub pki: Pki,
    /// The key of the route.
    pub gateway: Leaf,
    partner: Authority,
    revoked: Leaf,
}

/// One fault.
pub struct Fault {
    /// The code of the refusal.
    pub code: &'static str,
    /// What is shown.
    pub leaf: Option<Leaf>,
    /// The alert with which the handshake ends, where the lock is enforced.
    pub alert: AlertDescription,
}

impl Faults {
    pub fn new() -> Self {
        let (pki, partner) = (Pki::new(), Authority::new("partner"));
        let (gateway, revoked) = (pki.gateway(), pki.gateway());
        Self { pki, gateway, partner, revoked }
    }

    /// Locked by mutual TLS alone.
    pub fn port(port: u16, protocol: &str, enforcement: &str) -> Value {
        json!({
            "port": port, "protocol": protocol, "enforcement": enforcement,
            "access": {"type": "Locked", "locks": {"require": "All", "list": [{"type": "MutualTLS"}]}},
        })
    }

    /// A caller of a route, by its pinned key.
    pub fn caller(&self) -> Value {
        let keys = [self.gateway.pin(), self.revoked.pin()];
        json!({"name": "edge", "certificates": [
            {"type": "Identity", "authority": "postern", "identity": ORDERS, "keys": keys}]})
    }

    pub fn policy(&self, ports: &[Value], routes: &[Value]) -> String {
        json!({
            "authorities": [
                {"name": "postern", "type": "Postern", "roots": self.pki.callers.pem},
                {"name": "partner", "type": "Bundle", "roots": self.partner.pem},
            ],
            "revoked": [self.revoked.sha256()],
            "ports": ports,
            "routes": routes,
        })
        .to_string()
    }

    pub fn all(&self) -> Vec<Fault> {
        let callers = &self.pki.callers;
        let shaped = |shape| Some(callers.issue(shape, ORDERS));
        // What it shows is another's, whose key it hasn't got.
        let stolen = Leaf { key: rcgen::KeyPair::generate().unwrap(), ..self.gateway.clone() };
        let garbage =
            Leaf { certificate: CertificateDer::from(vec![0x30, 3, 1, 1, 0xff]), ..self.gateway.clone() };
        [
            ("NoCertificate", None, CertificateRequired),
            ("MalformedCertificate", Some(garbage), BadCertificate),
            ("SelfSigned", Some(Leaf::self_signed(ORDERS)), UnknownCA),
            ("UnknownIssuer", Some(Authority::new("stranger").client(ORDERS)), UnknownCA),
            ("ForgedIssuer", Some(Authority::new("postern callers").client(ORDERS)), UnknownCA),
            ("ServerAuthority", Some(self.pki.servers.client(ORDERS)), UnknownCA),
            ("Expired", shaped(Shape::Expired), CertificateExpired),
            ("NotYetValid", shaped(Shape::NotYetValid), CertificateExpired),
            ("NotForClients", shaped(Shape::Server), UnsupportedCertificate),
            ("AuthorityAsClient", shaped(Shape::Authority), UnsupportedCertificate),
            ("NoIdentity", shaped(Shape::TwoNames), AccessDenied),
            ("ForeignIdentity", Some(self.partner.client(ORDERS)), AccessDenied),
            ("KeyNotPinned", shaped(Shape::Client), AccessDenied),
            ("Revoked", Some(self.revoked.clone()), CertificateRevoked),
            ("HandshakeFailed", Some(stolen), DecryptError),
        ]
        .map(|(code, leaf, alert)| Fault { code, leaf, alert })
        .into()
    }
}
