//! Where one message ends and the next begins.

use memchr::memchr;

use super::Bounds;
use super::chunked::Chunked;
use super::head::{self, Body};
use super::take;
use crate::authorize::{Code, Denial};

/// Follows the messages of one connection.
#[derive(Debug)]
pub(super) struct Scanner {
    bounds: Bounds,
    state: State,
    /// Heads that were let through.
    heads: u64,
}

#[derive(Debug)]
enum State {
    /// Before or within a head.
    Head(Search),
    /// So many bytes of a body are to come.
    Length(u64),
    Chunked(Chunked),
    /// Another protocol was asked for: what comes is HTTP or not, and that isn't decided.
    Undecided,
    /// Other bytes than HTTP's.
    Tunnel,
    /// Nothing more is let through.
    Refused,
}

/// For the end of a head of which a part is there.
#[derive(Debug, Default)]
struct Search {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Up to where an LF was looked for.
    seen: usize,
    /// Whether the one empty line that may stand before a head has passed (RFC 9112 section 2.2).
    skipped: bool,
}

/// What was found in some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// How many of them are in order and may be read by others.
    pub(super) passed: usize,
    /// What is wrong with what follows them.
    pub(super) fault: Option<Fault>,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The how-manieth request of the connection.
    pub(super) turn: u64,
    pub(super) denial: Denial,
    /// Whether its head is wrong, and so has not passed.
    pub(super) in_head: bool,
}

impl Scanner {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: State::Head(Search::default()), heads: 0 }
    }

    /// Looks at `bytes`, which begin with those that have not passed at the last call. A head passes only when it
    /// is whole; bodies pass as they come.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            let (count, fault) = match &mut self.state {
                State::Head(search) => match search.step(rest, &self.bounds) {
                    Ok(Found::Nothing) => break,
                    Ok(Found::EmptyLine(length)) => (length, None),
                    Ok(Found::Head(length)) => match self.enter(rest.get(..length).unwrap_or_default()) {
                        Ok(()) => (length, None),
                        Err(denial) => (0, Some(denial)),
                    },
                    Err(denial) => (0, Some(denial)),
                },
                State::Length(left) => {
                    let count = take(left, rest.len());
                    if *left == 0 {
                        self.state = State::Head(Search::default());
                    }
                    (count, None)
                }
                State::Chunked(chunked) => {
                    let followed = chunked.follow(rest);
                    if followed.is_whole {
                        self.state = State::Head(Search::default());
                    }
                    (followed.bytes, followed.fault)
                }
                State::Tunnel => (rest.len(), None),
                State::Undecided | State::Refused => break,
            };
            passed += count;
            if let Some(denial) = fault {
                return Scan { passed, fault: Some(self.refuse(denial)) };
            }
        }
        Scan { passed, fault: None }
    }

    fn enter(&mut self, head: &[u8]) -> Result<(), Denial> {
        let head = head::check(head, &self.bounds)?;
        self.heads += 1;
        self.state = match head.body {
            Body::None if head.asks_upgrade => State::Undecided,
            Body::None => State::Head(Search::default()),
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Chunked(Chunked::new(self.bounds.headers)),
        };
        Ok(())
    }

    fn refuse(&mut self, denial: Denial) -> Fault {
        let in_head = matches!(self.state, State::Head(_));
        self.state = State::Refused;
        Fault { turn: self.heads + u64::from(in_head), denial, in_head }
    }

    /// Heads that were let through.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether no message is on its way.
    #[cfg(test)]
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.state, State::Head(Search { seen: 0, .. }))
    }

    pub(super) const fn is_undecided(&self) -> bool {
        matches!(self.state, State::Undecided)
    }

    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    /// The other protocol is not spoken.
    pub(super) fn go_on(&mut self) {
        if self.is_undecided() {
            self.state = State::Head(Search::default());
        }
    }

    /// From here on the bytes are somebody else's.
    pub(super) fn leave(&mut self) {
        self.state = State::Tunnel;
    }
}

enum Found {
    Nothing,
    EmptyLine(usize),
    Head(usize),
}

impl Search {
    /// Looks for the head's end in `bytes`, which begin where the head does.
    fn step(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Found, Denial> {
        while let Some(at) = bytes.get(self.seen..).and_then(|unseen| memchr(b'\n', unseen)) {
            let end = self.seen + at;
            let line = bytes.get(self.line..end).unwrap_or_default();
            let Some((b'\r', content)) = line.split_last() else {
                return Err(Denial::new(Code::MalformedHead, "an LF stands without a CR before it"));
            };
            let is_first = self.line == 0;
            (self.line, self.seen) = (end + 1, end + 1);
            if end >= bounds.head {
                return Err(too_large(bounds.head));
            }
            if !content.is_empty() {
                continue;
            }
            if !is_first {
                return Ok(Found::Head(end + 1));
            }
            if self.skipped {
                return Err(Denial::new(Code::MalformedHead, "empty lines stand before the request line"));
            }
            *self = Self { skipped: true, ..Self::default() };
            return Ok(Found::EmptyLine(end + 1));
        }
        self.seen = bytes.len();
        if bytes.len() >= bounds.head { Err(too_large(bounds.head)) } else { Ok(Found::Nothing) }
    }
}

pub(in crate::forward) fn too_large(limit: usize) -> Denial {
    let reason = format!("the request's head holds more than the {limit} bytes that are allowed");
    Denial::new(Code::HeadTooLarge, reason)
}

#[cfg(test)]
#[path = "scanner_tests.rs"]
mod tests;
