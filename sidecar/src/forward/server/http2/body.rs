//! What a caller sends after a request's head.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Frame, SizeHint};

use crate::fields::Fields;
use crate::forward::framing;
use crate::forward::receiving::Receiving;

/// A request's body.
pub(in crate::forward) struct Body {
    receiving: Receiving,
    /// How much is still to come, where the head says it; the h2 crate sees to it that as much does.
    left: Option<u64>,
}

impl Body {
    pub(super) fn new(receiving: RecvStream, fields: &Fields) -> Self {
        // Whatever else is said of it is refused before the body is looked at.
        Self { receiving: Receiving::new(receiving), left: framing::length(fields) }
    }

    pub(in crate::forward) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        self.receiving.poll_frame(context).map_ok(|frame| {
            if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                *left = left.saturating_sub(data.len() as u64);
            }
            frame
        })
    }

    pub(in crate::forward) fn is_end_stream(&self) -> bool {
        self.receiving.is_end_stream()
    }

    pub(in crate::forward) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// What is received is no body, but the caller's end of a tunnel.
    pub(in crate::forward) fn into_stream(self) -> RecvStream {
        self.receiving.into_stream()
    }
}
