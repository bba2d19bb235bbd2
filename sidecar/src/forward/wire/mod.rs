//! The bytes themselves: of HTTP/1.1 on both sides, of HTTP/2 as the engine writes them.
//!
//! Every head is judged by its bytes, so that nothing is believed that two readers could read in two ways, and what is
//! passed on is written anew in one framing. What is refused is answered like anything else: with a problem document, in
//! its turn, after the answers to earlier requests.
//!
//! * [`request`] reads heads of requests, [`answer`] those of answers, [`rest`] their bodies, which [`decoder`] takes out
//!   of their chunks.
//! * [`sending`] writes a request anew, [`answering`] an answer.
//! * [`head`] judges one whole head, [`lines`] finds its lines, [`target`] reads what a request's first one names, and
//!   [`chunked`] follows one body: pure, by the byte.
//! * [`proofs`] reads and writes messages without a connection.
//! * [`frames`] notices what the engine refuses by itself in HTTP/2, which needs a decoder to be judged before.

pub(super) mod answer;
mod answering;
mod chunked;
mod decoder;
mod frames;
mod head;
mod lines;
mod proofs;
pub(super) mod request;
mod rest;
mod sending;
mod target;

pub(super) use self::answering::Asked;
pub(super) use self::chunked::{TRAILER_BYTES, TRAILERS};
pub(super) use self::frames::{Frames, Refusal};
pub(super) use self::head::is_framing;
pub use self::proofs::{Answer, Asking, read_answer, read_requests, written, written_answer};
pub(super) use self::request::too_large;
pub(super) use self::rest::Rest;
pub(super) use self::sending::{Fault, Sending};
pub(super) use self::target::too_long;

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
