//! What has come but may not be read yet.

use std::io;
use std::rc::Rc;
use std::task::Waker;

use tokio::io::ReadBuf;

use super::Bounds;
use super::scanner::{Fault, Scanner};
use super::turns::{Noted, Turns};
use crate::authorize::Denial;
use crate::limits::Limits;

/// Takes a refused request's place, so that the engine answers it in its turn. What it asks is never looked at:
/// see [`super::turns`].
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// Of a request line that is refused, for the log.
const LOGGED_LINE: usize = 1 << 10;

/// Stands between a stream and the engine. Nothing is copied as long as heads come whole.
#[derive(Debug)]
pub(in crate::forward) struct Intake {
    scanner: Scanner,
    turns: Rc<Turns>,
    /// Bytes in order; the first [`Intake::passed`] of them may be read.
    held: Vec<u8>,
    passed: usize,
    most: usize,
    /// A body was refused: once what came before it has been read, reading fails.
    is_broken: bool,
}

impl Intake {
    pub(in crate::forward) fn new(limits: &Limits, turns: Rc<Turns>) -> Self {
        let bounds = Bounds::of(limits);
        Self {
            scanner: Scanner::new(bounds),
            turns,
            held: Vec::new(),
            passed: 0,
            most: bounds.head,
            is_broken: false,
        }
    }

    /// Gives what may be read by now, if there is any.
    ///
    /// # Errors
    /// If the body that is being read was refused.
    pub(in crate::forward) fn give(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        if self.passed == 0 {
            return if std::mem::take(&mut self.is_broken) {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the body's framing was refused"))
            } else {
                Ok(false)
            };
        }
        let count = self.passed.min(buffer.remaining());
        buffer.put_slice(self.held.get(..count).unwrap_or_default());
        self.passed -= count;
        if count == self.held.len() {
            // An idle connection holds no buffer.
            self.held = Vec::new();
        } else {
            self.held.drain(..count);
        }
        Ok(true)
    }

    /// Whether nothing more can become readable.
    pub(in crate::forward) const fn is_over(&self) -> bool {
        self.scanner.is_refused() && self.passed == 0 && !self.is_broken
    }

    /// Whether a part of a head has come.
    pub(in crate::forward) fn is_within_head(&self) -> bool {
        self.held.len() > self.passed && !self.scanner.is_undecided()
    }

    /// Whether other bytes than HTTP's pass.
    pub(in crate::forward) fn is_tunnel(&self) -> bool {
        self.turns.tunnels()
    }

    /// Takes what has come into `buffer` after its first `before` bytes, and leaves there what may be read. A
    /// denial that nobody else will tell of comes back.
    ///
    /// # Errors
    /// If more comes than can be held.
    pub(in crate::forward) fn take(
        &mut self,
        buffer: &mut ReadBuf<'_>,
        before: usize,
    ) -> io::Result<Option<Denial>> {
        let come = buffer.filled().get(before..).unwrap_or_default();
        if !self.held.is_empty() {
            self.held.extend_from_slice(come);
            buffer.set_filled(before);
            return self.scan_held();
        }
        let scan = self.scanner.scan(come);
        let rest = come.get(scan.passed..).unwrap_or_default();
        let denial = if let Some(fault) = scan.fault {
            self.refuse(fault, request_line(rest))
        } else {
            self.held.extend_from_slice(rest);
            None
        };
        buffer.set_filled(before + scan.passed);
        Ok(denial)
    }

    /// Learns whether the other protocol that was asked for is spoken. A denial as of [`Self::take`].
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(in crate::forward) fn decide(&mut self) -> io::Result<Option<Denial>> {
        if self.turns.tunnels() {
            self.scanner.leave();
            self.passed = self.held.len();
        } else if self.scanner.is_undecided() && self.turns.have_ended(self.scanner.heads()) {
            self.scanner.go_on();
            return self.scan_held();
        }
        Ok(None)
    }

    /// To be called before whoever reads goes to sleep: what has come and may not be read before an answer is decided
    /// wakes it then. The stream's own waker doesn't, for nothing more need come.
    pub(in crate::forward) fn sleep(&self, reader: &Waker) {
        if self.scanner.is_undecided() {
            self.turns.wake_after(reader);
        }
    }

    fn scan_held(&mut self) -> io::Result<Option<Denial>> {
        let scan = self.scanner.scan(self.held.get(self.passed..).unwrap_or_default());
        self.passed += scan.passed;
        if let Some(fault) = scan.fault {
            let line = request_line(self.held.get(self.passed..).unwrap_or_default());
            self.held.truncate(self.passed);
            return Ok(self.refuse(fault, line));
        }
        if self.scanner.is_undecided() && self.held.len() > self.most {
            let reason = "too much came before it was known in which protocol";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(None)
    }

    fn refuse(&mut self, fault: Fault, line: Option<(String, String)>) -> Option<Denial> {
        let line = line.filter(|_| fault.in_head);
        if fault.in_head {
            self.held.extend_from_slice(SUBSTITUTE);
            self.passed = self.held.len();
        } else {
            self.is_broken = true;
        }
        self.turns.note(Noted { fault, line }).map(|noted| noted.fault.denial)
    }
}

/// Method and target for the log, as far as they are plain text.
fn request_line(head: &[u8]) -> Option<(String, String)> {
    let line = head.get(..LOGGED_LINE.min(head.len()))?.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))?;
    let (method, rest) = text.split_once(' ')?;
    let target = rest.split(' ').next()?;
    Some((method.to_owned(), target.to_owned()))
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
