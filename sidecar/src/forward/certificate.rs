//! A caller's certificate, as the application is told of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;

use crate::identify::Caller;

/// What two headers say of it.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// `X-Forwarded-Client-Cert`.
    pub(super) forwarded: Rc<str>,
    /// `Client-Cert`.
    pub(super) client_cert: Rc<str>,
}

/// What was told last on a worker: mostly the next connection is the same caller's, and holds the same text then.
#[derive(Debug, Default)]
pub(crate) struct Certificates(RefCell<Option<Known>>);

#[derive(Debug)]
struct Known {
    caller: Arc<Caller>,
    by: Option<Box<str>>,
    certificate: Certificate,
}

impl Certificates {
    /// `by`: the one URI of the server's certificate. None if it can't stand in a header.
    pub(super) fn of(&self, caller: &Arc<Caller>, by: Option<&str>) -> Option<Certificate> {
        let mut last = self.0.borrow_mut();
        if let Some(known) = &*last
            && Arc::ptr_eq(&known.caller, caller)
            && known.by.as_deref() == by
        {
            return Some(known.certificate.clone());
        }
        let certificate =
            Certificate { forwarded: forwarded(caller, by)?, client_cert: client_cert(caller)? };
        let (caller, by) = (Arc::clone(caller), by.map(Into::into));
        *last = Some(Known { caller, by, certificate: certificate.clone() });
        Some(certificate)
    }
}

/// In Envoy's format.
fn forwarded(caller: &Caller, by: Option<&str>) -> Option<Rc<str>> {
    let mut element = String::with_capacity(256);
    if let Some(by) = by {
        element.push_str("By=");
        push_quoted(&mut element, by);
        element.push(';');
    }
    element.push_str("Hash=");
    element.push_str(&hex::encode(caller.fingerprint));
    if let Some(uri) = caller.facts.only_uri() {
        element.push_str(";URI=");
        push_quoted(&mut element, uri);
    } else {
        element.push_str(";Subject=\"");
        push_escaped(&mut element, &caller.identity);
        element.push('"');
    }
    header(&element)
}

/// A byte sequence of RFC 8941, as RFC 9440 section 2.1 wants it.
fn client_cert(caller: &Caller) -> Option<Rc<str>> {
    header(&format!(":{}:", STANDARD.encode(caller.chain.first()?)))
}

/// What can stand in a header.
fn header(text: &str) -> Option<Rc<str>> {
    HeaderValue::from_bytes(text.as_bytes()).ok().map(|_| text.into())
}

/// Quoted where Envoy's format for the header needs it.
fn push_quoted(out: &mut String, value: &str) {
    if !value.contains([',', ';', '=', '"', '\\']) {
        return out.push_str(value);
    }
    out.push('"');
    push_escaped(out, value);
    out.push('"');
}

fn push_escaped(out: &mut String, value: &str) {
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::headers::tests::caller;

    #[test]
    fn connections_of_one_caller_hold_one_text() {
        let (one, other) = (Arc::new(caller(Some("spiffe://d/x"))), Arc::new(caller(Some("spiffe://d/y"))));
        let certificates = Certificates::default();
        let told = |caller: &Arc<Caller>, by| {
            let certificate = certificates.of(caller, by).unwrap();
            (certificate.forwarded.to_string(), certificate.client_cert.as_ptr())
        };
        let first = told(&one, Some("spiffe://d/s"));
        assert_eq!(told(&one, Some("spiffe://d/s")), first);
        assert_eq!(told(&Arc::clone(&one), Some("spiffe://d/s")).1, first.1);
        for (caller, by, part) in [
            (&other, Some("spiffe://d/s"), "URI=spiffe://d/y"),
            (&one, Some("spiffe://d/t"), "By=spiffe://d/t"),
            (&one, None, "URI=spiffe://d/x"),
        ] {
            let (text, _) = told(caller, by);
            assert!(text != first.0 && text.contains(part), "{text}");
        }
    }
}
