//! Headers: nothing that is the sidecar's own, or one hop's, gets through, however it is spelt.

use std::collections::BTreeSet;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use postern_sidecar::fields::Fields;
use postern_sidecar::forward::headers::{clean, clean_trailers};

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];
const RESERVED: &[&str] = &["x-forwarded-client-cert", "client-cert", "client-cert-chain"];
const NOT_IN_TRAILERS: &[&str] = &[
    "authorization",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "cookie",
    "host",
    "trailer",
    "expect",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

/// Headers as lines `name: value`.
pub fn check(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let named = named_by_connection(&headers);

    let cleaned =
        |headers: &HeaderMap| clean(&Fields::of_map(headers)).into_map().expect("what was a map is one");
    let once = cleaned(&headers);
    judge(&once, &named);
    assert_eq!(cleaned(&once), once, "doing it twice changes nothing");
    for name in once.keys() {
        assert!(headers.contains_key(name), "nothing is made up: {name}");
    }
    let is_kept = |name: &str| {
        let spelt = name.replace('_', "-");
        HOP_BY_HOP.contains(&name)
            || RESERVED.contains(&&*spelt)
            || named.contains(name)
            || name == "expect"
            || once.contains_key(name)
            || (name.contains('_') && NOT_IN_TRAILERS.contains(&&*spelt))
    };
    for name in headers.keys() {
        assert!(is_kept(name.as_str()), "{name} is lost");
    }

    let mut trailers = headers;
    clean_trailers(&mut trailers);
    judge(&trailers, &named);
    for name in trailers.keys() {
        assert!(
            !NOT_IN_TRAILERS.contains(&&*name.as_str().replace('_', "-")) || name.as_str().contains('_'),
            "{name}"
        );
    }
    let once = trailers.clone();
    clean_trailers(&mut trailers);
    assert_eq!(trailers, once);
}

fn judge(headers: &HeaderMap, named: &BTreeSet<String>) {
    for name in headers.keys().map(HeaderName::as_str) {
        assert!(!HOP_BY_HOP.contains(&name), "{name}");
        assert!(!RESERVED.contains(&&*name.replace('_', "-")), "{name}");
        assert!(!named.contains(name), "{name} belongs to one hop");
    }
    assert!(headers.get_all("cookie").iter().count() <= 1 || !headers.contains_key("cookie"));
}

/// Read in another way than the sidecar does.
fn named_by_connection(headers: &HeaderMap) -> BTreeSet<String> {
    let values = headers.get_all("connection").into_iter();
    let all = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let all = all.collect::<Vec<_>>().join(",");
    all.split(',')
        .map(|option| option.trim_matches([' ', '\t']).to_owned())
        .filter(|it| !it.is_empty())
        .collect()
}
