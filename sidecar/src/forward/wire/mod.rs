//! The bytes themselves: of HTTP/1.1 before any engine reads them, of HTTP/2 as the engine writes them.
//!
//! An engine settles silently what two readers could read in two ways, or refuses it without telling anybody.
//! Here every head is judged first, so that the engine sees only what has one meaning, and a refusal is answered
//! like any other: with a problem document, in its turn, after the answers to earlier requests.
//!
//! * [`sending`] writes a request anew.
//! * [`answer`] reads the head of an answer, [`rest`] its body, which [`decoder`] takes out of its chunks.
//! * [`head`] judges one whole head, [`chunked`] follows one body: pure, by the byte.
//! * [`scanner`] knows where one message ends and the next begins.
//! * [`intake`] holds back the part of a head that has come, and puts a request of ours in a refused one's place.
//! * [`frames`] notices what the engine refuses by itself in HTTP/2, which needs a decoder to be judged before.
//! * [`turns`] tells whoever answers the requests which of them was refused here.

pub(super) mod answer;
mod chunked;
mod decoder;
mod frames;
mod head;
mod intake;
mod rest;
mod scanner;
mod sending;
mod turns;

pub(super) use self::chunked::{TRAILER_BYTES, TRAILERS};
pub(super) use self::frames::{Frames, Refusal};
pub(super) use self::head::too_long;
pub(super) use self::intake::Intake;
pub(super) use self::rest::Rest;
pub(super) use self::scanner::too_large;
pub(super) use self::sending::{Fault, Sending};
pub(super) use self::turns::Turns;

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Body;

use self::answer::Heads;
use self::scanner::Scanner;
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

/// What an engine gets to read of a connection's bytes, which come in these pieces, and why no more: the scanner by
/// itself, for proofs that need no connection. It ends before whatever follows a request for another protocol.
pub fn let_through<'a>(
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<Denial>) {
    let mut scanner = Scanner::new(Bounds::of(limits));
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let scan = scanner.scan(&held);
        passed.extend(held.drain(..scan.passed.min(held.len())));
        if let Some(fault) = scan.fault {
            return (passed, Some(fault.denial));
        }
    }
    (passed, None)
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
    let (mut sending, mut bytes) = (Sending::new(request), Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    match sending.poll(&mut bytes, &mut context) {
        Poll::Ready(Ok(())) => Some(bytes),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

#[cfg(test)]
mod engine_tests;
