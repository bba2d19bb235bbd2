//! What the application gets to see in headers and trailers, and the caller in answers.
//!
//! In this order: hop-by-hop headers go, then every name that is reserved, then identity is written.

use std::cell::RefCell;
use std::net::IpAddr;

use aws_lc_rs::rand;
use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT,
    HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};

use postern_config::policy::{ForwardedCertificate, Upstream};

use super::certificate::Certificate;
use super::told::Told;
use super::wire::{TRAILER_BYTES, TRAILERS};
use crate::authorize::door::{HeaderLock, Locked};
use crate::generation::Generation;

pub(super) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
pub(super) const FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Belong to one hop (RFC 9110 section 7.6.1, and what was in use before it).
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What trailers must not carry, beside what is of the hop or reserved.
static LATE: [HeaderName; 12] = [
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    TRAILER,
    FORWARDED_FOR,
    FORWARDED_PROTO,
    REQUEST_ID,
];

/// Written by the sidecar alone, however they are spelt.
const RESERVED: [&str; 3] = ["x-forwarded-client-cert", "client-cert", "client-cert-chain"];
/// Written or completed by the sidecar; other spellings would shadow them where `_` and `-` are one.
const OURS: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-request-id"];

/// Longest request id that is kept.
const ID_LENGTH: usize = 128;

/// Who calls, as the application is told; made once per connection.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// For whoever has shown a certificate.
    certificate: Option<Certificate>,
    peer: HeaderValue,
    proto: HeaderValue,
}

impl Identity {
    /// `certificate`: what is told of it, for whoever has shown one. None if the identity can't stand in a header.
    pub(super) fn new(certificate: Option<Certificate>, peer: IpAddr, is_secure: bool) -> Option<Self> {
        let proto = HeaderValue::from_static(if is_secure { "https" } else { "http" });
        let peer = HeaderValue::try_from(peer.to_canonical().to_string()).ok()?;
        Some(Self { certificate, peer, proto })
    }
}

/// Removes what a caller may not say to the application, or has said to the sidecar alone: one hop's headers, and
/// every spelling of those that are reserved.
pub fn clean(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    // The sidecar has answered it: the body is read only once there is a permit.
    headers.remove(EXPECT);
    strip_reserved(headers);
    join_cookies(headers);
}

/// Turns the caller's headers into those that the application gets. `told`: what becomes of what the caller tells of
/// the certificate of whom it calls for.
pub(super) fn to_application(
    headers: &mut HeaderMap,
    host: HeaderValue,
    request_id: &HeaderValue,
    who: &Identity,
    told: ForwardedCertificate,
) {
    let wants_trailers = accepts_trailers(headers);
    let told = (told == ForwardedCertificate::Append).then(|| Told::take(headers));
    clean(headers);

    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers.insert(HOST, host);
    headers.insert(REQUEST_ID, request_id.clone());
    headers.insert(FORWARDED_PROTO, who.proto.clone());
    append_forwarded_for(headers, &who.peer);
    let own = who.certificate.as_ref();
    if let Some(told) = told {
        told.write(headers, own.map(|own| &own.forwarded));
    } else if let Some(own) = own {
        headers.insert(FORWARDED_CLIENT_CERT, own.forwarded.clone());
        headers.insert(CLIENT_CERT, own.client_cert.clone());
    }
}

/// Turns the application's headers into those that the caller gets.
pub(super) fn to_caller(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
}

/// Removes from trailers what must not come so late: framing, routing and credentials (RFC 9110 section
/// 6.5.1), and what is reserved. Too many of them go as a whole.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    // As many as HTTP/1.1's scanner lets through; HTTP/2's engine only knows the limit of heads.
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    if trailers.len() > TRAILERS || trailers.iter().map(bytes).sum::<usize>() > TRAILER_BYTES {
        trailers.clear();
        return;
    }
    strip_hop_by_hop(trailers);
    strip_reserved(trailers);
    // However they are spelt: servers that turn names into variables write `_` for `-`.
    strip(trailers, |name| {
        LATE.iter().chain(&HOP_BY_HOP).any(|late| is_spelling_of(name.as_str(), late.as_str()))
    });
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // To look at each once costs less than to look for each of them, and mostly there is none.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            // By bytes: one that is not ASCII must not hide the options beside it.
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    // Mostly there is none: one pass over the names costs less than looking each of these up.
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// Removes the headers of locks, whether a lock has looked at them or not: those of the port's, but for what the
/// application is to see, and every header that holds a secret on some port.
pub(super) fn strip_keys(headers: &mut HeaderMap, generation: &Generation, port: u16) {
    strip_keys_but(headers, generation, port, |name, lock| {
        lock.upstream == Upstream::Keep && name == lock.name.as_str()
    });
}

/// The same for trailers, of which none is kept: no lock has looked at them.
pub(super) fn strip_late_keys(trailers: &mut HeaderMap, generation: &Generation, port: u16) {
    strip_keys_but(trailers, generation, port, |_, _| false);
}

fn strip_keys_but(
    headers: &mut HeaderMap,
    generation: &Generation,
    port: u16,
    is_kept: impl Fn(&str, &HeaderLock) -> bool,
) {
    let locked = generation.gate.policy.locked(port);
    let is_key = |name: &HeaderName| {
        let name = name.as_str();
        let of_port = locked
            .into_iter()
            .flat_map(Locked::header_locks)
            .any(|lock| is_spelling_of(name, lock.name.as_str()) && !is_kept(name, lock));
        of_port || generation.secret_headers.iter().any(|secret| is_spelling_of(name, secret.as_str()))
    };
    strip(headers, is_key);
}

fn strip_reserved(headers: &mut HeaderMap) {
    let doomed = |name: &HeaderName| {
        let name = name.as_str();
        RESERVED.iter().any(|reserved| is_spelling_of(name, reserved))
            || (name.contains('_') && OURS.iter().any(|ours| is_spelling_of(name, ours)))
    };
    strip(headers, doomed);
}

fn strip(headers: &mut HeaderMap, doomed: impl Fn(&HeaderName) -> bool) {
    // Mostly there is none, and then nothing is allocated.
    if headers.keys().any(&doomed) {
        let names: Vec<HeaderName> = headers.keys().filter(|name| doomed(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// Header names are lower-case already; `_` counts as `-`.
pub(super) fn is_spelling_of(name: &str, reserved: &str) -> bool {
    name.len() == reserved.len()
        && name.bytes().zip(reserved.bytes()).all(|(n, r)| n == r || (n == b'_' && r == b'-'))
}

/// RFC 9110 section 10.1.4.
pub(super) fn accepts_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// HTTP/2 callers may send one cookie per header; HTTP/1.1 knows one header (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// What the gateway says of its callers is believed, as the gateway is; the gateway itself comes last.
fn append_forwarded_for(headers: &mut HeaderMap, peer: &HeaderValue) {
    let mut all = Vec::new();
    // Mostly nobody has come before, and then nothing is written together.
    for value in headers.get_all(FORWARDED_FOR).iter().filter(|value| value.to_str().is_ok()) {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(b", ");
    }
    if all.is_empty() {
        headers.insert(FORWARDED_FOR, peer.clone());
        return;
    }
    all.extend_from_slice(peer.as_bytes());
    if let Ok(value) = HeaderValue::try_from(all) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// The caller's id of the request if it is well formed, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (given.next(), given.next())
        && (1..=ID_LENGTH).contains(&id.len())
        && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte))
    {
        return id.clone();
    }
    RANDOM.with_borrow_mut(Random::id)
}

thread_local! {
    static RANDOM: RefCell<Random> = const { RefCell::new(Random { bytes: [0; 32 * ID_BYTES], used: usize::MAX }) };
}

const ID_BYTES: usize = 16;

/// Random bytes for ids, fetched for many at a time: asking for a few takes as long. No secret is made of them.
struct Random {
    bytes: [u8; 32 * ID_BYTES],
    used: usize,
}

impl Random {
    fn id(&mut self) -> HeaderValue {
        if self.used >= self.bytes.len() {
            // Without randomness the id is no id, but the request need not suffer for it.
            let _ = rand::fill(&mut self.bytes);
            self.used = 0;
        }
        let bytes = self.bytes.get(self.used..).and_then(<[u8]>::first_chunk::<ID_BYTES>).copied();
        self.used += ID_BYTES;
        let mut text = [b'-'; 2 * ID_BYTES];
        let _ = hex::encode_to_slice(bytes.unwrap_or_default(), &mut text);
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
pub(super) mod tests;
