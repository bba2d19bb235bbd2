//! Why something was refused: one table, so that each code has one meaning, one remedy and one place.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderValue, StatusCode};

/// One refusal: a stable code and what was found, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What kind of refusal.
    pub code: Code,
    /// What was found; for logs and for the caller, so it holds no secret.
    pub reason: Cow<'static, str>,
    /// `WWW-Authenticate` of a 401 (RFC 9110 section 11.6.1).
    pub challenge: Option<HeaderValue>,
}

impl Denial {
    /// A refusal for a reason.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), challenge: None }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.reason)
    }
}

impl std::error::Error for Denial {}

/// Where a refusal comes up, and so what the caller gets to see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before the first byte was looked at: the connection is closed.
    Connection,
    /// In the TLS handshake: an alert.
    Handshake,
    /// Of one request: a problem document, or a gRPC status.
    Request,
    /// The application's doing: as for a request.
    Application,
}

/// What becomes of a refusal on a port whose `enforcement` is `Audit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InAudit {
    /// The call goes through; who would have been refused is logged and counted.
    LetThrough,
    /// The same, with what a reader should know of it: a sentence.
    Mostly(&'static str),
    /// It is refused all the same, for this reason: a clause after "because".
    Refused(&'static str),
}

macro_rules! codes {
    ($(@$stage:ident; $($(#[doc = $doc:literal])* $name:ident $status:literal $remedy:literal;)*)*) => {
        /// A stable code: in the log line, in the problem document and in the metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($($(#[doc = $doc])* $name,)*)* }

        impl Code {
            /// Every code, in the order of its discriminant.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }

            /// What has happened.
            pub fn cause(self) -> &'static str {
                match self { $($(Self::$name => concat!($($doc),*).trim_start(),)*)* }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $($(Self::$name => $remedy,)*)* }
            }

            /// Where it comes up. Codes of a connection or a handshake may come up once more in a request, if the
            /// configuration has changed in between.
            pub const fn stage(self) -> Stage {
                match self { $($(Self::$name => Stage::$stage,)*)* }
            }

            const fn status_number(self) -> u16 {
                match self { $($(Self::$name => $status,)*)* }
            }
        }
    };
}

// After a change here: `make generate`, which writes docs/denials.md.
codes! {
    // The status is what a caller sees if the code comes up within a request.
    @Connection;
    /// No valid policy is loaded, so everything is refused.
    NoPolicy 503 "see /readyz and the log for what is wrong with the configuration";
    /// The port is not in the policy, or its name is not one of the pod's.
    PortClosed 403 "let an ApiRoute lead to the port, or list it in the BackendTrust";
    /// Bound for an address that is not this pod's own, or for one of the sidecar's own ports.
    DestinationRefused 403 "call the application's port on the pod's own address";
    /// A budget of connections is used up.
    TooManyConnections 503 "close idle connections, or look who opens them";

    @Handshake;
    /// Bytes that are no TLS came to a port that demands mutual TLS.
    PlaintextRefused 400 "call through the gateway; it holds the key and speaks TLS";
    /// No client certificate was presented.
    NoCertificate 403 "call through the gateway; it must present the certificate in its route's Secret";
    /// The client certificate, or a part of it that counts, cannot be read.
    MalformedCertificate 403 "present the certificate in the route's Secret";
    /// The client certificate is signed by itself.
    SelfSigned 403 "present the certificate in the route's Secret";
    /// The client certificate is from no authority that the policy names.
    UnknownIssuer 403 "present the certificate in the route's Secret";
    /// The issuer's name is a known authority's, the signature is not: a forgery, or an authority that was
    /// replaced since.
    ForgedIssuer 403 "present the newest certificate in the route's Secret";
    /// From the authority that vouches for servers.
    ServerAuthority 403 "present the route's client certificate, not a server's";
    /// The client certificate has expired.
    Expired 403 "reload the gateway, so that it takes the renewed certificate from its Secret";
    /// The client certificate is not valid yet.
    NotYetValid 403 "compare the clocks of the gateway's node and of this one";
    /// A client may not use it: extended key usage clientAuth, or key usage digitalSignature, is missing.
    NotForClients 403 "present the route's client certificate";
    /// A CA's certificate was presented as a client's.
    AuthorityAsClient 403 "present the route's client certificate";
    /// Not exactly one URI as subject alternative name, so it names nobody.
    NoIdentity 403 "present the route's client certificate, which names one identity";
    /// A `spiffe://` name from an authority that may not give such names.
    ForeignIdentity 403 "only Postern's own authority gives spiffe:// names; use another kind of name";
    /// The key is not one that is pinned for this identity: revoked, or replaced in a rotation.
    KeyNotPinned 403 "reload the gateway, so that it takes the newest certificate from its Secret";
    /// The admin endpoint was called by somebody else than the operator.
    NotAdmin 403 "the admin endpoint is for Postern's operator alone";
    /// The client certificate is on the list of revoked ones.
    Revoked 403 "present another certificate; this one's SHA-256 is among the lock's revokedCertificates";
    /// The caller offers no version of TLS that is spoken here.
    UnsupportedVersion 400 "let the gateway offer TLS 1.3 to this backend";
    /// The caller speaks TLS, but offers no key exchange, signature or protocol that is accepted here.
    NothingInCommon 400 "see the reason; let the gateway offer X25519 or P-256, an AEAD cipher, and h2 or http/1.1";
    /// The handshake failed for a reason that has no code of its own.
    HandshakeFailed 400 "see the reason, and what the caller's own log says of it";
    /// The handshake was not completed in time.
    HandshakeTimeout 408 "look at the network between caller and pod, and at what the caller waits for";

    @Request;
    /// The lock wants Basic credentials, and none were sent.
    NoCredentials 401 "call through the gateway; it must send the user name and password in its route's Secret";
    /// Credentials were sent that no caller of a route has: an unknown user, or a wrong password.
    WrongCredentials 401 "let the gateway send the user name and password that are in its route's Secret now";
    /// What was sent as Basic credentials cannot be read.
    MalformedCredentials 400 "send Basic, a space, and the base64 of user name, colon and password";
    /// A header that a lock looks at was sent more than once.
    RepeatedKey 400 "let the gateway set the header, not add to what its callers send";
    /// More passwords are being checked than there is time for.
    TooManyChecks 503 "try again, and look who sends so many passwords that were not checked before";
    /// The header that the lock wants is missing.
    NoSecretHeader 403 "call through the gateway; it must send the header in its route's Secret";
    /// The header that the lock wants has a value that no caller of a route has.
    WrongSecretHeader 403 "let the gateway send the header's value that is in its route's Secret now";
    /// Credentials alone do not suffice here: a client certificate is mandatory.
    CertificateRequired 403 "present a client certificate too: your own, or the tenant's";
    /// The client certificate is accepted, but not the caller's own, nor the tenant's where that would do.
    NotOwnCertificate 403 "present the certificate that is registered for this caller";
    /// Each lock opens, but not all of them for the same caller of a route.
    KeysOfSeveral 403 "present certificate, credentials and header of one and the same route";
    /// Only GET and HEAD of some paths are open on this port.
    PathNotOpen 403 "call what the lock's open.paths lists, or call through the gateway";
    /// No route gives this identity access to this port.
    NoRoute 403 "write an ApiRoute for this gateway and backend, or use the key of the route that exists";
    /// No route of this identity allows this host name.
    HostNotAllowed 403 "add the name to the route's hostnames, and let the gateway pass the Host header on";
    /// No rule of this identity's routes matches method and path.
    NoRuleMatches 403 "add a rule to the ApiRoute, or call what its rules allow";
    /// The path can be read in more than one way (encoded slash, double encoding …).
    AmbiguousPath 400 "send a path without encoded slashes, backslashes, control characters or percent signs";
    /// Not exactly one host, not a valid one, or `:authority` and Host differ.
    InvalidHost 400 "send exactly one valid Host, equal to :authority where both are sent";
    /// The message's framing contradicts itself, or its body is not framed as its head says.
    InvalidFraming 400 "send either Content-Length or Transfer-Encoding: chunked, once, and a body framed so";
    /// The head's or the trailers' bytes are not those of HTTP/1.1: a bare CR or LF, a folded line, a space before
    /// a colon, NUL, another control character.
    MalformedHead 400 "send heads as RFC 9112 has them: CRLF line ends, no folding, no control characters";
    /// The request line names another version than HTTP/1.1 or HTTP/1.0.
    VersionNotSupported 505 "send HTTP/1.1, or negotiate h2 in the TLS handshake";
    /// The request's target is longer than allowed.
    TargetTooLong 414 "send a shorter path and query";
    /// The request's head, or its trailers, are larger than allowed. Over HTTP/2, a head of more than twice that size is
    /// answered with the status alone.
    HeadTooLarge 431 "send smaller headers";
    /// A request's head did not come in time.
    HeadTimeout 408 "look at the network between caller and pod, and at what the caller waits for";
    /// HTTP/2 that is none, or that comes as a flood: a stream was reset, or the connection was ended.
    Http2Refused 400 "look at what the caller sends: RFC 9113 says what is proper, and fewer resets may be needed";
    /// More headers than allowed.
    TooManyHeaders 431 "send fewer headers";
    /// The CONNECT method.
    ConnectRefused 405 "send requests in origin form; CONNECT is for WebSocket over HTTP/2 alone";
    /// A change of protocol that is not served was asked for: any but WebSocket, or one that the application does not
    /// take.
    UpgradeRefused 501 "ask for a WebSocket, or send the request without Upgrade; no other change of protocol is served";

    @Application;
    /// The application accepts no connections.
    ApplicationUnreachable 503 "look at the application's state and log";
    /// The application broke off before its answer, or answered something that is not HTTP.
    ApplicationFailed 502 "look at the application's log";
    /// The application answered with a head that can be read in two ways: a length and a coding, two lengths, a line
    /// that is no header.
    ApplicationMalformed 502 "have the application frame its answers as RFC 9112 section 6 says; its log may tell which part of it wrote the answer";
    /// The application did not answer in time.
    ApplicationTimeout 504 "look at the application's log";
}

impl Code {
    /// The status that a caller sees, where the refusal comes up within a request.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_number()).unwrap_or(StatusCode::FORBIDDEN)
    }

    /// The code with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }

    /// What becomes of it where denials are not carried out: what a lock or a route says no to goes through, what
    /// cannot be passed on safely, or would harm the sidecar itself, does not.
    pub const fn in_audit(self) -> InAudit {
        match self {
            Self::NoCertificate
            | Self::MalformedCertificate
            | Self::SelfSigned
            | Self::UnknownIssuer
            | Self::ForgedIssuer
            | Self::ServerAuthority
            | Self::Expired
            | Self::NotYetValid
            | Self::NotForClients
            | Self::AuthorityAsClient
            | Self::NoIdentity
            | Self::ForeignIdentity
            | Self::KeyNotPinned
            | Self::Revoked
            | Self::NoCredentials
            | Self::WrongCredentials
            | Self::MalformedCredentials
            | Self::RepeatedKey
            | Self::TooManyChecks
            | Self::NoSecretHeader
            | Self::WrongSecretHeader
            | Self::CertificateRequired
            | Self::NotOwnCertificate
            | Self::KeysOfSeveral
            | Self::NoRoute
            | Self::HostNotAllowed
            | Self::NoRuleMatches => InAudit::LetThrough,
            Self::AmbiguousPath => InAudit::Mostly(
                "The application gets the path as it came; a fragment, or a byte that no URI holds, is refused",
            ),
            Self::PlaintextRefused => {
                InAudit::Mostly("On a TCP port it is refused: callers of one must come by TLS in any case")
            }
            Self::HandshakeFailed => InAudit::Mostly(
                "That holds for a caller who does not prove that it holds its certificate's key, and for TLS where \
                 plaintext is asked for; no other broken handshake leaves a connection over which anything could pass",
            ),
            Self::UnsupportedVersion | Self::NothingInCommon | Self::HandshakeTimeout => {
                InAudit::Refused("there is no connection over which anything could pass")
            }
            Self::NoPolicy
            | Self::PortClosed
            | Self::DestinationRefused
            | Self::NotAdmin
            | Self::PathNotOpen => InAudit::Refused("no lock with an enforcement of its own says so"),
            Self::TooManyConnections
            | Self::TargetTooLong
            | Self::HeadTooLarge
            | Self::HeadTimeout
            | Self::TooManyHeaders => InAudit::Refused("it is a limit that protects the sidecar itself"),
            Self::InvalidHost
            | Self::InvalidFraming
            | Self::MalformedHead
            | Self::VersionNotSupported
            | Self::Http2Refused
            | Self::ConnectRefused
            | Self::UpgradeRefused => {
                InAudit::Refused("what has no one meaning, or is not served, cannot be passed on safely")
            }
            Self::ApplicationUnreachable
            | Self::ApplicationFailed
            | Self::ApplicationMalformed
            | Self::ApplicationTimeout => InAudit::Refused("it is the application's doing"),
        }
    }

    /// Whether an audit lets it pass where a lock, a route or a path is what it comes from.
    pub const fn is_let_through_in_audit(self) -> bool {
        !matches!(self.in_audit(), InAudit::Refused(_))
    }

    /// `grpc-status` that a gRPC client sees in its stead, as gRPC maps the statuses of HTTP.
    pub const fn grpc_status(self) -> u8 {
        match self.status_number() {
            400 | 431 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        }
    }

    /// In words: `No route here` for a code `NoRouteHere`.
    pub fn title(self) -> String {
        let mut title = String::with_capacity(32);
        for (at, letter) in self.as_str().chars().enumerate() {
            if at > 0 && letter.is_ascii_uppercase() {
                title.push(' ');
                title.push(letter.to_ascii_lowercase());
            } else {
                title.push(letter);
            }
        }
        title
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_in_order() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, index, "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            assert!(!code.remedy().ends_with('.'), "{code:?}");
            assert!(code.cause().ends_with('.') && code.cause().len() > 10, "{code:?} says its cause");
            assert_eq!(Code::named(code.as_str()), Some(*code));
            if let InAudit::Mostly(text) | InAudit::Refused(text) = code.in_audit() {
                assert!(!text.ends_with('.') && text.len() > 10, "{code:?}");
            }
        }
        assert_eq!(Code::NoRoute.as_str(), "NoRoute");
        assert_eq!(Code::ApplicationTimeout.status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
