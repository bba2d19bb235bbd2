//! What a caller tells of the certificate of whom it calls for, where its route lets it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fields::{Fields, Name};

/// Taken out of a request, in which it is reserved.
pub(super) struct Told<'a> {
    /// Elements in Envoy's format.
    forwarded: Option<String>,
    client_cert: Option<&'a [u8]>,
    chain: Vec<&'a [u8]>,
}

impl<'a> Told<'a> {
    /// What of it is well formed.
    pub(super) fn take(fields: &'a Fields) -> Self {
        let client_cert = fields.only(Name::ClientCert).ok().flatten().filter(|only| is_byte_sequence(only));
        // RFC 9440 section 2.3: a list, of one line or several, and never without the certificate.
        let is_list =
            |value: &[u8]| value.split(|byte| *byte == b',').all(|item| is_byte_sequence(item.trim_ascii()));
        let is_whole = client_cert.is_some() && fields.values(Name::ClientCertChain).all(is_list);
        let chain = if is_whole { fields.values(Name::ClientCertChain).collect() } else { Vec::new() };
        Self { forwarded: elements(fields.values(Name::XForwardedClientCert)), client_cert, chain }
    }

    /// Says it with the caller's own element after it. The other two headers tell of one certificate alone, so the
    /// caller's own doesn't take the place of one that isn't told.
    pub(super) fn each(&self, own: Option<&str>, mut say: impl FnMut(Name, &[u8])) {
        let own = own.filter(|own| own.is_ascii());
        match (&self.forwarded, own) {
            (Some(told), Some(own)) => say(Name::XForwardedClientCert, format!("{told},{own}").as_bytes()),
            (Some(told), None) => say(Name::XForwardedClientCert, told.as_bytes()),
            (None, Some(own)) => say(Name::XForwardedClientCert, own.as_bytes()),
            (None, None) => {}
        }
        if let Some(client_cert) = self.client_cert {
            say(Name::ClientCert, client_cert);
        }
        for value in &self.chain {
            say(Name::ClientCertChain, value);
        }
    }
}

/// All elements in one line, if every quote in them has its end: what follows would be read as a part of it.
fn elements<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut lines = Vec::new();
    for value in values {
        let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
        if !is_closed(text) {
            return None;
        }
        lines.push(text.trim());
    }
    lines.retain(|line| !line.is_empty());
    (!lines.is_empty()).then(|| lines.join(","))
}

fn is_closed(text: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in text.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    !is_quoted
}

/// RFC 8941 section 3.3.5.
fn is_byte_sequence(value: &[u8]) -> bool {
    let inner = value.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":"));
    inner.is_some_and(|inner| !inner.is_empty() && STANDARD.decode(inner).is_ok())
}
