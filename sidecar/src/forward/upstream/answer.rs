//! An answer's body as it comes from the application, over either version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{body, http2};

/// A body that comes from the application.
pub(in crate::forward) enum Received {
    Http1(body::Body),
    Http2(http2::Body),
}

/// A body that broke off. The source tells an HTTP/2 caller's engine with which code to reset the stream.
#[derive(Debug, thiserror::Error)]
pub(in crate::forward) enum BodyError {
    #[error("the caller is no longer let in")]
    Stopped,
    #[error("the application broke off")]
    Http1(#[source] body::Broken),
    #[error("the application reset the stream")]
    Http2(#[source] h2::Error),
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Http1(body) => {
                let frame = ready!(body.poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Http1)))
            }
            Self::Http2(body) => {
                let frame = ready!(body.poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Http2)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            // A Content-Length, if there is one, stands in the head; the engine has compared it.
            Self::Http2(body) if body.is_end_stream() => SizeHint::with_exact(0),
            Self::Http2(_) => SizeHint::default(),
        }
    }
}
