//! What was read and has not been handed out yet.

use std::ops::Range;

use tokio::io::ReadBuf;

/// What was read from the socket and not handed out.
#[derive(Default)]
pub(super) struct Unread {
    /// Empty without memory when there is nothing in it.
    pub(super) bytes: Vec<u8>,
    /// What is open already.
    pub(super) content: Range<usize>,
    /// Where the next record begins.
    pub(super) record: usize,
}

/// Where opening stopped.
pub(super) struct Rest {
    /// Open, and without room.
    pub(super) content: Range<usize>,
    /// The next record, or what has come of it.
    pub(super) record: usize,
}

impl Unread {
    /// Hands out what is open: whether that was anything.
    pub(super) fn give(&mut self, reader: &mut ReadBuf<'_>) -> bool {
        let content = self.bytes.get(self.content.clone()).unwrap_or_default();
        if content.is_empty() {
            return false;
        }
        let count = content.len().min(reader.remaining());
        reader.put_slice(content.get(..count).unwrap_or_default());
        self.content.start += count;
        self.tidy();
        true
    }

    /// Keeps what is left of `bytes`, in as little memory.
    pub(super) fn copy(&mut self, bytes: &[u8], rest: &Rest) {
        let from = if rest.content.is_empty() { rest.record } else { rest.content.start };
        *self = Self {
            bytes: bytes.get(from..).unwrap_or_default().to_vec(),
            content: 0..rest.content.len(),
            record: rest.record.saturating_sub(from),
        };
    }

    /// Keeps `bytes` themselves, as long as much of them is left.
    pub(super) fn keep(&mut self, bytes: Vec<u8>, rest: &Rest) {
        if rest.content.is_empty() && rest.record > 0 {
            return self.copy(&bytes, rest);
        }
        *self = Self { bytes, content: rest.content.clone(), record: rest.record };
    }

    fn tidy(&mut self) {
        if self.content.is_empty() && self.record >= self.bytes.len() {
            *self = Self::default();
        }
    }

    /// What has come of records that aren't open.
    pub(super) fn records(&self) -> &[u8] {
        self.bytes.get(self.record..).unwrap_or_default()
    }
}
