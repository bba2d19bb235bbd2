//! A recorded request as a span, in the words of OpenTelemetry's semantic conventions for HTTP servers.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{Method, Version};

use super::otlp::{self, KeyValue};
use super::trace::Trace;
use crate::authorize::Code;

/// What a worker hands over; the rest is done on the control thread.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(super) trace: Trace,
    pub(super) ended: SystemTime,
    pub(super) took: Duration,
    /// Until the application had answered with a head.
    pub(super) waited: Duration,
    pub(super) method: Method,
    pub(super) path: Box<str>,
    pub(super) host: Option<Box<str>>,
    pub(super) version: Version,
    pub(super) peer: SocketAddr,
    pub(super) port: u16,
    pub(super) identity: Option<Box<str>>,
    pub(super) request_id: Option<Box<str>>,
    pub(super) route: Option<Box<str>>,
    pub(super) status: Option<u16>,
    pub(super) code: Option<Code>,
}

impl Finished {
    pub(super) fn into_span(self) -> otlp::Span {
        let end = self.ended.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let method = self.method.as_str();
        let mut attributes = vec![
            KeyValue::text("http.request.method", method),
            KeyValue::text("url.scheme", "https"),
            KeyValue::text("url.path", self.path),
            KeyValue::text("network.protocol.name", "http"),
            KeyValue::text("network.protocol.version", protocol_version(self.version)),
            KeyValue::text("client.address", self.peer.ip().to_canonical().to_string()),
            KeyValue::number("client.port", self.peer.port()),
            KeyValue::number("server.port", self.port),
            KeyValue::real("postern.upstream.duration", self.waited.as_secs_f64()),
        ];
        let texts = [
            ("server.address", self.host),
            ("http.route", self.route.clone()),
            ("postern.identity", self.identity),
            ("postern.request_id", self.request_id),
            ("postern.code", self.code.map(|code| code.as_str().into())),
        ];
        attributes.extend(texts.into_iter().filter_map(|(key, value)| Some(KeyValue::text(key, value?))));
        if let Some(status) = self.status {
            attributes.push(KeyValue::number("http.response.status_code", status));
        }
        // A server's span is an error where the server is at fault.
        let is_error = self.status.is_none_or(|status| status >= 500);
        if is_error {
            let kind = self.code.map_or_else(
                || self.status.map_or_else(|| "broken off".to_owned(), |status| status.to_string()),
                |code| code.as_str().to_owned(),
            );
            attributes.push(KeyValue::text("error.type", kind));
        }
        otlp::Span {
            trace_id: self.trace.trace_id.to_vec(),
            span_id: self.trace.span_id.to_vec(),
            parent_span_id: self.trace.parent.map_or_else(Vec::new, |parent| parent.to_vec()),
            name: self.route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
            kind: otlp::SERVER,
            start_time_unix_nano: nanoseconds(end.saturating_sub(self.took)),
            end_time_unix_nano: nanoseconds(end),
            attributes,
            status: is_error.then(|| otlp::Status {
                message: self.code.map_or("", Code::remedy).to_owned(),
                code: otlp::ERROR,
            }),
        }
    }
}

fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
