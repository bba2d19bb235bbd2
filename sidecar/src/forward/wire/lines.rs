//! The lines of a head, as they come and once it is whole (RFC 9112 section 2.2).

use memchr::memchr;

use super::head::malformed;
use crate::authorize::Denial;

/// Finds the ends of the lines of a head of which a part is there.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Up to where an LF was looked for.
    seen: usize,
    /// Where the LFs of the first lines are.
    ends: [usize; LINES],
    /// How many lines there were.
    count: usize,
}

/// Lines of which the ends are kept: so many has nearly every head.
const LINES: usize = 16;

/// A line that is whole.
pub(super) struct Line {
    /// Where its LF stands.
    pub(super) end: usize,
    pub(super) is_first: bool,
    pub(super) is_empty: bool,
}

impl LineEnds {
    /// The next line in `bytes`, which begin where the head does, and are more than before if there was none.
    ///
    /// # Errors
    /// [`Code::MalformedHead`] if it ends without a CR.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<Line>, Denial> {
        let Some(at) = bytes.get(self.seen..).and_then(|unseen| memchr(b'\n', unseen)) else {
            self.seen = bytes.len();
            return Ok(None);
        };
        let end = self.seen + at;
        let Some((b'\r', content)) = bytes.get(self.line..end).unwrap_or_default().split_last() else {
            return Err(malformed("an LF stands without a CR before it"));
        };
        let line = Line { end, is_first: self.line == 0, is_empty: content.is_empty() };
        if let Some(place) = self.ends.get_mut(self.count) {
            *place = end;
        }
        self.count += 1;
        (self.line, self.seen) = (end + 1, end + 1);
        Ok(Some(line))
    }

    /// The lines of the head, once it is whole.
    pub(super) fn lines<'a>(&'a self, head: &'a [u8]) -> Lines<'a> {
        Lines { text: head, at: 0, ends: self.ends.get(..self.count).unwrap_or(&self.ends) }
    }
}

/// Lines without their CRLF, and where each begins.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    /// Where LFs are known to be, from the first line on.
    ends: &'a [usize],
}

impl<'a> Lines<'a> {
    pub(super) const fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0, ends: &[] }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let at = self.at;
        let end = match self.ends.split_first() {
            Some((end, rest)) => {
                self.ends = rest;
                *end
            }
            None => at + memchr(b'\n', self.text.get(at..)?)?,
        };
        self.at = end + 1;
        self.text.get(at..=end)?.strip_suffix(b"\r\n").map(|line| (at, line))
    }
}
