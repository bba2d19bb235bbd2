//! What a caller tells of the certificate of whom it calls for, where its route lets it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{GetAll, HeaderMap, HeaderName, HeaderValue};

use super::headers::{CLIENT_CERT, FORWARDED_CLIENT_CERT};

const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Taken out of a request before what is reserved is removed from it.
pub(super) struct Told {
    /// Elements in Envoy's format.
    forwarded: Option<String>,
    client_cert: Option<HeaderValue>,
    chain: Vec<HeaderValue>,
}

impl Told {
    /// What of it is well formed.
    pub(super) fn take(headers: &HeaderMap) -> Self {
        let mut certificates = headers.get_all(CLIENT_CERT).iter();
        let client_cert = match (certificates.next(), certificates.next()) {
            (Some(only), None) if is_byte_sequence(only.as_bytes()) => Some(only.clone()),
            _ => None,
        };
        // RFC 9440 section 2.3: a list, of one line or several, and never without the certificate.
        let is_list = |value: &HeaderValue| {
            value.as_bytes().split(|byte| *byte == b',').all(|item| is_byte_sequence(item.trim_ascii()))
        };
        let chain = headers.get_all(CLIENT_CERT_CHAIN);
        let is_whole = client_cert.is_some() && chain.iter().all(is_list);
        let chain = if is_whole { chain.iter().cloned().collect() } else { Vec::new() };
        Self { forwarded: elements(&headers.get_all(FORWARDED_CLIENT_CERT)), client_cert, chain }
    }

    /// Writes it with the caller's own element after it. The other two headers tell of one certificate alone, so the
    /// caller's own doesn't take the place of one that isn't told.
    pub(super) fn write(self, headers: &mut HeaderMap, own: Option<&HeaderValue>) {
        let own = own.and_then(|own| own.to_str().ok());
        let all = match (self.forwarded, own) {
            (Some(told), Some(own)) => Some(format!("{told},{own}")),
            (told, own) => told.or_else(|| own.map(str::to_owned)),
        };
        if let Some(value) = all.and_then(|all| HeaderValue::try_from(all).ok()) {
            headers.insert(FORWARDED_CLIENT_CERT, value);
        }
        if let Some(client_cert) = self.client_cert {
            headers.insert(CLIENT_CERT, client_cert);
        }
        for value in self.chain {
            headers.append(CLIENT_CERT_CHAIN, value);
        }
    }
}

/// All elements in one line, if every quote in them has its end: what follows would be read as a part of it.
fn elements(values: &GetAll<'_, HeaderValue>) -> Option<String> {
    let mut lines = Vec::new();
    for value in values {
        let text = value.to_str().ok()?;
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
