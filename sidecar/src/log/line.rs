//! One line for one request or one refusal: who, with what, issued by whom, by which rule, and what to do.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::LINES;
use crate::authorize::Denial;
use crate::authorize::denial::Stage;
use crate::identify::{Caller, Presented};

/// Room that most lines need.
const LENGTH: usize = 1024;

/// What a request was for, as far as it is known; already canonical or clipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Method.
    pub method: Option<&'a str>,
    /// Host.
    pub host: Option<&'a str>,
    /// Path, without its query.
    pub path: Option<&'a str>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: Option<&'a str>,
    /// Its id.
    pub request_id: Option<&'a str>,
    /// The trace that it belongs to (W3C Trace Context), lower-case hex.
    pub trace_id: Option<&'a str>,
}

/// Who called, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub enum Party<'a> {
    /// Nobody in particular.
    Unknown,
    /// A certificate that was not accepted.
    Presented(&'a Presented),
    /// A caller that proved who it is.
    Known(&'a Caller),
}

impl<'a> Party<'a> {
    /// How it is called.
    pub fn name(&self) -> Option<&'a str> {
        match self {
            Self::Known(caller) => Some(&caller.identity),
            Self::Presented(presented) => {
                Some(&presented.subject).filter(|name| !name.is_empty()).map(|it| &**it)
            }
            Self::Unknown => None,
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome<'a> {
    /// The route that let it in.
    pub route: Option<&'a str>,
    /// The name of the route's caller.
    pub user: Option<&'a str>,
    /// HTTP status.
    pub status: Option<u16>,
    /// Bytes of bodies, or of a connection, from the caller.
    pub received: Option<u64>,
    /// And to it.
    pub sent: Option<u64>,
    /// From the head to the end of the answer.
    pub took: Option<Duration>,
    /// Of it, until the application had answered with a head.
    pub waited: Option<Duration>,
}

#[derive(Default, Serialize)]
struct Line<'a> {
    timestamp: Cow<'a, str>,
    level: &'static str,
    target: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

/// One line for one refusal, whatever the log's level.
pub fn refusal(denial: &Denial, peer: SocketAddr, port: u16, party: Party<'_>, asked: Asked<'_>) {
    refused(denial, peer, port, party, asked, Outcome::default());
}

/// One line for one denial that is not carried out.
pub fn spared(denial: &Denial, peer: SocketAddr, port: u16, party: Party<'_>, asked: Asked<'_>) {
    denied("would deny", denial, peer, port, party, asked, Outcome::default());
}

/// As [`refusal`], with what else is known.
pub fn refused(
    denial: &Denial,
    peer: SocketAddr,
    port: u16,
    party: Party<'_>,
    asked: Asked<'_>,
    outcome: Outcome<'_>,
) {
    let is_the_applications = denial.code.stage() == Stage::Application;
    let message = if is_the_applications { "failed" } else { "refused" };
    denied(message, denial, peer, port, party, asked, outcome);
}

fn denied(
    message: &'static str,
    denial: &Denial,
    peer: SocketAddr,
    port: u16,
    party: Party<'_>,
    asked: Asked<'_>,
    outcome: Outcome<'_>,
) {
    let Some(lines) = LINES.get() else { return };
    let presented = match party {
        Party::Presented(presented) => Some(presented),
        _ => None,
    };
    let caller = match party {
        Party::Known(caller) => Some(caller),
        _ => None,
    };
    let fingerprint = caller.map(|caller| hex::encode(caller.fingerprint));
    lines.write(&Line {
        level: "WARN",
        message,
        code: Some(denial.code.as_str()),
        reason: Some(clip(&denial.reason)),
        remedy: Some(denial.code.remedy()),
        identity: caller.map(|caller| &*caller.identity),
        authority: caller.map(|caller| &*caller.authority),
        certificate: fingerprint.as_deref().or(presented.map(|it| it.sha256.as_str())),
        subject: presented.map(|it| it.subject.as_str()),
        issuer: presented.map(|it| it.issuer.as_str()),
        names: presented.map(|it| it.names.as_str()),
        ..Line::of(peer, port, asked, outcome)
    });
}

/// One line for one request or connection that was let in, at its end.
pub fn permit(peer: SocketAddr, port: u16, caller: Option<&Caller>, asked: Asked<'_>, outcome: Outcome<'_>) {
    let Some(lines) = LINES.get() else { return };
    lines.write(&Line {
        level: "INFO",
        message: "permitted",
        identity: caller.map(|caller| &*caller.identity),
        authority: caller.map(|caller| &*caller.authority),
        ..Line::of(peer, port, asked, outcome)
    });
}

impl<'a> Line<'a> {
    fn of(peer: SocketAddr, port: u16, asked: Asked<'a>, outcome: Outcome<'a>) -> Self {
        Self {
            timestamp: now().into(),
            target: "postern",
            peer: Some(peer),
            port,
            user: outcome.user,
            route: outcome.route,
            method: asked.method.map(clip),
            host: asked.host.map(clip),
            path: asked.path.map(clip),
            protocol: asked.protocol,
            status: outcome.status,
            received_bytes: outcome.received,
            sent_bytes: outcome.sent,
            duration_seconds: outcome.took.map(|took| took.as_secs_f64()),
            upstream_seconds: outcome.waited.map(|waited| waited.as_secs_f64()),
            request_id: asked.request_id,
            trace_id: asked.trace_id,
            ..Self::default()
        }
    }
}

/// Connections that a new configuration ends. A policy may end thousands at once, so their lines are put together
/// before they go to the queue. Whatever the log's level.
pub struct Ended {
    timestamp: String,
    lines: Vec<u8>,
    count: u64,
}

/// Of lines that are put together.
const TOGETHER: usize = 16 << 10;

impl Ended {
    /// As of now.
    pub fn now() -> Self {
        Self { timestamp: now(), lines: Vec::new(), count: 0 }
    }

    /// One line.
    pub fn add(&mut self, why: &str, peer: SocketAddr, port: u16, caller: Option<&Caller>) {
        if self.lines.len().saturating_add(LENGTH) > TOGETHER {
            self.hand_over();
        }
        self.lines.reserve(LENGTH);
        self.count += 1;
        let line = Line {
            timestamp: self.timestamp.as_str().into(),
            level: "INFO",
            target: "postern",
            message: why,
            peer: Some(peer),
            port,
            identity: caller.map(|caller| &*caller.identity),
            ..Line::default()
        };
        line.append(&mut self.lines);
    }

    fn hand_over(&mut self) {
        let (lines, count) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.count));
        if let Some(queue) = LINES.get().filter(|_| count > 0) {
            queue.take(lines, count);
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.hand_over();
    }
}

fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

impl Line<'_> {
    fn append(&self, to: &mut Vec<u8>) {
        let before = to.len();
        match serde_json::to_writer(&mut *to, self) {
            Ok(()) => to.push(b'\n'),
            // Strings and numbers always become JSON.
            Err(_) => to.truncate(before),
        }
    }
}

impl super::Queue {
    fn write(&self, line: &Line<'_>) {
        let mut text = Vec::with_capacity(LENGTH);
        line.append(&mut text);
        self.take(text, 1);
    }
}

/// A caller's text, so far as a line should hold it.
fn clip(text: &str) -> &str {
    crate::text::clip(text, 512)
}
