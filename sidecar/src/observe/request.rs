//! One request, from its head to the end of its answer: what is counted and told of it.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Version};

use super::span::Finished;
use super::trace::{Carried, Trace};
use crate::authorize::{Code, Denial, Permit};
use crate::connection::Connection;
use crate::fields::Name;
use crate::forward::RequestHead;
use crate::log::line::{self, Asked, Outcome};
use crate::metrics::WorkerMetrics;
use crate::text;
use crate::worker::Worker;

/// Bytes of a caller's text in a span.
const TEXT: usize = 512;

/// Told of when the last that knows of the request is dropped.
pub(crate) struct Record {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    version: Version,
    /// What was asked for, where something tells of it at the end.
    kept: Option<Box<Kept>>,
    started: Instant,
    waited: Cell<Duration>,
    waited_until: Cell<Option<Instant>>,
    /// Answered with, once it is known.
    status: Cell<Option<u16>>,
    sent: Cell<u64>,
    /// Bytes that have been taken of the body.
    body: OnceCell<Rc<Cell<u64>>>,
    /// Bytes of a tunnel.
    tunnelled: Cell<u64>,
    refused_with: Cell<Option<Code>>,
    trace: Option<Trace>,
    let_in_by: OnceCell<LetIn>,
}

/// What a request was for.
struct Kept {
    method: Method,
    path: Box<str>,
    host: Option<Box<str>>,
    id: Box<str>,
}

/// By which part of the policy.
struct LetIn {
    route: Box<str>,
    /// The caller of that route; none where a denial was not carried out.
    user: Option<Box<str>>,
}

impl Record {
    /// A request's head has come; its id is this.
    pub(crate) fn start<'a>(
        worker: &Rc<Worker>,
        connection: &Rc<Connection>,
        head: &RequestHead,
        id: impl FnOnce() -> &'a str,
    ) -> Rc<Self> {
        let trace = Trace::of(&head.fields, worker.sampling_ppm());
        let is_told = worker.access_log() || trace.is_some_and(|trace| trace.is_recorded);
        let kept = is_told.then(|| {
            let (method, path) = (head.method.clone(), shown(head.path()).into());
            Box::new(Kept { method, path, host: host(head).map(Into::into), id: id().into() })
        });
        Rc::new(Self {
            worker: Rc::clone(worker),
            connection: Rc::clone(connection),
            version: head.version,
            kept,
            started: Instant::now(),
            waited: Cell::default(),
            waited_until: Cell::default(),
            status: Cell::default(),
            sent: Cell::default(),
            body: OnceCell::new(),
            tunnelled: Cell::default(),
            refused_with: Cell::default(),
            trace,
            let_in_by: OnceCell::new(),
        })
    }

    /// The policy lets it in.
    pub(crate) fn permitted(&self, permit: &Permit<'_>) {
        if self.kept.is_some() {
            let route = permit.route().unwrap_or_default().into();
            // A request is judged once.
            let user = permit.caller().map(Into::into);
            let _ = self.let_in_by.set(LetIn { route, user });
        }
    }

    /// What the application gets to see of the request's trace.
    pub(crate) fn carried(&self, head: &RequestHead) -> Carried {
        Carried::of(&head.fields, self.trace.as_ref())
    }

    /// The application is waited for, until what comes back is dropped: none of that time is the sidecar's own.
    pub(crate) fn waits(&self) -> Waiting<'_> {
        Waiting { record: self, since: Instant::now() }
    }

    /// The answer's head is ready.
    pub(crate) fn answered(&self, status: u16) {
        self.status.set(Some(status));
        let metrics: &WorkerMetrics = &self.worker.metrics;
        metrics.request(self.version == Version::HTTP_2, status);
        // Between the two the answer's head was passed on, which takes less than asking the time.
        let took = self.waited_until.get().map_or_else(|| self.started.elapsed(), |end| end - self.started);
        metrics.work(took.saturating_sub(self.waited.get()));
    }

    /// It is refused, or the application failed it: told at once.
    pub(crate) fn refused(&self, denial: &Denial, head: &RequestHead, id: &str) {
        self.refused_with.set(Some(denial.code));
        self.worker.metrics.denial(denial.code);
        let (peer, port) = (self.connection.peer, self.connection.target.port);
        let outcome = Outcome {
            status: Some(denial.code.status().as_u16()),
            took: Some(self.started.elapsed()),
            ..self.outcome()
        };
        let trace_id = self.trace.as_ref().map(Trace::id);
        let path = shown(head.path());
        let asked = Asked { trace_id: trace_id.as_deref(), ..asked(head, &path, id) };
        line::refused(denial, peer, port, self.connection.party(), asked, outcome);
    }

    /// It would have been refused.
    pub(crate) fn spared(&self, denial: &Denial, head: &RequestHead, id: &str) {
        self.worker.spare(denial, &self.connection, asked(head, &shown(head.path()), id));
    }

    /// It has a body, of which so much has been taken.
    pub(crate) fn receives(&self, count: Rc<Cell<u64>>) {
        // A request has one body.
        let _ = self.body.set(count);
    }

    /// Bytes that a tunnel's caller sent.
    pub(crate) fn received(&self, count: usize) {
        self.tunnelled.set(self.tunnelled.get() + count as u64);
    }

    /// Bytes of the answer's body.
    pub(crate) fn sent(&self, count: usize) {
        self.sent.set(self.sent.get() + count as u64);
    }

    fn outcome(&self) -> Outcome<'_> {
        let let_in = self.let_in_by.get();
        let waited = self.waited.get();
        Outcome {
            route: let_in.map(|by| &*by.route),
            user: let_in.and_then(|by| by.user.as_deref()),
            waited: (!waited.is_zero()).then_some(waited),
            ..Outcome::default()
        }
    }
}

/// As HTTP/1.1's `Host` or the target names it.
fn host(head: &RequestHead) -> Option<&str> {
    let given = || std::str::from_utf8(head.fields.first(Name::Host)?).ok();
    // What is no host name could be made to look like something else in a log.
    head.authority().or_else(given).filter(|host| host.is_ascii())
}

const fn protocol(version: Version) -> &'static str {
    if matches!(version, Version::HTTP_2) { "HTTP/2" } else { "HTTP/1.1" }
}

/// A path as it may be told: HTTP/2's may be no ASCII, and terminals take some of that for commands.
fn shown(path: &str) -> Cow<'_, str> {
    if path.is_ascii() { path.into() } else { text::percent_encoded(path, |_| true).into() }
}

fn asked<'a>(head: &'a RequestHead, path: &'a str, id: &'a str) -> Asked<'a> {
    Asked {
        method: Some(head.method.as_str()),
        host: host(head),
        path: Some(path),
        protocol: Some(protocol(head.version)),
        request_id: Some(id),
        trace_id: None,
    }
}

impl Record {
    fn log(&self, kept: &Kept, trace_id: Option<&str>) {
        let outcome = Outcome {
            status: self.status.get(),
            received: Some(self.tunnelled.get() + self.body.get().map_or(0, |count| count.get())),
            sent: Some(self.sent.get()),
            took: Some(self.started.elapsed()),
            ..self.outcome()
        };
        let connection = &self.connection;
        let (peer, port) = (connection.peer, connection.target.port);
        let asked = Asked {
            method: Some(kept.method.as_str()),
            host: kept.host.as_deref(),
            path: Some(&kept.path),
            protocol: Some(protocol(self.version)),
            request_id: Some(&kept.id),
            trace_id,
        };
        line::permit(peer, port, connection.caller.as_deref(), asked, outcome);
    }

    fn finished(&self, kept: &Kept, trace: Trace) -> Finished {
        let connection = &self.connection;
        Finished {
            trace,
            ended: SystemTime::now(),
            took: self.started.elapsed(),
            waited: self.waited.get(),
            method: kept.method.clone(),
            path: text::clip(&kept.path, TEXT).into(),
            host: kept.host.as_ref().map(|host| text::clip(host, TEXT).into()),
            version: self.version,
            peer: connection.peer,
            port: connection.target.port,
            identity: connection.caller.as_ref().map(|caller| caller.identity.clone()),
            request_id: Some(kept.id.clone()),
            route: self.let_in_by.get().map(|by| by.route.clone()),
            status: self.status.get(),
            code: self.refused_with.get(),
        }
    }
}

/// A time in which the application is waited for.
pub(crate) struct Waiting<'a> {
    record: &'a Record,
    since: Instant,
}

impl Waiting<'_> {
    /// When it began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (waited, now) = (&self.record.waited, Instant::now());
        waited.set(waited.get() + (now - self.since));
        self.record.waited_until.set(Some(now));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Some(kept) = &self.kept else { return };
        if self.refused_with.get().is_none() && self.worker.access_log() {
            self.log(kept, self.trace.as_ref().map(Trace::id).as_deref());
        }
        if let Some(trace) = self.trace.filter(|trace| trace.is_recorded) {
            self.worker.spans().send(self.finished(kept, trace));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    #[test]
    fn no_caller_writes_what_a_terminal_takes_for_a_command() {
        for (path, expected) in [("/a%20b", "/a%20b"), ("/\u{9b}2J/\u{202e}x", "/%C2%9B2J/%E2%80%AEx")] {
            assert_eq!(shown(path), expected);
        }
        let mut head = RequestHead::of_target(Method::GET, &Uri::from_static("/"));
        head.fields.add(Name::Host, "a\u{9b}2J".as_bytes());
        assert_eq!(host(&head), None);
        head.fields.set(Name::Host, b"a");
        assert_eq!(host(&head), Some("a"));
    }
}
