//! A request's body over HTTP/1.1, read off the connection as it is asked for.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::authorize::Denial;

/// Where bodies come from. A body is known by the number of its request on the connection.
pub(super) trait Source {
    fn poll_frame(
        &self,
        request: u64,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>>;

    /// How much is to come, as far as that is known.
    fn size_hint(&self, request: u64) -> SizeHint;

    /// What was found wrong with the body, if nobody has told yet.
    fn take_fault(&self) -> Option<Denial>;

    /// Nobody wants the rest.
    fn leave(&self, request: u64);
}

/// Why a caller's body broke off.
#[derive(Debug, thiserror::Error)]
pub(in crate::forward) enum Broken {
    #[error("the caller's connection failed")]
    Connection(#[source] io::Error),
    #[error("the caller's connection ended before the body did")]
    Short,
    #[error("the body's framing was refused")]
    Framing,
}

/// A body that is on its way.
pub(in crate::forward) struct Http1Body {
    source: Rc<dyn Source>,
    request: u64,
}

/// Tells what was found wrong with a body, also once somebody else takes it.
pub(in crate::forward) struct Faults(Rc<dyn Source>);

impl Http1Body {
    pub(super) fn new(source: Rc<dyn Source>, request: u64) -> Self {
        Self { source, request }
    }

    pub(in crate::forward) fn poll_frame(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.source.poll_frame(self.request, context)
    }

    pub(in crate::forward) fn size_hint(&self) -> SizeHint {
        self.source.size_hint(self.request)
    }

    pub(in crate::forward) fn faults(&self) -> Faults {
        Faults(Rc::clone(&self.source))
    }
}

impl Drop for Http1Body {
    fn drop(&mut self) {
        self.source.leave(self.request);
    }
}

impl Faults {
    /// The fault, once.
    pub(in crate::forward) fn take(&self) -> Option<Denial> {
        self.0.take_fault()
    }
}
