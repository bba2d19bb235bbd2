//! What comes on an HTTP/2 stream, from a caller or from an application.

use std::error::Error;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use hyper::body::Frame;

/// A body that is received. The other side may send on as far as it was taken.
pub(super) struct Receiving {
    stream: RecvStream,
    is_data_over: bool,
}

impl Receiving {
    pub(super) const fn new(stream: RecvStream) -> Self {
        Self { stream, is_data_over: false }
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.is_data_over {
            if let Some(data) = ready!(self.stream.poll_data(context)) {
                return Poll::Ready(Some(data.and_then(|data| self.take(data))));
            }
            self.is_data_over = true;
        }
        let trailers = ready!(self.stream.poll_trailers(context));
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }

    /// It is asked for only when there is room for it.
    fn take(&mut self, data: Bytes) -> Result<Frame<Bytes>, h2::Error> {
        self.stream.flow_control().release_capacity(data.len())?;
        Ok(Frame::data(data))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// What is received is no body, but one end of a tunnel.
    pub(super) fn into_stream(self) -> RecvStream {
        self.stream
    }
}

/// The code with which a peer that speaks HTTP/2 broke off, if that is where an error comes from and it gave one.
pub(super) fn reason(error: &(dyn Error + 'static)) -> Option<Reason> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason();
        }
        source = error.source();
    }
    None
}
