//! The one change of protocol that is served: WebSocket, over HTTP/1.1 (RFC 6455 section 4) and over HTTP/2
//! (RFC 8441). Everything else that asks for a tunnel is refused.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, Method, Request, StatusCode, Version};

use crate::authorize::{Code, Denial};

/// How a caller asks for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// `GET` with `Upgrade: websocket`; the whole connection becomes the tunnel.
    Upgrade,
    /// `CONNECT` with `:protocol` `websocket`; one stream becomes the tunnel.
    Connect,
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a request asks for beside an answer.
///
/// # Errors
/// [`Code::ConnectRefused`] for a tunnel to somewhere, [`Code::UpgradeRefused`] for another protocol,
/// [`Code::InvalidFraming`] for a WebSocket request that is none.
pub(super) fn wish<B>(request: &Request<B>) -> Result<Option<Wish>, Denial> {
    let refused = |what: &'static str| Err(Denial::new(Code::UpgradeRefused, what));
    let invalid = |what: &'static str| Err(Denial::new(Code::InvalidFraming, what));
    let headers = request.headers();
    if *request.method() == Method::CONNECT {
        return match request.extensions().get::<Protocol>() {
            Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => {
                if has_body(headers) {
                    invalid(NO_BODY)
                } else {
                    Ok(Some(Wish::Connect))
                }
            }
            Some(_) => refused("the request asks for a protocol other than WebSocket"),
            None => Err(Denial::new(Code::ConnectRefused, "CONNECT asks for a tunnel")),
        };
    }
    let mut protocols = headers.get_all(UPGRADE).iter();
    let protocol = match (protocols.next(), protocols.next()) {
        (None, _) if !names_upgrade(headers) => return Ok(None),
        (None, _) => return refused("the request asks for an upgrade and does not say to what"),
        (Some(protocol), None) if names_upgrade(headers) => protocol,
        (Some(_), None) => return refused("Upgrade is not named in Connection"),
        (Some(_), Some(_)) => return refused("the request asks for several protocols"),
    };
    if request.version() != Version::HTTP_11 {
        return refused("Upgrade belongs to HTTP/1.1 alone");
    }
    if !protocol.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return refused("the request asks for a protocol other than WebSocket");
    }
    if *request.method() != Method::GET {
        return invalid("a WebSocket is asked for by GET");
    }
    if has_body(headers) {
        return invalid(NO_BODY);
    }
    Ok(Some(Wish::Upgrade))
}

const NO_BODY: &str = "a request for a WebSocket has no body";

/// Whether bytes are announced that would be taken for the tunnel's by one reader and for the request's by another.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0")
}

/// Whether `Connection` names `upgrade`.
fn names_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// Whether an answer has begun the tunnel that was asked for by Upgrade.
///
/// # Errors
/// [`Code::ApplicationFailed`] for one that has begun another, or that leaves it open.
pub(super) fn is_switched(status: StatusCode, headers: &HeaderMap) -> Result<bool, Denial> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    let mut protocols = headers.get_all(UPGRADE).iter();
    match (protocols.next(), protocols.next()) {
        (Some(protocol), None)
            if protocol.as_bytes().eq_ignore_ascii_case(b"websocket") && names_upgrade(headers) =>
        {
            Ok(true)
        }
        _ => Err(Denial::new(
            Code::ApplicationFailed,
            "the application switched to another protocol than WebSocket, which was asked for",
        )),
    }
}

/// Makes headers of one hop ask for a WebSocket (RFC 6455 section 4.1), or grant it.
pub(super) fn name_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// The key of a WebSocket handshake, whose hash the answer must show (RFC 6455 section 4.2.2).
#[derive(Debug)]
pub(super) struct Key(HeaderValue);

impl Key {
    /// A new one, written into the headers, for an application that speaks HTTP/1.1 and a caller whose HTTP/2 has
    /// none.
    pub(super) fn ask(headers: &mut HeaderMap) -> Result<Self, Denial> {
        let mut random = [0; 16];
        let broken = |_| Denial::new(Code::ApplicationFailed, "no random number is to be had");
        rand::fill(&mut random).map_err(broken)?;
        let value = HeaderValue::try_from(STANDARD.encode(random))
            .map_err(|_| Denial::new(Code::ApplicationFailed, "the WebSocket key cannot be written"))?;
        headers.insert(SEC_WEBSOCKET_KEY, value.clone());
        Ok(Self(value))
    }

    /// The caller's, taken out of the headers, for an application whose HTTP/2 has none.
    pub(super) fn take(headers: &mut HeaderMap) -> Result<Self, Denial> {
        let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
        let key = match (keys.next(), keys.next()) {
            (Some(key), None) if STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16) => {
                key.clone()
            }
            _ => {
                let reason = "a WebSocket is asked for with exactly one Sec-WebSocket-Key of 16 bytes";
                return Err(Denial::new(Code::InvalidFraming, reason));
            }
        };
        headers.remove(SEC_WEBSOCKET_KEY);
        Ok(Self(key))
    }

    /// Grants it to the caller.
    pub(super) fn grant(&self, headers: &mut HeaderMap) {
        if let Ok(accept) = HeaderValue::try_from(self.accept()) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
    }

    /// Whether the application has granted it; HTTP/2 has no place for the answer, so it is taken out.
    pub(super) fn is_granted(&self, headers: &mut HeaderMap) -> Result<(), Denial> {
        let accept = headers.remove(SEC_WEBSOCKET_ACCEPT);
        if accept.is_some_and(|accept| accept.as_bytes() == self.accept().as_bytes()) {
            return Ok(());
        }
        Err(Denial::new(
            Code::ApplicationFailed,
            "the application's Sec-WebSocket-Accept does not belong to the key that was sent",
        ))
    }

    fn accept(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(self.0.as_bytes());
        context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        STANDARD.encode(context.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, lines: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn websocket_and_nothing_else() {
        let ours = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        for (case, method, lines, expected) in [
            ("nothing", "GET", &[][..], Ok(None)),
            ("another option", "GET", &[("connection", "close")], Ok(None)),
            ("websocket", "GET", &ours, Ok(Some(Wish::Upgrade))),
            ("by POST", "POST", &ours, Err(Code::InvalidFraming)),
            (
                "with a body",
                "GET",
                &[("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "3")],
                Err(Code::InvalidFraming),
            ),
            (
                "with an empty body",
                "GET",
                &[("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "0")],
                Ok(Some(Wish::Upgrade)),
            ),
            (
                "in chunks",
                "GET",
                &[("connection", "upgrade"), ("upgrade", "websocket"), ("transfer-encoding", "chunked")],
                Err(Code::InvalidFraming),
            ),
            ("h2c", "GET", &[("connection", "upgrade"), ("upgrade", "h2c")], Err(Code::UpgradeRefused)),
            (
                "a choice",
                "GET",
                &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
                Err(Code::UpgradeRefused),
            ),
            (
                "two headers",
                "GET",
                &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")],
                Err(Code::UpgradeRefused),
            ),
            ("not named", "GET", &[("upgrade", "websocket")], Err(Code::UpgradeRefused)),
            ("to what?", "GET", &[("connection", "upgrade")], Err(Code::UpgradeRefused)),
            ("a tunnel", "CONNECT", &[], Err(Code::ConnectRefused)),
        ] {
            assert_eq!(wish(&request(method, lines)).map_err(|denial| denial.code), expected, "{case}");
        }
        let mut old = request("GET", &ours);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(wish(&old).map_err(|denial| denial.code), Err(Code::UpgradeRefused));
    }

    #[test]
    fn extended_connect() {
        for (protocol, expected) in
            [("websocket", Ok(Some(Wish::Connect))), ("connect-udp", Err(Code::UpgradeRefused))]
        {
            let mut request = request("CONNECT", &[]);
            request.extensions_mut().insert(Protocol::from_static(protocol));
            assert_eq!(wish(&request).map_err(|denial| denial.code), expected, "{protocol}");
        }
        let mut long = request("CONNECT", &[("content-length", "3")]);
        long.extensions_mut().insert(Protocol::from_static("websocket"));
        assert_eq!(wish(&long).map_err(|denial| denial.code), Err(Code::InvalidFraming));
    }

    #[test]
    fn only_the_protocol_that_was_asked_for() {
        let headers = |lines: &[(&str, &str)]| request("GET", lines).headers().clone();
        let good = headers(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(is_switched(StatusCode::OK, &good), Ok(false));
        assert_eq!(is_switched(StatusCode::SWITCHING_PROTOCOLS, &good), Ok(true));
        for bad in [
            headers(&[("connection", "Upgrade"), ("upgrade", "h2c")]),
            headers(&[("connection", "Upgrade")]),
            headers(&[("upgrade", "websocket")]),
        ] {
            let outcome = is_switched(StatusCode::SWITCHING_PROTOCOLS, &bad);
            assert_eq!(outcome.map_err(|denial| denial.code), Err(Code::ApplicationFailed), "{bad:?}");
        }
    }

    /// RFC 6455 section 1.3.
    #[test]
    fn the_answer_to_a_key() {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        let key = Key::take(&mut headers).unwrap();
        assert!(headers.is_empty());
        key.grant(&mut headers);
        assert_eq!(headers[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(key.is_granted(&mut headers).is_ok() && headers.is_empty());
        assert!(key.is_granted(&mut headers).is_err());
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("short"));
        assert_eq!(Key::take(&mut headers).unwrap_err().code, Code::InvalidFraming);
        let (one, two) = (Key::ask(&mut headers).unwrap(), Key::ask(&mut headers).unwrap());
        assert_ne!(one.0, two.0);
        assert_eq!(headers[SEC_WEBSOCKET_KEY], two.0);
    }
}
