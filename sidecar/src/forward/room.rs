//! How much is read at once of a body over HTTP/1.1.

use bytes::BytesMut;

/// At first.
pub(super) const SHORTEST_READ: usize = 4 << 10;
/// Once a body has shown that it is long.
const LONGEST_READ: usize = 64 << 10;

/// Room for what is read, which grows with what comes.
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(SHORTEST_READ)
    }
}

impl Room {
    /// Makes it in a buffer.
    pub(super) fn reserve(&self, buffer: &mut BytesMut) {
        buffer.reserve(self.0);
    }

    /// So much came at once: more may come.
    pub(super) fn learn(&mut self, count: usize) {
        if count >= self.0 {
            self.0 = (self.0 * 2).min(LONGEST_READ);
        }
    }

    /// Whether it has grown.
    pub(super) const fn is_large(&self) -> bool {
        self.0 > SHORTEST_READ
    }
}
