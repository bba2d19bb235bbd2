//! What a caller sends after a request's head.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use hyper::body::{Frame, SizeHint};

/// A request's body. The caller may send on as far as it was taken.
pub(in crate::forward) struct Body {
    receiving: RecvStream,
    /// How much is still to come, where the head says it; the h2 crate sees to it that as much does.
    left: Option<u64>,
    is_data_over: bool,
}

impl Body {
    pub(super) fn new(receiving: RecvStream, headers: &HeaderMap) -> Self {
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        // Whatever else is said of it is refused before the body is looked at.
        let left = match (lengths.next(), lengths.next()) {
            (Some(length), None) => length.to_str().ok().and_then(|length| length.parse().ok()),
            _ => None,
        };
        Self { receiving, left, is_data_over: false }
    }

    pub(in crate::forward) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.is_data_over {
            if let Some(data) = ready!(self.receiving.poll_data(context)) {
                return Poll::Ready(Some(data.and_then(|data| self.take(data))));
            }
            self.is_data_over = true;
        }
        let trailers = ready!(self.receiving.poll_trailers(context));
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }

    /// It is asked for only when there is room for it.
    fn take(&mut self, data: Bytes) -> Result<Frame<Bytes>, h2::Error> {
        self.receiving.flow_control().release_capacity(data.len())?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data.len() as u64);
        }
        Ok(Frame::data(data))
    }

    pub(in crate::forward) fn is_end_stream(&self) -> bool {
        self.receiving.is_end_stream()
    }

    pub(in crate::forward) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// What is received is no body, but the caller's end of a tunnel.
    pub(in crate::forward) fn into_stream(self) -> RecvStream {
        self.receiving
    }
}
