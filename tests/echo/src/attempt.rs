//! One try to get in, and how it ended, as they travel between a test and an attacker's pod.

use serde::{Deserialize, Serialize};

/// One try.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attempt {
    /// IP address (IPv6 without brackets, a link-local one with `%` and the interface) or DNS name.
    pub address: String,
    /// TCP or UDP port.
    pub port: u16,
    /// TLS over TCP, if present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What is sent.
    pub payload: Payload,
    /// When to give up, for the whole of it.
    pub timeout_ms: u64,
}

impl Attempt {
    /// The same with another payload; over TLS, HTTP's version is offered by ALPN.
    #[must_use]
    pub fn with(mut self, payload: Payload) -> Self {
        if let (Some(tls), Payload::Http { h2, .. } | Payload::WebSocket { h2, .. }) =
            (&mut self.tls, &payload)
        {
            tls.alpn = vec![if *h2 { "h2" } else { "http/1.1" }.to_owned()];
        }
        self.payload = payload;
        self
    }
}

/// The client's side of the handshake.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// SNI and the name to verify; absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Root certificates (PEM) for the server; absent: any server will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
    /// The client certificate; absent: none is presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Protocols offered by ALPN, in order.
    #[serde(default)]
    pub alpn: Vec<String>,
}

/// A certificate with its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// Chain, PEM, leaf first.
    pub certificate: String,
    /// PKCS#8 PEM.
    pub key: String,
}

/// What is sent once connected.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Payload {
    /// One HTTP request.
    Http {
        /// HTTP/2 (with prior knowledge where there is no TLS) instead of HTTP/1.1.
        #[serde(default)]
        h2: bool,
        /// The method.
        method: String,
        /// The request target's path and query.
        path: String,
        /// Host or `:authority`.
        host: String,
        /// Further headers, in order.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body; empty: none.
        #[serde(default)]
        body: String,
    },
    /// A WebSocket, over which messages are sent one by one, each once the one before has come back.
    WebSocket {
        /// By RFC 8441 over HTTP/2, instead of by RFC 6455 over HTTP/1.1.
        #[serde(default)]
        h2: bool,
        /// The request target's path and query.
        path: String,
        /// Host or `:authority`.
        host: String,
        /// Texts.
        messages: Vec<String>,
    },
    /// These bytes over TCP, as they are; then whatever comes back is read.
    Bytes {
        /// Sent first; may be empty.
        text: String,
    },
    /// One UDP datagram, and the first that comes back.
    Datagram {
        /// Sent.
        text: String,
    },
}

/// A try that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// How it ended.
    pub outcome: Outcome,
    /// Our end of the connection, if there was one; by it the sidecar's log names us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<std::net::SocketAddr>,
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The connection was refused by RST, or a datagram by ICMP.
    Refused,
    /// No answer in time; connected or not.
    Timeout {
        /// What was being waited for.
        during: String,
    },
    /// The peer closed in order without a byte of data.
    ClosedWithoutData,
    /// The peer reset an established connection without a byte of data.
    Reset,
    /// No way to the peer, or no such name.
    Unreachable {
        /// The system's words.
        error: String,
    },
    /// The peer ended TLS by an alert, during the handshake or (as TLS 1.3 does for a client certificate) right
    /// after it.
    TlsAlert {
        /// As rustls names it: `CertificateRequired`, `UnknownCA`, `BadCertificate` …
        name: String,
    },
    /// We ended TLS, because of the server's certificate for example, or what came was no TLS.
    TlsError {
        /// Why.
        error: String,
    },
    /// An HTTP answer.
    Http {
        /// Its status.
        status: u16,
        /// `HTTP/1.1` or `HTTP/2.0`.
        version: String,
        /// In order.
        headers: Vec<(String, String)>,
        /// As text.
        body: String,
        /// In order.
        trailers: Vec<(String, String)>,
    },
    /// A WebSocket was granted.
    WebSocket {
        /// Of the answer that granted it, in order.
        headers: Vec<(String, String)>,
        /// What came over it, the server's first word included.
        messages: Vec<String>,
    },
    /// An answer was no HTTP, or ended early.
    HttpError {
        /// Why.
        error: String,
    },
    /// Bytes came back.
    Bytes {
        /// As text.
        text: String,
    },
}

impl Outcome {
    /// Whether the application (or the TLS end in front of it) let the call in: 2xx, or bytes.
    pub fn got_in(&self) -> bool {
        match self {
            Self::Http { status, .. } => (200..300).contains(status),
            Self::Bytes { .. } | Self::WebSocket { .. } => true,
            _ => false,
        }
    }

    /// The HTTP status, also of an answer that was read as bytes.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            Self::Bytes { text } => text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok(),
            _ => None,
        }
    }

    /// In a few words, for tables.
    pub fn brief(&self) -> String {
        match self {
            Self::Refused => "refused (RST)".into(),
            Self::Timeout { during } => format!("timeout ({during})"),
            Self::ClosedWithoutData => "closed without data".into(),
            Self::Reset => "reset".into(),
            Self::Unreachable { error } => format!("unreachable: {error}"),
            Self::TlsAlert { name } => format!("TLS alert {name}"),
            Self::TlsError { error } => format!("TLS error: {error}"),
            Self::Http { status, .. } => format!("HTTP {status}"),
            Self::WebSocket { messages, .. } => format!("a WebSocket with {} messages", messages.len()),
            Self::HttpError { error } if error.contains("HTTP version") => "an answer that is no HTTP".into(),
            Self::HttpError { error } => format!("no HTTP answer: {error}"),
            Self::Bytes { text } => {
                let start: String = text.chars().take(24).collect();
                format!("bytes {start:?}")
            }
        }
    }
}
