//! The one change of protocol that is served: WebSocket, over HTTP/1.1 (RFC 6455 section 4) and over HTTP/2
//! (RFC 8441). Everything else that asks for a tunnel is refused.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode, Version};

use super::message::RequestHead;
use crate::authorize::{Code, Denial};
use crate::fields::{Fields, Name};

/// How a caller asks for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// `GET` with `Upgrade: websocket`; the whole connection becomes the tunnel.
    Upgrade,
    /// `CONNECT` with `:protocol` `websocket`; one stream becomes the tunnel.
    Connect,
}

/// What a request asks for beside an answer.
///
/// # Errors
/// [`Code::ConnectRefused`] for a tunnel to somewhere, [`Code::UpgradeRefused`] for another protocol,
/// [`Code::InvalidFraming`] for a WebSocket request that is none.
pub(super) fn wish(head: &RequestHead) -> Result<Option<Wish>, Denial> {
    let refused = |what: &'static str| Err(Denial::new(Code::UpgradeRefused, what));
    let invalid = |what: &'static str| Err(Denial::new(Code::InvalidFraming, what));
    let fields = &head.fields;
    if head.method == Method::CONNECT {
        return match &head.protocol {
            Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => {
                if has_body(fields) {
                    invalid(NO_BODY)
                } else {
                    Ok(Some(Wish::Connect))
                }
            }
            Some(_) => refused("the request asks for a protocol other than WebSocket"),
            None => Err(Denial::new(Code::ConnectRefused, "CONNECT asks for a tunnel")),
        };
    }
    let mut protocols = fields.values(Name::Upgrade);
    let protocol = match (protocols.next(), protocols.next()) {
        (None, _) if !names_upgrade(fields) => return Ok(None),
        (None, _) => return refused("the request asks for an upgrade and does not say to what"),
        (Some(protocol), None) if names_upgrade(fields) => protocol,
        (Some(_), None) => return refused("Upgrade is not named in Connection"),
        (Some(_), Some(_)) => return refused("the request asks for several protocols"),
    };
    if head.version != Version::HTTP_11 {
        return refused("Upgrade belongs to HTTP/1.1 alone");
    }
    if !protocol.eq_ignore_ascii_case(b"websocket") {
        return refused("the request asks for a protocol other than WebSocket");
    }
    if head.method != Method::GET {
        return invalid("a WebSocket is asked for by GET");
    }
    if has_body(fields) {
        return invalid(NO_BODY);
    }
    Ok(Some(Wish::Upgrade))
}

const NO_BODY: &str = "a request for a WebSocket has no body";

/// Whether bytes are announced that would be taken for the tunnel's by one reader and for the request's by another.
fn has_body(fields: &Fields) -> bool {
    fields.contains(Name::TransferEncoding) || fields.values(Name::ContentLength).any(|length| length != b"0")
}

/// Whether `Connection` names `upgrade`.
fn names_upgrade(fields: &Fields) -> bool {
    let options = fields.values(Name::Connection).flat_map(|value| value.split(|byte| *byte == b','));
    options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// Whether an answer has begun the tunnel that was asked for by Upgrade.
///
/// # Errors
/// [`Code::ApplicationFailed`] for one that has begun another, or that leaves it open.
pub(super) fn is_switched(status: StatusCode, fields: &Fields) -> Result<bool, Denial> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    match fields.only(Name::Upgrade) {
        Ok(Some(protocol)) if protocol.eq_ignore_ascii_case(b"websocket") && names_upgrade(fields) => {
            Ok(true)
        }
        _ => Err(Denial::new(
            Code::ApplicationFailed,
            "the application switched to another protocol than WebSocket, which was asked for",
        )),
    }
}

/// Makes headers of one hop ask for a WebSocket (RFC 6455 section 4.1), or grant it.
pub(super) fn name_websocket(fields: &mut Fields) {
    fields.set(Name::Connection, b"Upgrade");
    fields.set(Name::Upgrade, b"websocket");
}

/// The key of a WebSocket handshake, whose hash the answer must show (RFC 6455 section 4.2.2).
#[derive(Debug)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// A new one, written into the headers, for an application that speaks HTTP/1.1 and a caller whose HTTP/2 has
    /// none.
    pub(super) fn ask(fields: &mut Fields) -> Result<Self, Denial> {
        let mut random = [0; 16];
        let broken = |_| Denial::new(Code::ApplicationFailed, "no random number is to be had");
        rand::fill(&mut random).map_err(broken)?;
        let key = STANDARD.encode(random).into_bytes();
        fields.set(Name::SecWebSocketKey, &key);
        Ok(Self(key))
    }

    /// The caller's, taken out of the headers, for an application whose HTTP/2 has none.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Denial> {
        let key = match fields.only(Name::SecWebSocketKey) {
            Ok(Some(key)) if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) => key.to_vec(),
            _ => {
                let reason = "a WebSocket is asked for with exactly one Sec-WebSocket-Key of 16 bytes";
                return Err(Denial::new(Code::InvalidFraming, reason));
            }
        };
        fields.remove(Name::SecWebSocketKey);
        Ok(Self(key))
    }

    /// Grants it to the caller.
    pub(super) fn grant(&self, fields: &mut Fields) {
        fields.set(Name::SecWebSocketAccept, self.accept().as_bytes());
    }

    /// Whether the application has granted it; HTTP/2 has no place for the answer, so it is taken out.
    pub(super) fn is_granted(&self, fields: &mut Fields) -> Result<(), Denial> {
        let is_right =
            fields.first(Name::SecWebSocketAccept).is_some_and(|it| it == self.accept().as_bytes());
        fields.remove(Name::SecWebSocketAccept);
        if is_right {
            return Ok(());
        }
        Err(Denial::new(
            Code::ApplicationFailed,
            "the application's Sec-WebSocket-Accept does not belong to the key that was sent",
        ))
    }

    fn accept(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(&self.0);
        context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        STANDARD.encode(context.finish())
    }
}

#[cfg(test)]
mod tests {
    use h2::ext::Protocol;
    use http::Uri;

    use super::*;

    fn request(method: &str, lines: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::of_target(method.parse().unwrap(), &Uri::from_static("/"));
        for (name, value) in lines {
            head.fields.push(name, value.as_bytes());
        }
        head
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
        old.version = Version::HTTP_10;
        assert_eq!(wish(&old).map_err(|denial| denial.code), Err(Code::UpgradeRefused));
    }

    #[test]
    fn extended_connect() {
        for (protocol, expected) in
            [("websocket", Ok(Some(Wish::Connect))), ("connect-udp", Err(Code::UpgradeRefused))]
        {
            let mut request = request("CONNECT", &[]);
            request.protocol = Some(Protocol::from_static(protocol));
            assert_eq!(wish(&request).map_err(|denial| denial.code), expected, "{protocol}");
        }
        let mut long = request("CONNECT", &[("content-length", "3")]);
        long.protocol = Some(Protocol::from_static("websocket"));
        assert_eq!(wish(&long).map_err(|denial| denial.code), Err(Code::InvalidFraming));
    }

    #[test]
    fn only_the_protocol_that_was_asked_for() {
        let headers = |lines: &[(&str, &str)]| request("GET", lines).fields;
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
        let mut fields = Fields::new();
        fields.add(Name::SecWebSocketKey, b"dGhlIHNhbXBsZSBub25jZQ==");
        let key = Key::take(&mut fields).unwrap();
        assert!(fields.is_empty());
        key.grant(&mut fields);
        assert_eq!(fields.first(Name::SecWebSocketAccept), Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]));
        assert!(key.is_granted(&mut fields).is_ok() && fields.is_empty());
        assert!(key.is_granted(&mut fields).is_err());
        fields.add(Name::SecWebSocketKey, b"short");
        assert_eq!(Key::take(&mut fields).unwrap_err().code, Code::InvalidFraming);
        let (one, two) = (Key::ask(&mut fields).unwrap(), Key::ask(&mut fields).unwrap());
        assert_ne!(one.0, two.0);
        assert_eq!(fields.only(Name::SecWebSocketKey), Ok(Some(&two.0[..])));
    }
}
