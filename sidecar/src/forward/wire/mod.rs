//! The bytes themselves: of HTTP/1.1 before any engine reads them, of HTTP/2 as the engine writes them.
//!
//! An engine settles silently what two readers could read in two ways, or refuses it without telling anybody.
//! Here every head is judged first, so that the engine sees only what has one meaning, and a refusal is answered
//! like any other: with a problem document, in its turn, after the answers to earlier requests.
//!
//! * [`head`] judges one whole head, [`chunked`] follows one body: pure, by the byte.
//! * [`scanner`] knows where one message ends and the next begins.
//! * [`intake`] holds back the part of a head that has come, and puts a request of ours in a refused one's place.
//! * [`frames`] notices what the engine refuses by itself in HTTP/2, which needs a decoder to be judged before.
//! * [`turns`] tells whoever answers the requests which of them was refused here.

mod chunked;
mod frames;
mod head;
mod intake;
mod scanner;
mod turns;

pub(super) use self::frames::{Frames, Refusal};
pub(super) use self::head::too_long;
pub(super) use self::intake::Intake;
pub(super) use self::scanner::too_large;
pub(super) use self::turns::Turns;

use self::scanner::Scanner;
use crate::authorize::Denial;
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

#[cfg(test)]
mod engine_tests;
