//! What the application gets to see in headers and trailers, and the caller in answers.
//!
//! In this order: hop-by-hop headers go, then every name that is reserved, then identity is written.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::IpAddr;

use aws_lc_rs::rand;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use postern_config::policy::{ForwardedCertificate, Upstream};

use super::certificate::Certificate;
use super::told::Told;
use super::wire::{TRAILER_BYTES, TRAILERS};
use crate::authorize::door::{HeaderLock, Locked};
use crate::fields::{Field, Fields, Name, Names, Passed};
use crate::generation::Generation;
use crate::observe::trace::Carried;

/// Belong to one hop (RFC 9110 section 7.6.1, and what was in use before it).
const HOP_BY_HOP: Names = Names::of(&[
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyConnection,
    Name::ProxyAuthenticate,
    Name::ProxyAuthorization,
    Name::Te,
    Name::TransferEncoding,
    Name::Upgrade,
]);
/// Written by the sidecar alone, however they are spelt.
const RESERVED: Names = Names::of(&[Name::XForwardedClientCert, Name::ClientCert, Name::ClientCertChain]);
/// Written or completed by the sidecar; other spellings would shadow them where `_` and `-` are one.
const OURS: Names = Names::of(&[Name::XForwardedFor, Name::XForwardedProto, Name::XRequestId]);
/// What no caller says to the application.
const UNSAID: Names = HOP_BY_HOP
    .and(RESERVED)
    // The sidecar has answered it: the body is read only once there is a permit.
    .and(Names::of(&[Name::Expect]));
/// What trailers must not carry (RFC 9110 section 6.5.1), however it is spelt: framing, routing, credentials and what is
/// of the hop or reserved.
const LATE: Names = UNSAID.and(OURS).and(Names::of(&[
    Name::Authorization,
    Name::ContentEncoding,
    Name::ContentLength,
    Name::ContentRange,
    Name::ContentType,
    Name::Cookie,
    Name::Host,
    Name::Trailer,
]));

/// Longest request id that is kept.
const ID_LENGTH: usize = 128;

/// Who calls, as the application is told; made once per connection.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// For whoever has shown a certificate.
    certificate: Option<Certificate>,
    peer: Box<str>,
    proto: &'static str,
}

impl Identity {
    /// `certificate`: what is told of it, for whoever has shown one.
    pub(super) fn new(certificate: Option<Certificate>, peer: IpAddr, is_secure: bool) -> Self {
        let proto = if is_secure { "https" } else { "http" };
        Self { certificate, peer: peer.to_canonical().to_string().into(), proto }
    }
}

/// What `Connection` names of what is there: never more than there are fields, however long it is.
fn named_by_connection(fields: &Fields) -> Vec<&[u8]> {
    let mut named: Vec<&[u8]> = Vec::new();
    // By bytes: one that is not ASCII must not hide the options beside it.
    let options = fields.values(Name::Connection).flat_map(|value| value.split(|byte| *byte == b','));
    for option in options.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty()) {
        let is_it = |name: &&[u8]| name.eq_ignore_ascii_case(option);
        if let Some(name) = fields.iter().map(|field| field.name).find(is_it)
            && !named.contains(&name)
        {
            named.push(name);
        }
    }
    named
}

/// What of a caller's fields may be passed on, with cookies in one field.
struct Clean<'a> {
    fields: &'a Fields,
    dropped: Names,
    named: Vec<&'a [u8]>,
    /// Where there are several.
    cookies: Option<Vec<u8>>,
}

impl<'a> Clean<'a> {
    /// Without what a caller may not say to the application, or has said to the sidecar alone (one hop's fields, and every
    /// spelling of those that are reserved), and without these.
    fn of(fields: &'a Fields, names: Names) -> Self {
        let cookies = joined_cookies(fields);
        let dropped = UNSAID.and(names).with_if(Name::Cookie, cookies.is_some());
        Self { fields, dropped, named: named_by_connection(fields), cookies }
    }

    fn drops(&self, field: &Field<'_>) -> bool {
        field.is_one_of(self.dropped) || self.named.contains(&field.name) || self.is_disguised(field)
    }

    /// Whether it is another spelling of what is reserved or ours.
    fn is_disguised(&self, field: &Field<'_>) -> bool {
        self.fields.has_underscores()
            && field.known.is_none()
            && Name::of_spelling(field.name).is_some_and(|name| RESERVED.and(OURS).contains(name))
    }

    /// Whether `Connection` keeps it on its hop.
    fn is_of_hop(&self, name: Name) -> bool {
        self.named.contains(&name.as_str().as_bytes())
    }
}

impl Passed for Clean<'_> {
    fn each(&self, mut tell: impl FnMut(Field<'_>)) {
        self.fields.iter().filter(|field| !self.drops(field)).for_each(&mut tell);
        if let Some(cookies) = &self.cookies
            && !self.is_of_hop(Name::Cookie)
        {
            tell(Field::of(Name::Cookie, cookies));
        }
    }
}

/// What may be passed on of a caller's fields, before anything is said of the caller.
pub fn clean(fields: &Fields) -> Fields {
    Fields::of(&Clean::of(fields, Names::default()))
}

/// A caller's headers, as the application gets them.
pub(super) struct ToApplication<'a> {
    clean: Clean<'a>,
    host: &'a str,
    request_id: &'a [u8],
    who: &'a Identity,
    /// What the caller tells of the certificate of whom it calls for.
    told: Option<Told<'a>>,
    trace: Carried,
    keys: Keys<'a>,
}

/// What is said of a request beside its own headers.
pub(super) struct Said<'a> {
    /// In its canonical form.
    pub(super) host: &'a str,
    pub(super) request_id: &'a [u8],
    pub(super) who: &'a Identity,
    /// What becomes of what the caller tells of the certificate of whom it calls for.
    pub(super) told: ForwardedCertificate,
    pub(super) trace: Carried,
    /// The headers of locks.
    pub(super) keys: Keys<'a>,
}

impl<'a> ToApplication<'a> {
    pub(super) fn new(fields: &'a Fields, said: Said<'a>) -> Self {
        let Said { host, request_id, who, told, trace, keys } = said;
        let told = (told == ForwardedCertificate::Append).then(|| Told::take(fields));
        let clean = Clean::of(fields, OURS.and(trace.dropped).with(Name::Host));
        Self { clean, host, request_id, who, told, trace, keys }
    }

    /// What the gateway says of its callers is believed, as the gateway is; the gateway itself comes last.
    fn forwarded_for(&self) -> Option<Vec<u8>> {
        if self.clean.is_of_hop(Name::XForwardedFor) {
            return None;
        }
        let mut all = Vec::new();
        for value in self.clean.fields.values(Name::XForwardedFor).filter(|value| value.is_ascii()) {
            all.extend_from_slice(value);
            all.extend_from_slice(b", ");
        }
        // Mostly nobody has come before, and then nothing is written together.
        (!all.is_empty()).then(|| {
            all.extend_from_slice(self.who.peer.as_bytes());
            all
        })
    }
}

impl Passed for ToApplication<'_> {
    fn each(&self, mut tell: impl FnMut(Field<'_>)) {
        // First, as RFC 9110 section 7.2 has it.
        tell(Field::of(Name::Host, self.host.as_bytes()));
        self.clean.each(|field| {
            if !self.keys.has(field.name) {
                tell(field);
            }
        });
        let mut say = |name, value: &[u8]| tell(Field::of(name, value));
        if accepts_trailers(self.clean.fields) {
            say(Name::Te, b"trailers");
        }
        if let Some(parent) = &self.trace.parent {
            say(Name::Traceparent, parent.as_bytes());
        }
        say(Name::XRequestId, self.request_id);
        say(Name::XForwardedProto, self.who.proto.as_bytes());
        match self.forwarded_for() {
            Some(all) => say(Name::XForwardedFor, &all),
            None => say(Name::XForwardedFor, self.who.peer.as_bytes()),
        }
        let own = self.who.certificate.as_ref();
        if let Some(told) = &self.told {
            told.each(own.map(|own| &*own.forwarded), say);
        } else if let Some(own) = own {
            say(Name::XForwardedClientCert, own.forwarded.as_bytes());
            say(Name::ClientCert, own.client_cert.as_bytes());
        }
    }
}

/// Removes from an application's headers what the caller doesn't get.
pub(super) fn to_caller(fields: &mut Fields) {
    // Mostly there is none.
    if fields.may_have(HOP_BY_HOP) {
        let named: Vec<Vec<u8>> = named_by_connection(fields).into_iter().map(<[u8]>::to_vec).collect();
        fields.retain(|field| !field.is_one_of(HOP_BY_HOP) && !named.iter().any(|name| *name == field.name));
    }
}

/// Removes from trailers what must not come so late. Too many of them go as a whole.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    // As many as HTTP/1.1's scanner lets through; HTTP/2's engine only knows the limit of heads.
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    if trailers.len() > TRAILERS || trailers.iter().map(bytes).sum::<usize>() > TRAILER_BYTES {
        trailers.clear();
        return;
    }
    let fields = Fields::of_map(trailers);
    let named = named_by_connection(&fields);
    strip(trailers, |name| {
        let is_late = Name::of_spelling(name.as_bytes()).is_some_and(|name| LATE.contains(name));
        is_late || named.contains(&name.as_bytes())
    });
}

/// The headers of locks, which are for the sidecar alone, whether a lock has looked at them or not: those of the port's,
/// but for what the application is to see, and every header that holds a secret on some port.
#[derive(Clone, Copy, Default)]
pub(super) struct Keys<'a> {
    /// Of the port, if any of them looks at a header.
    locked: Option<&'a Locked>,
    /// If there are any.
    secrets: Option<&'a HashSet<HeaderName>>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(generation: &'a Generation, port: u16) -> Self {
        let secrets = &generation.secret_headers;
        Self {
            locked: generation.gate.policy.locked(port).filter(|locked| locked.looks_at_headers()),
            secrets: (!secrets.is_empty()).then_some(secrets),
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        self.has_but(name, |lock| lock.upstream == Upstream::Keep && name == lock.name.as_str().as_bytes())
    }

    fn has_but(&self, name: &[u8], is_kept: impl Fn(&HeaderLock) -> bool) -> bool {
        let mut of_port = self.locked.into_iter().flat_map(Locked::header_locks);
        let mut secrets = self.secrets.into_iter().flatten();
        of_port.any(|lock| is_spelling_of(name, lock.name.as_str()) && !is_kept(lock))
            || secrets.any(|secret| is_spelling_of(name, secret.as_str()))
    }
}

/// Removes the headers of locks from trailers, of which none is kept: no lock has looked at them.
pub(super) fn strip_late_keys(trailers: &mut HeaderMap, generation: &Generation, port: u16) {
    let keys = Keys::of(generation, port);
    strip(trailers, |name| keys.has_but(name.as_bytes(), |_| false));
}

fn strip(trailers: &mut HeaderMap, doomed: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = trailers.keys().filter(|name| doomed(name.as_str())).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
}

/// Header names are lower-case already; `_` counts as `-`.
fn is_spelling_of(name: &[u8], reserved: &str) -> bool {
    name.len() == reserved.len()
        && name.iter().zip(reserved.bytes()).all(|(n, r)| *n == r || (*n == b'_' && r == b'-'))
}

/// RFC 9110 section 10.1.4.
pub(super) fn accepts_trailers(fields: &Fields) -> bool {
    let codings = fields.values(Name::Te).flat_map(|value| value.split(|byte| *byte == b','));
    codings.map(<[u8]>::trim_ascii).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// HTTP/2 callers may send one cookie per header; HTTP/1.1 knows one header (RFC 9113 section 8.2.3). `None` where there
/// is nothing to join.
fn joined_cookies(fields: &Fields) -> Option<Vec<u8>> {
    fields.values(Name::Cookie).nth(1)?;
    let all: Vec<&[u8]> = fields.values(Name::Cookie).collect();
    Some(all.join(&b"; "[..]))
}

/// The caller's id of the request if it is well formed, else a new one.
pub(super) fn request_id(fields: &Fields) -> RequestId<'_> {
    if let Ok(Some(id)) = fields.only(Name::XRequestId)
        && (1..=ID_LENGTH).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte))
        && let Ok(id) = std::str::from_utf8(id)
    {
        return RequestId::Given(id);
    }
    RequestId::New(RANDOM.with_borrow_mut(Random::id))
}

/// A request's id: ASCII.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestId<'a> {
    Given(&'a str),
    New([u8; 2 * ID_BYTES]),
}

impl RequestId<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Given(id) => id.as_bytes(),
            Self::New(id) => id,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
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
    fn id(&mut self) -> [u8; 2 * ID_BYTES] {
        if self.used >= self.bytes.len() {
            // Without randomness the id is no id, but the request need not suffer for it.
            let _ = rand::fill(&mut self.bytes);
            self.used = 0;
        }
        let bytes = self.bytes.get(self.used..).and_then(<[u8]>::first_chunk::<ID_BYTES>).copied();
        self.used += ID_BYTES;
        let mut text = [b'-'; 2 * ID_BYTES];
        let _ = hex::encode_to_slice(bytes.unwrap_or_default(), &mut text);
        text
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
pub(super) mod tests;
