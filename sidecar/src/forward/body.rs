//! Bodies on their way: streamed, never collected, with their trailers cleaned.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::headers;
use super::server::{Broken, Faults, Http1Body, http2};
use super::tunnel::Tunnel;
use super::upstream::{BodyError, Received};
use crate::connection::Connection;
use crate::generation::Generation;
use crate::observe::request::Record;
use crate::signal::Order;

/// What a caller sends after a request's head.
pub(super) enum CallerBody {
    Empty,
    Http1(Http1Body),
    Http2(http2::body::Body),
}

impl CallerBody {
    /// Tells what is found wrong with it.
    pub(super) fn faults(&self) -> Option<Faults> {
        match self {
            Self::Http1(body) => Some(body.faults()),
            // Of HTTP/2 the engine tells.
            Self::Empty | Self::Http2(_) => None,
        }
    }
}

/// Why a caller's body broke off. The source tells an HTTP/2 application with which code to reset the stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallerError {
    #[error(transparent)]
    Http1(Broken),
    #[error("the caller's stream broke off ({0})")]
    Http2(#[source] h2::Error),
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = CallerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallerError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => body.poll_frame(context).map_err(CallerError::Http1),
            Self::Http2(body) => body.poll_frame(context).map_err(CallerError::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.size_hint().exact() == Some(0),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// A request's body, on its way to the application.
pub(super) enum Outbound {
    Empty,
    Caller {
        body: CallerBody,
        /// Bytes that have been taken of it.
        sent: Rc<Cell<u64>>,
        /// By what the request was let in, and to which port: what its trailers are cleaned by.
        generation: Arc<Generation>,
        port: u16,
    },
}

impl Outbound {
    /// A caller's body, and a look at how much of it has gone.
    pub(super) fn caller(body: CallerBody, generation: Arc<Generation>, port: u16) -> (Self, Rc<Cell<u64>>) {
        let sent = Rc::new(Cell::new(0));
        (Self::Caller { body, sent: Rc::clone(&sent), generation, port }, sent)
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = CallerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallerError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Caller { body, sent, generation, port } => {
                Pin::new(body).poll_frame(context).map_ok(|frame| match frame.into_trailers() {
                    Ok(mut trailers) => {
                        headers::clean_trailers(&mut trailers);
                        headers::strip_late_keys(&mut trailers, generation, *port);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => {
                        let count = frame.data_ref().map_or(0, Bytes::len);
                        sent.set(sent.get() + count as u64);
                        frame
                    }
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Caller { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Caller { body, .. } => body.size_hint(),
        }
    }
}

/// Counts a request as in flight until its answer has been sent, or given up.
pub(super) struct InFlight {
    connection: Rc<Connection>,
    record: Option<Rc<Record>>,
}

impl InFlight {
    pub(super) fn start(connection: &Rc<Connection>) -> Self {
        connection.in_flight.set(connection.in_flight.get() + 1);
        connection.head_since.set(None);
        Self { connection: Rc::clone(connection), record: None }
    }

    /// What is told of the request ends with it.
    pub(super) fn observe(&mut self, record: &Rc<Record>) {
        self.record = Some(Rc::clone(record));
    }

    /// Something of the answer is on its way.
    pub(super) fn sends(&self, count: usize) {
        if let Some(record) = &self.record {
            record.sent(count);
        }
    }

    /// Something of what the caller sends has come.
    pub(super) fn receives(&self, count: usize) {
        if let Some(record) = &self.record {
            record.received(count);
        }
    }

    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.connection.in_flight.set(self.connection.in_flight.get().saturating_sub(1));
    }
}

/// An answer's body, on its way to the caller.
pub(super) struct Answer {
    source: Source,
    /// None for the head of a tunnel, which is in flight itself.
    in_flight: Option<InFlight>,
}

enum Source {
    Problem(Option<Bytes>),
    Application(Received),
    Tunnel(Box<(Tunnel, CallerBody)>),
}

impl Answer {
    /// A refusal's document.
    pub(super) fn problem(document: Vec<u8>, in_flight: InFlight) -> Self {
        // Nothing is an end at once, which answers to HEAD and gRPC's answers of trailers only must be.
        let document = (!document.is_empty()).then(|| document.into());
        Self { source: Source::Problem(document), in_flight: Some(in_flight) }
    }

    /// Nothing: a tunnel follows. Over HTTP/2 the caller's end of it came as a request's body.
    pub(super) fn tunnel(tunnel: Tunnel, caller: CallerBody) -> Self {
        Self { source: Source::Tunnel(Box::new((tunnel, caller))), in_flight: None }
    }

    /// The tunnel that follows, if one does, and what came as the request's body; without it there is no more to say.
    pub(super) fn take_tunnel(&mut self) -> Option<(Tunnel, CallerBody)> {
        match std::mem::replace(&mut self.source, Source::Problem(None)) {
            Source::Tunnel(tunnel) => Some(*tunnel),
            source => {
                self.source = source;
                None
            }
        }
    }

    /// What the application says.
    pub(super) fn application(body: Received, in_flight: InFlight) -> Self {
        Self { source: Source::Application(body), in_flight: Some(in_flight) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // What is revoked stops at once, in the middle of a stream too.
        let Self { source, in_flight } = &mut *self;
        let connection = in_flight.as_ref().map(InFlight::connection);
        if connection.is_some_and(|connection| connection.signal.order() == Order::Stop) {
            return Poll::Ready(Some(Err(BodyError::Stopped)));
        }
        let body = match source {
            Source::Problem(document) => return Poll::Ready(document.take().map(Frame::data).map(Ok)),
            Source::Application(body) => body,
            Source::Tunnel(_) => return Poll::Ready(None),
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if let (Some(in_flight), Some(Ok(frame))) = (&*in_flight, &frame)
            && let Some(data) = frame.data_ref()
        {
            in_flight.sends(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Problem(document) => document.is_none(),
            Source::Application(body) => body.is_end_stream(),
            Source::Tunnel(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Problem(document) => SizeHint::with_exact(document.as_ref().map_or(0, Bytes::len) as u64),
            Source::Application(body) => body.size_hint(),
            Source::Tunnel(_) => SizeHint::default(),
        }
    }
}
