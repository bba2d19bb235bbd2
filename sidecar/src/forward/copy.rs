//! Bytes from one end to the other and back, without a buffer for whoever is silent.

use std::cell::Cell;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at once.
const SCRATCH: usize = 64 << 10;
/// Passed on in one direction before others have their turn.
const TURN: usize = 256 << 10;

thread_local! {
    /// What is read lies here, until the other end has taken it in the same turn.
    static SCRATCH_SPACE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Both directions. Each ends by itself: one end's end is passed on, while the other goes on talking.
#[derive(Debug, Default)]
pub(super) struct Copy {
    there: Half,
    back: Half,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    /// What the other end did not take in time. Nothing is read before it has.
    rest: Vec<u8>,
    /// Of it, what has been taken.
    taken: usize,
    /// Bytes that came and that went since [`Copy::moved`] was asked last.
    read: usize,
    written: usize,
    /// Something was written since the last flush.
    is_unflushed: bool,
    /// Whether a TLS connection that ends without saying so has ended all the same.
    takes_any_end: bool,
    stage: Stage,
}

/// Bytes that have moved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Read from the one end.
    pub(super) from_one: usize,
    /// Written to it.
    pub(super) to_one: usize,
    /// Read from the other end.
    pub(super) from_other: usize,
    /// Written to it.
    pub(super) to_other: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// Nothing more will come; what has come, and then the end, is passed on.
    Ending,
    Ended,
}

impl Copy {
    /// Where the other end may end its TLS without a `close_notify` (RFC 8446 section 6.1), as many applications do.
    pub(super) fn with_any_end() -> Self {
        Self { there: Half::default(), back: Half { takes_any_end: true, ..Half::default() } }
    }

    /// Until both directions have ended.
    ///
    /// # Errors
    /// The first of either end; then neither is of use any more.
    pub(super) fn poll<A, B>(
        &mut self,
        context: &mut Context<'_>,
        one: &mut A,
        other: &mut B,
    ) -> Poll<io::Result<()>>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        // Both have their turn before an error of one ends them: what has come already is still passed on.
        let there = self.there.poll(context, one, other);
        let back = self.back.poll(context, other, one);
        match (there?, back?) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// What has moved since this was asked last.
    pub(super) fn moved(&mut self) -> Moved {
        let half = |half: &mut Half| (take(&mut half.read), take(&mut half.written));
        let ((from_one, to_other), (from_other, to_one)) = (half(&mut self.there), half(&mut self.back));
        Moved { from_one, to_one, from_other, to_other }
    }
}

impl Half {
    fn poll<R, W>(&mut self, context: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut passed = 0;
        while self.stage == Stage::Open {
            ready!(self.drain(context, to))?;
            if passed >= TURN {
                // Both may be ready for ever.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match with_scratch(|scratch| self.pass(context, from, to, scratch))? {
                Poll::Ready(0) => self.stage = Stage::Ending,
                Poll::Ready(count) => passed += count,
                Poll::Pending => {
                    if self.is_unflushed {
                        ready!(Pin::new(to).poll_flush(context))?;
                        self.is_unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        if self.stage == Stage::Ending {
            ready!(self.drain(context, to))?;
            ready!(Pin::new(to).poll_shutdown(context))?;
            self.stage = Stage::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what came, as far as it is taken. How much came; 0 is the end.
    fn pass<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        scratch: &mut [u8],
    ) -> io::Result<Poll<usize>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut read = ReadBuf::new(scratch);
        match Pin::new(from).poll_read(context, &mut read) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(error)) if self.takes_any_end && error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Poll::Ready(0));
            }
            Poll::Ready(read) => read?,
        }
        let all = read.filled();
        self.read += all.len();
        let mut left = all;
        while !left.is_empty() {
            match Pin::new(&mut *to).poll_write(context, left)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.written += count;
                    left = left.get(count..).unwrap_or_default();
                }
                Poll::Pending => {
                    self.rest.extend_from_slice(left);
                    break;
                }
            }
        }
        self.is_unflushed = true;
        Ok(Poll::Ready(all.len()))
    }

    /// Writes what was left over.
    fn drain<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(left) = self.rest.get(self.taken..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut *to).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.written += count;
                    self.taken += count;
                }
            }
        }
        (self.rest, self.taken) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

/// Lends this thread's space for what is read.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut space = SCRATCH_SPACE.take();
    if space.is_empty() {
        space = vec![0; SCRATCH];
    }
    let done = work(&mut space);
    SCRATCH_SPACE.set(space);
    done
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
