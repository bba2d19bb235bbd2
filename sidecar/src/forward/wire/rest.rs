//! What follows the head of a request or an answer (RFC 9112 section 6.3).

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};

use super::chunked::TRAILERS;
use super::decoder::Decoder;
use super::{answer, head, take};
use crate::authorize::Denial;

/// Takes a body out of the bytes of a connection, and knows where it ends.
#[derive(Debug)]
pub(in crate::forward) struct Rest(Framing);

#[derive(Debug)]
enum Framing {
    Over,
    Length(u64),
    Chunked(Decoder),
    UntilClose,
}

impl Rest {
    /// Of an answer.
    pub(in crate::forward) fn new(body: answer::Body) -> Self {
        Self(match body {
            answer::Body::None | answer::Body::Length(0) => Framing::Over,
            answer::Body::Length(length) => Framing::Length(length),
            answer::Body::Chunked => Framing::Chunked(Decoder::new(TRAILERS)),
            answer::Body::UntilClose => Framing::UntilClose,
        })
    }

    /// Of a request, which may have so many trailers.
    pub(super) fn of_request(body: head::Body, trailers: usize) -> Self {
        Self(match body {
            head::Body::None | head::Body::Length(0) => Framing::Over,
            head::Body::Length(length) => Framing::Length(length),
            head::Body::Chunked => Framing::Chunked(Decoder::new(trailers)),
        })
    }

    /// Takes what is there of the body, or its trailers. Of what follows it nothing is taken.
    ///
    /// # Errors
    /// If its chunks are none.
    pub(in crate::forward) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Denial> {
        while !bytes.is_empty() {
            match &mut self.0 {
                Framing::Over => return Ok(None),
                Framing::UntilClose => return Ok(Some(Frame::data(bytes.split().freeze()))),
                Framing::Length(left) => {
                    let count = take(left, bytes.len());
                    if *left == 0 {
                        self.0 = Framing::Over;
                    }
                    return Ok(Some(Frame::data(bytes.split_to(count).freeze())));
                }
                Framing::Chunked(decoder) => {
                    let found = decoder.decode(bytes)?;
                    bytes.advance(found.framing);
                    if let Some(trailers) = found.end {
                        self.0 = Framing::Over;
                        return Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)));
                    }
                    if found.data > 0 {
                        return Ok(Some(Frame::data(bytes.split_to(found.data).freeze())));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The connection has ended. False if the body had not.
    pub(in crate::forward) fn close(&mut self) -> bool {
        if matches!(self.0, Framing::UntilClose) {
            self.0 = Framing::Over;
        }
        self.is_over()
    }

    /// Whether nothing more is to come.
    pub(in crate::forward) const fn is_over(&self) -> bool {
        matches!(self.0, Framing::Over)
    }

    /// How much is to come, as far as that is known.
    pub(in crate::forward) fn size_hint(&self) -> SizeHint {
        match self.0 {
            Framing::Over => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::default(),
        }
    }
}
