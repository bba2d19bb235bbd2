//! The HTTP/2 frames that the engine writes, followed for what it refuses by itself (RFC 9113 sections 6.4, 6.8):
//! it resets a stream, or ends the connection, and tells nobody but the caller why.

use crate::authorize::Code;

/// Follows the bytes that go out on one connection.
#[derive(Debug, Default)]
pub(in crate::forward) struct Frames {
    /// The beginning of the current frame.
    begun: [u8; LONGEST],
    have: usize,
    /// Bytes of the current frame that are still to come and of no interest.
    rest: usize,
    /// The stream of which the head was too large.
    beheaded: Option<[u8; 4]>,
}

/// What the engine did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) enum Refusal {
    /// One stream was reset.
    Stream(ErrorCode),
    /// The connection ends.
    Connection(ErrorCode),
    /// One head was answered with nothing but the status 431: it is more than twice as large as allowed.
    Head,
}

/// RFC 9113 section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) struct ErrorCode(u32);

const HEADER: usize = 9;
/// Of a GOAWAY frame: its header, the last stream and the error.
const LONGEST: usize = HEADER + 8;
/// A whole block of fields of this length or less is looked at.
const SHORTEST_BLOCK: usize = LONGEST - HEADER;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

impl Frames {
    /// Goes through bytes that follow on the last ones; `tell` hears of each refusal.
    pub(in crate::forward) fn follow(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Refusal)) {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = self.wanted();
            let taken = (wanted - self.have).min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            if let Some(place) = self.begun.get_mut(self.have..self.have + taken) {
                place.copy_from_slice(now);
            }
            (self.have, bytes) = (self.have + taken, later);
            if self.have == self.wanted() && self.have >= HEADER {
                if let Some(refusal) = self.refusal() {
                    tell(refusal);
                }
                self.rest = self.length() + HEADER - self.have;
                self.have = 0;
            }
        }
    }

    /// How much of the current frame is looked at, as far as that is known.
    fn wanted(&self) -> usize {
        if self.have < HEADER { HEADER } else { HEADER + self.interest().min(self.length()) }
    }

    fn interest(&self) -> usize {
        match self.begun {
            [_, _, _, RST_STREAM, ..] => 4,
            [_, _, _, GOAWAY, ..] => 8,
            [_, _, _, HEADERS, flags, ..] if flags & END_STREAM != 0 && self.length() <= SHORTEST_BLOCK => {
                SHORTEST_BLOCK
            }
            _ => 0,
        }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.begun;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn refusal(&mut self) -> Option<Refusal> {
        let code = |at: usize| {
            let bytes = self.begun.get(at..at + 4)?.first_chunk()?;
            Some(ErrorCode(u32::from_be_bytes(*bytes))).filter(|code| code.is_the_callers())
        };
        let [_, _, _, kind, _, stream @ ..] = self.begun;
        let stream = stream.first_chunk().copied();
        match kind {
            // It goes with the 431 before it.
            RST_STREAM if stream == self.beheaded => None,
            RST_STREAM if self.length() >= 4 => code(HEADER).map(Refusal::Stream),
            GOAWAY if self.length() >= 8 => code(HEADER + 4).map(Refusal::Connection),
            HEADERS if self.interest() > 0 => {
                let block = self.begun.get(HEADER..HEADER + self.length())?;
                is_bare_431(block).then(|| {
                    self.beheaded = stream;
                    Refusal::Head
                })
            }
            _ => None,
        }
    }
}

/// Whether an answer's fields (RFC 7541) are the status 431 alone. Whatever else is answered tells the date at least,
/// so a lone field of the dynamic table is a 431 that was written before.
fn is_bare_431(mut block: &[u8]) -> bool {
    // The table's new size, as the caller's settings had it.
    while let [0x20..=0x3f, rest @ ..] = block {
        let is_long = block.first() == Some(&0x3f);
        let more = rest.iter().position(|byte| byte & 0x80 == 0).filter(|_| is_long).map_or(0, |at| at + 1);
        block = rest.get(more..).unwrap_or_default();
    }
    match block {
        [0xbe..=0xfe] | [0xff, _] => true,
        // With or without a place in the table; `431` as it is, or in Huffman's code.
        [0x48 | 0x08 | 0x18, value @ ..] => {
            value == [0x83, 0x69, 0x90, 0xff] || value == [3, b'4', b'3', b'1']
        }
        _ => false,
    }
}

impl Refusal {
    /// The code by which it is told.
    pub(in crate::forward) const fn code(self) -> Code {
        match self {
            Self::Head => Code::HeadTooLarge,
            Self::Stream(_) | Self::Connection(_) => Code::Http2Refused,
        }
    }
}

impl ErrorCode {
    /// Whether it blames the caller. The others end what was no longer wanted, or broke at the application.
    fn is_the_callers(self) -> bool {
        self.name().is_some()
    }

    /// None for those that don't blame the caller.
    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "PROTOCOL_ERROR",
            3 => "FLOW_CONTROL_ERROR",
            4 => "SETTINGS_TIMEOUT",
            5 => "STREAM_CLOSED",
            6 => "FRAME_SIZE_ERROR",
            7 => "REFUSED_STREAM",
            9 => "COMPRESSION_ERROR",
            11 => "ENHANCE_YOUR_CALM",
            _ => return None,
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, code) = match self {
            Self::Stream(code) => ("a stream was reset", code),
            Self::Connection(code) => ("the connection was ended", code),
            Self::Head => {
                return f.write_str("the head is more than twice as large as allowed; answered by 431 alone");
            }
        };
        let why = match code.0 {
            7 => "more streams at a time than are allowed",
            11 => "a flood of resets, or headers beyond all limits",
            _ => "what came is not HTTP/2 as RFC 9113 has it",
        };
        write!(f, "{what} with {}: {why}", code.name().unwrap_or("another error"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn refusals_are_found_however_the_bytes_are_cut() {
        let bytes = [
            frame(4, &[0, 3, 0, 0, 0, 100]),
            frame(1, &[0x88]),
            frame(0, &[RST_STREAM; 300]),
            frame(RST_STREAM, &[0, 0, 0, 1]),
            frame(RST_STREAM, &[0, 0, 0, 8]),
            frame(4, &[]),
            frame(GOAWAY, &[0, 0, 0, 3, 0, 0, 0, 0]),
            frame(GOAWAY, &[&[0, 0, 0, 3, 0, 0, 0, 11], &b"too_many_resets"[..]].concat()),
            frame(RST_STREAM, &[0, 0]),
            frame(RST_STREAM, &[0, 0, 0, 7]),
        ]
        .concat();
        let expected = [
            Refusal::Stream(ErrorCode(1)),
            Refusal::Connection(ErrorCode(11)),
            Refusal::Stream(ErrorCode(7)),
        ];
        for size in 1..bytes.len() {
            let (mut frames, mut told) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(size) {
                frames.follow(piece, |refusal| told.push(refusal));
            }
            assert_eq!(told, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_431_without_anything_else_is_found() {
        let first = [0x48, 0x83, 0x69, 0x90, 0xff];
        for (case, block, flags, expected) in [
            ("the first", &first[..], 5, true),
            ("the next", &[0xbe], 5, true),
            ("one much later", &[0xff, 0x02], 5, true),
            ("after a change of the table's size", &[0x3f, 0xe1, 0x1f, 0x08, 3, b'4', b'3', b'1'], 5, true),
            ("with a date", &[0x48, 0x83, 0x69, 0x90, 0xff, 0xbf], 5, false),
            ("with a body", &first, 4, false),
            ("204 alone", &[0x89], 5, false),
            ("403", &[0x48, 3, b'4', b'0', b'3'], 5, false),
            ("nothing", &[], 5, false),
        ] {
            let mut bytes = frame(HEADERS, block);
            bytes[4] = flags;
            // What the stream is reset with afterwards is the same refusal.
            bytes.extend(frame(RST_STREAM, &[0, 0, 0, 1]));
            let (mut frames, mut told) = (Frames::default(), Vec::new());
            frames.follow(&bytes, |refusal| told.push(refusal));
            let other = Refusal::Stream(ErrorCode(1));
            assert_eq!(told, [if expected { Refusal::Head } else { other }], "{case}");
        }
    }
}
