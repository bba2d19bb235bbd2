//! Schemas of what a request is made of: host names, header names, methods and paths.

use schemars::{Schema, SchemaGenerator};

use super::{LABEL, matches, set, text};

/// Host names, exact or with one wildcard label.
pub(crate) fn hostnames(_: &mut SchemaGenerator) -> Schema {
    let item = text(
        253,
        &[(
            matches(&format!(r"(\*\.)?({LABEL}\.)*[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?")),
            "write a DNS name in lower case, or '*.' and a DNS name: no address, no port, \
             no '*' elsewhere, no dot at the end",
        )],
    );
    set(16, &item)
}

/// The name of a header that may carry a secret. What a connection is run by, or a browser sends by itself, may not.
pub(crate) fn header_name(_: &mut SchemaGenerator) -> Schema {
    text(
        64,
        &[
            (
                matches("[A-Za-z][-A-Za-z0-9]*"),
                "write a header's name: letters, digits and '-', beginning with a letter",
            ),
            (
                matches(&format!("(?i:{})", RESERVED_HEADERS.join("|"))).replacen("self", "!self", 1),
                "this header has a meaning of its own on the way from the gateway: write another name, \
                 such as X-Gateway-Key",
            ),
        ],
    )
}

/// Names of headers, as regular expressions, that no lock may claim: what frames a message or belongs to one connection
/// (RFC 9110 section 7.6.1), what a browser sends by itself, and what the sidecar writes.
const RESERVED_HEADERS: &[&str] = &[
    "host",
    "connection",
    "content-.*",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-.*",
    "expect",
    "http2-settings",
    "cookie",
    "set-cookie.*",
    "origin",
    "referer",
    "range",
    "if-.*",
    "accept.*",
    "user-agent",
    "date",
    "via",
    "forwarded",
    "x-forwarded-.*",
    "x-request-id",
    "client-cert.*",
    "traceparent",
    "tracestate",
    "sec-.*",
];

/// Paths of an open port.
pub(crate) fn open_paths(_: &mut SchemaGenerator) -> Schema {
    set(16, &open_path())
}

/// A request's method.
pub(crate) fn method(_: &mut SchemaGenerator) -> Schema {
    text(
        32,
        &[
            (matches("[A-Z][-_A-Z]*"), "write the method in upper case, such as GET"),
            ("self != 'CONNECT'".to_owned(), "CONNECT is never forwarded: write another method"),
        ],
    )
}

/// A path in its canonical form, or the start of one.
pub(crate) fn path(_: &mut SchemaGenerator) -> Schema {
    path_within(1024)
}

/// A path of an open port. Ports times paths times length is what the API server's estimate of the rules' cost goes by.
fn open_path() -> Schema {
    path_within(512)
}

fn path_within(length: usize) -> Schema {
    text(
        length,
        &[
            ("self.startsWith('/')".to_owned(), "write a path that begins with '/'"),
            (
                "!self.contains('//') && !self.matches('/[.][.]?(/|;|$)')".to_owned(),
                "write the path as a server resolves it, without empty segments ('//') and without '.' and '..'",
            ),
            (
                "!self.contains('#') && !self.contains('?')".to_owned(),
                "write the path alone, without '?' and '#' and what follows them",
            ),
            (
                "!self.matches('%(2[fF]|5[cC]|23|25|[01][0-9a-fA-F]|7[fF])')".to_owned(),
                "the sidecar refuses requests with an encoded slash, backslash, '#', '%' or control character: \
                 write a path without %2F, %5C, %23, %25, %00 and their like",
            ),
            (
                r#"self.matches("^([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9A-F]{2})*$") && !self.matches('%(2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])')"#
                    .to_owned(),
                "write letters, digits and -._~!$&'()*+,;=:@/ as they are, and any other character \
                 as '%' with two upper-case hexadecimal digits",
            ),
        ],
    )
}
