//! What an application speaks: said outright, or by the Service's `appProtocol`, or by the port's name, else HTTP.
//! Never guessed from bytes (SECURITY 5).

use postern_config::policy::Protocol;

/// What a Service or a port's name says about its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing.
    None,
    /// This.
    Protocol(Protocol),
    /// Something that the sidecar can't forward as what it is; the text says what it is.
    Unsupported(&'static str),
}

const TLS: &str = "TLS of its own, into which the sidecar can't look";

/// From `appProtocol` (KEP-1422; IANA names and `kubernetes.io/` ones), else from the port's name.
pub fn hint(app_protocol: Option<&str>, port_name: Option<&str>) -> Hint {
    match app_protocol.map(by_app_protocol) {
        Some(hint) if hint != Hint::None => hint,
        _ => port_name.map_or(Hint::None, by_port_name),
    }
}

fn by_app_protocol(text: &str) -> Hint {
    match text.to_ascii_lowercase().as_str() {
        "http" | "kubernetes.io/ws" | "grpc-web" => Hint::Protocol(Protocol::HTTP),
        "kubernetes.io/h2c" | "h2c" | "http2" | "grpc" => Hint::Protocol(Protocol::H2C),
        "https" | "kubernetes.io/wss" => Hint::Protocol(Protocol::HTTPS),
        "tls" => Hint::Unsupported(TLS),
        "" => Hint::None,
        // Whatever else it is, it is not HTTP.
        _ => Hint::Protocol(Protocol::TCP),
    }
}

/// `<protocol>` or `<protocol>-<suffix>`, as ports are commonly named; a name that says nothing is no hint.
fn by_port_name(name: &str) -> Hint {
    if name == "grpc-web" || name.starts_with("grpc-web-") {
        return Hint::Protocol(Protocol::HTTP);
    }
    match name.split('-').next().unwrap_or(name) {
        "http" => Hint::Protocol(Protocol::HTTP),
        "http2" | "h2c" | "grpc" => Hint::Protocol(Protocol::H2C),
        "https" => Hint::Protocol(Protocol::HTTPS),
        "tls" => Hint::Unsupported(TLS),
        "tcp" | "mysql" | "postgres" | "postgresql" | "redis" | "mongo" | "mongodb" | "amqp" | "kafka"
        | "mqtt" => Hint::Protocol(Protocol::TCP),
        _ => Hint::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_counts_before_the_name_and_neither_is_guessed() {
        let http = Hint::Protocol(Protocol::HTTP);
        let tcp = Hint::Protocol(Protocol::TCP);
        let h2c = Hint::Protocol(Protocol::H2C);
        let https = Hint::Protocol(Protocol::HTTPS);
        for (app_protocol, name, expected) in [
            (None, None, Hint::None),
            (None, Some("http"), http),
            (None, Some("http-admin"), http),
            (None, Some("httpd"), Hint::None),
            (None, Some("web"), Hint::None),
            (None, Some("tcp"), tcp),
            (None, Some("tcp-replica"), tcp),
            (None, Some("redis"), tcp),
            (None, Some("postgresql-replica"), tcp),
            (None, Some("grpc"), h2c),
            (None, Some("grpc-admin"), h2c),
            (None, Some("h2c"), h2c),
            (None, Some("grpc-web"), http),
            (None, Some("https"), https),
            (None, Some("tls-raw"), Hint::Unsupported(TLS)),
            (Some("http"), Some("tcp"), http),
            (Some("HTTP"), None, http),
            (Some("mysql"), Some("http"), tcp),
            (Some("example.com/own"), None, tcp),
            (Some("kubernetes.io/h2c"), Some("http"), h2c),
            (Some("grpc"), None, h2c),
            (Some("https"), Some("http"), https),
            (Some("kubernetes.io/ws"), None, http),
            (Some("kubernetes.io/wss"), None, https),
            (Some("tls"), Some("http"), Hint::Unsupported(TLS)),
            (Some(""), Some("tcp"), tcp),
        ] {
            assert_eq!(hint(app_protocol, name), expected, "{app_protocol:?} {name:?}");
        }
    }
}
