//! The bytes themselves: of HTTP/1.1 on both sides, of HTTP/2 as the engine writes them.
//!
//! Every head is judged by its bytes, so that nothing is believed that two readers could read in two ways, and what is
//! passed on is written anew in one framing. What is refused is answered like anything else: with a problem document, in
//! its turn, after the answers to earlier requests.
//!
//! * [`request`] reads heads of requests, [`answer`] those of answers, [`rest`] their bodies, which [`decoder`] takes out
//!   of their chunks.
//! * [`sending`] writes a request anew, [`answering`] an answer.
//! * [`head`] judges one whole head, [`chunked`] follows one body: pure, by the byte.
//! * [`frames`] notices what the engine refuses by itself in HTTP/2, which needs a decoder to be judged before.

pub(super) mod answer;
mod answering;
mod chunked;
mod decoder;
mod frames;
mod head;
pub(super) mod request;
mod rest;
mod sending;

pub(super) use self::answering::Asked;
pub(super) use self::chunked::{TRAILER_BYTES, TRAILERS};
pub(super) use self::frames::{Frames, Refusal};
pub(super) use self::head::too_long;
pub(super) use self::request::too_large;
pub(super) use self::rest::Rest;
pub(super) use self::sending::{Fault, Sending};

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Body;

use self::answer::Heads;
use crate::authorize::{Code, Denial};
use crate::limits::Limits;

/// What a head may hold at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of it.
    pub(super) head: usize,
    /// Bytes of its target.
    pub(super) target: usize,
    /// Header lines.
    pub(super) headers: usize,
}

impl Bounds {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            head: usize::try_from(limits.header_bytes).unwrap_or(usize::MAX),
            target: limits.target_bytes,
            headers: limits.header_count,
        }
    }
}

/// Of `left` bytes that are to come takes as many as are there.
fn take(left: &mut u64, there: usize) -> usize {
    let taken = usize::try_from(*left).map_or(there, |left| left.min(there));
    *left -= taken as u64;
    taken
}

/// A request as it was read off a connection.
#[derive(Debug)]
pub struct Asking {
    /// Its head.
    pub head: Request<()>,
    /// Its body, out of its chunks if it came in some.
    pub body: Vec<u8>,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// Whether all of it has come.
    pub is_whole: bool,
    /// Whether the connection may be used again.
    pub keeps: bool,
}

/// Reads requests off a connection that carries these pieces, and why no more were read: for proofs that need no
/// connection. Other protocols are never spoken.
pub fn read_requests<'a>(
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Asking>, Option<Denial>) {
    let mut requests: Vec<Asking> = Vec::new();
    let (mut heads, mut buffer, mut rest) = (request::Heads::new(limits), BytesMut::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            if let (Some(body), Some(request)) = (&mut rest, requests.last_mut()) {
                match read_body(body, &mut buffer, request) {
                    Ok(true) => rest = None,
                    Ok(false) => break,
                    Err(denial) => return (requests, Some(denial)),
                }
            }
            match heads.take(&mut buffer) {
                Ok(None) => break,
                Ok(Some(head)) => {
                    rest = Some(head.body);
                    let (body, trailers, is_whole) = (Vec::new(), None, false);
                    requests.push(Asking { head: head.request, body, trailers, is_whole, keeps: head.keeps });
                }
                Err(denial) => return (requests, Some(denial)),
            }
        }
    }
    (requests, None)
}

fn read_body(rest: &mut Rest, buffer: &mut BytesMut, request: &mut Asking) -> Result<bool, Denial> {
    while let Some(frame) = rest.take(buffer)? {
        match frame.into_data() {
            Ok(data) => request.body.extend_from_slice(&data),
            Err(frame) => request.trailers = frame.into_trailers().ok(),
        }
    }
    request.is_whole = rest.is_over();
    Ok(request.is_whole)
}

/// An answer as it was read off a connection.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Response<()>,
    /// Its body, out of its chunks if it came in some.
    pub body: Vec<u8>,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// Bytes that came after it, and belong to nothing.
    pub left: usize,
}

/// Reads the answer to a request with this method off a connection that carries these pieces and then ends: for proofs
/// that need no connection.
///
/// # Errors
/// If it is refused, or not whole.
pub fn read_answer<'a>(
    method: &Method,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, Denial> {
    let short = || Denial::new(Code::ApplicationFailed, "the application broke off");
    let (mut heads, mut buffer, mut read) = (Heads::new(method.clone()), BytesMut::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if read.is_none() {
            let Some(head) = heads.take(&mut buffer)? else { continue };
            let answer = Answer { head: head.response, body: Vec::new(), trailers: None, left: 0 };
            read = Some((answer, Rest::new(head.body)));
        }
        let Some((answer, rest)) = &mut read else { continue };
        while let Some(frame) = rest.take(&mut buffer)? {
            match frame.into_data() {
                Ok(data) => answer.body.extend_from_slice(&data),
                Err(frame) => answer.trailers = frame.into_trailers().ok(),
            }
        }
    }
    let (mut answer, mut rest) = read.ok_or_else(short)?;
    answer.left = buffer.len();
    if rest.close() { Ok(answer) } else { Err(short()) }
}

/// The bytes in which a request is sent to an application, if its body is there: for proofs that need no connection.
pub fn written<B>(request: Request<B>) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let (head, body) = request.into_parts();
    all_of(Sending::request(&Request::from_parts(head, ()), body))
}

/// The bytes in which a caller who asked in these bytes gets an answer, at a time of day in seconds since the epoch, if
/// the answer's body is there: for proofs that need no connection.
pub fn written_answer<B>(request: &[u8], response: Response<B>, now: i64) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let head = request::Heads::new(&Limits::default()).take(&mut BytesMut::from(request)).ok()??;
    all_of(Sending::answer(response, Asked::by(&head), now).0)
}

fn all_of<B>(mut sending: Sending<B>) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let (mut bytes, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
    match sending.poll(&mut bytes, &mut context) {
        Poll::Ready(Ok(())) => Some(bytes),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}
