//! The framing of a chunked body (RFC 9112 section 7.1), taken off byte by byte.
//!
//! Extensions are looked at for control characters and length only, since nobody passes them on.

use super::head::{is_token, is_value, too_many, wrong_in_value};
use super::take;
use crate::authorize::{Code, Denial};

/// Hex digits of a chunk's size.
const SIZE_DIGITS: u8 = 15;
/// Bytes of all extensions of one body.
const EXTENSION_BYTES: usize = 4 << 10;
/// Bytes of all trailers of one body, and their number.
pub(in crate::forward) const TRAILER_BYTES: usize = 8 << 10;
pub(in crate::forward) const TRAILERS: usize = 64;

/// Where in a chunked body the next byte stands.
#[derive(Debug)]
pub(super) struct Chunked {
    place: Place,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
    most_trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size {
        size: u64,
        digits: u8,
    },
    /// After a blank, which only an extension may follow.
    Blank {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// What bytes of a chunked body begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TakenOff {
    /// So many bytes are framing.
    pub(super) framing: usize,
    /// So many after them are the body's own.
    pub(super) data: usize,
    /// Whether the framing was the last of the body.
    pub(super) is_whole: bool,
}

impl Chunked {
    /// At the beginning of a body; it may have so many trailers, and at most [`TRAILERS`].
    pub(super) fn new(trailers: usize) -> Self {
        Self {
            place: Place::Size { size: 0, digits: 0 },
            extension_bytes: 0,
            trailer_bytes: 0,
            trailers: 0,
            most_trailers: trailers.min(TRAILERS),
        }
    }

    /// How many of the bytes that are there are data of a chunk; `None` outside of one.
    fn data(&mut self, there: usize) -> Option<usize> {
        let Place::Data { left } = &mut self.place else { return None };
        let data = take(left, there);
        if *left == 0 {
            self.place = Place::DataCr;
        }
        Some(data)
    }

    /// Takes off the framing that `bytes` begin with; bytes of trailers are added to `trailers`.
    pub(super) fn take_off(&mut self, bytes: &[u8], trailers: &mut Vec<u8>) -> Result<TakenOff, Denial> {
        for (at, byte) in bytes.iter().enumerate() {
            if let Some(data) = self.data(bytes.len() - at) {
                return Ok(TakenOff { framing: at, data, is_whole: false });
            }
            let is_trailer = self.is_in_trailers();
            self.place = self.step(*byte)?;
            if is_trailer {
                trailers.push(*byte);
            }
            if self.place == Place::End {
                return Ok(TakenOff { framing: at + 1, data: 0, is_whole: true });
            }
        }
        Ok(TakenOff { framing: bytes.len(), data: 0, is_whole: false })
    }

    const fn is_in_trailers(&self) -> bool {
        matches!(
            self.place,
            Place::TrailerStart | Place::TrailerName | Place::TrailerValue | Place::TrailerLf | Place::EndLf
        )
    }

    fn step(&mut self, byte: u8) -> Result<Place, Denial> {
        match self.place {
            Place::Size { size, digits } => match (byte, char::from(byte).to_digit(16)) {
                (_, Some(digit)) if digits < SIZE_DIGITS => {
                    Ok(Place::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
                }
                (_, Some(_)) => Err(wrong("a chunk's size has too many digits")),
                (b'\r', _) if digits > 0 => Ok(Place::SizeLf { size }),
                (b';', _) if digits > 0 => Ok(Place::Extension { size }),
                (b' ' | b'\t', _) if digits > 0 => self.extended(Place::Blank { size }),
                _ => Err(wrong("a chunk's size is no hexadecimal number")),
            },
            Place::Blank { size } => match byte {
                b' ' | b'\t' => self.extended(Place::Blank { size }),
                b';' => Ok(Place::Extension { size }),
                _ => Err(wrong("something other than an extension follows a chunk's size")),
            },
            Place::Extension { size } => match byte {
                b'\r' => Ok(Place::SizeLf { size }),
                byte if is_value(byte) => self.extended(Place::Extension { size }),
                _ => Err(wrong("a chunk's extension holds a control character")),
            },
            Place::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(Place::TrailerStart),
                (b'\n', left) => Ok(Place::Data { left }),
                _ => Err(wrong("the line of a chunk's size does not end with CR LF")),
            },
            // `take_off` takes data by the slice.
            Place::Data { .. } | Place::DataCr => match byte {
                b'\r' => Ok(Place::DataLf),
                _ => Err(wrong("a chunk holds more than its size says")),
            },
            Place::DataLf => match byte {
                b'\n' => Ok(Place::Size { size: 0, digits: 0 }),
                _ => Err(wrong("a chunk does not end with CR LF")),
            },
            Place::TrailerStart
            | Place::TrailerName
            | Place::TrailerValue
            | Place::TrailerLf
            | Place::EndLf
            | Place::End => self.trailer(byte),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<Place, Denial> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES {
            let reason = format!("the trailers hold more than the {TRAILER_BYTES} bytes that are allowed");
            return Err(Denial::new(Code::HeadTooLarge, reason));
        }
        let malformed = |what: &'static str| Err(Denial::new(Code::MalformedHead, what));
        match (self.place, byte) {
            (Place::TrailerStart, b'\r') => Ok(Place::EndLf),
            (Place::TrailerStart, b' ' | b'\t') => malformed("a trailer is folded over several lines"),
            (Place::TrailerStart, byte) if is_token(byte) => {
                self.trailers += 1;
                if self.trailers > self.most_trailers {
                    return Err(too_many(self.most_trailers));
                }
                Ok(Place::TrailerName)
            }
            (Place::TrailerName, b':') => Ok(Place::TrailerValue),
            (Place::TrailerName, byte) if is_token(byte) => Ok(Place::TrailerName),
            (Place::TrailerStart | Place::TrailerName, _) => malformed("a trailer's name is no token"),
            (Place::TrailerValue, b'\r') => Ok(Place::TrailerLf),
            (Place::TrailerValue, byte) if is_value(byte) => Ok(Place::TrailerValue),
            (Place::TrailerValue, b'\n') => malformed("an LF stands without a CR before it"),
            (Place::TrailerValue, byte) => Err(wrong_in_value(byte)),
            (Place::TrailerLf, b'\n') => Ok(Place::TrailerStart),
            (Place::EndLf, b'\n') => Ok(Place::End),
            _ => Err(wrong_in_value(b'\r')),
        }
    }

    fn extended(&mut self, place: Place) -> Result<Place, Denial> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES {
            return Err(wrong("the chunks' extensions are too long"));
        }
        Ok(place)
    }
}

fn wrong(what: &'static str) -> Denial {
    Denial::new(Code::InvalidFraming, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many trailers.
    const MOST: usize = 3;

    /// How far a body was followed.
    #[derive(Debug, PartialEq, Eq)]
    struct Followed {
        /// Bytes that are in order.
        bytes: usize,
        is_whole: bool,
        fault: Option<Code>,
    }

    fn follow_in(body: &[u8], size: usize) -> Followed {
        let (mut chunked, mut at) = (Chunked::new(MOST), 0);
        while at < body.len() {
            let end = body.len().min(at + size);
            match chunked.take_off(&body[at..end], &mut Vec::new()) {
                Ok(taken) => at += taken.framing + taken.data,
                Err(denial) => return Followed { bytes: at, is_whole: false, fault: Some(denial.code) },
            }
            if chunked.place == Place::End {
                return Followed { bytes: at, is_whole: true, fault: None };
            }
        }
        Followed { bytes: at, is_whole: false, fault: None }
    }

    /// In pieces of every size the outcome is the same.
    fn follow(body: &[u8]) -> Followed {
        let one = follow_in(body, 1);
        for size in 2..body.len().min(40) {
            let other = follow_in(body, size);
            assert_eq!(
                (other.is_whole, other.fault),
                (one.is_whole, one.fault),
                "in pieces of {size}: {}",
                String::from_utf8_lossy(body)
            );
            // What is wrong in a piece is told of the whole piece.
            assert!(other.bytes == one.bytes || one.fault.is_some(), "in pieces of {size}");
        }
        one
    }

    #[test]
    fn a_body_ends_where_its_last_chunk_ends() {
        for body in [
            "0\r\n\r\n",
            "1\r\na\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n00b;x=\"y z\"\r\n0123456789\n\r\n000\r\n\r\n",
            "2 ;a\r\n\r\n\r\n0\r\n\r\n",
            "0\r\nx-sum: 7\r\nY:\r\n\r\n",
            "0\r\nx:\t\u{e9} \r\n\r\n",
        ] {
            let expected = Followed { bytes: body.len(), is_whole: true, fault: None };
            assert_eq!(follow(format!("{body}GET /").as_bytes()), expected, "{body:?}");
            let part = follow(&body.as_bytes()[..body.len() - 1]);
            assert_eq!((part.bytes, part.is_whole, part.fault), (body.len() - 1, false, None), "{body:?}");
        }
    }

    #[test]
    fn what_can_be_read_twice_is_refused_where_it_stands() {
        let extension = format!("1;{}\r\na", "x".repeat(EXTENSION_BYTES + 1));
        let large = format!("0\r\nx: {}\r\n\r\n", "x".repeat(TRAILER_BYTES));
        for (body, at, code) in [
            ("\r\n", 0, Code::InvalidFraming),
            (";a\r\n", 0, Code::InvalidFraming),
            ("+1\r\na", 0, Code::InvalidFraming),
            ("-1\r\na", 0, Code::InvalidFraming),
            (" 1\r\na", 0, Code::InvalidFraming),
            ("0x1\r\na", 1, Code::InvalidFraming),
            ("1 \r\na", 2, Code::InvalidFraming),
            ("1 2\r\na", 2, Code::InvalidFraming),
            ("1\na", 1, Code::InvalidFraming),
            ("1\r\r\na", 2, Code::InvalidFraming),
            ("0\rx\r\n", 2, Code::InvalidFraming),
            ("1;a\nb\r\na", 3, Code::InvalidFraming),
            ("1;a\rb\r\na", 4, Code::InvalidFraming),
            ("1;a\0\r\na", 3, Code::InvalidFraming),
            ("1\r\nab\r\n", 4, Code::InvalidFraming),
            ("1\r\na\n", 4, Code::InvalidFraming),
            ("1\r\na\rb", 5, Code::InvalidFraming),
            ("1000000000000000\r\n", 15, Code::InvalidFraming),
            ("0000000000000000\r\n", 15, Code::InvalidFraming),
            (&extension, 2 + EXTENSION_BYTES, Code::InvalidFraming),
            ("0\r\n a: 1\r\n\r\n", 3, Code::MalformedHead),
            ("0\r\na: 1\r\n b\r\n\r\n", 9, Code::MalformedHead),
            ("0\r\na : 1\r\n\r\n", 4, Code::MalformedHead),
            ("0\r\n: 1\r\n\r\n", 3, Code::MalformedHead),
            ("0\r\na\r\n\r\n", 4, Code::MalformedHead),
            ("0\r\na: 1\n\r\n", 7, Code::MalformedHead),
            ("0\r\na: 1\rb\r\n", 8, Code::MalformedHead),
            ("0\r\na: \0\r\n", 6, Code::MalformedHead),
            ("0\r\n\n", 3, Code::MalformedHead),
            ("0\r\n\rx", 4, Code::MalformedHead),
            ("0\r\na:\r\na:\r\na:\r\na:\r\n\r\n", 15, Code::TooManyHeaders),
            (&large, 3 + TRAILER_BYTES, Code::HeadTooLarge),
        ] {
            let followed = follow(body.as_bytes());
            assert_eq!((followed.bytes, followed.fault), (at, Some(code)), "{body:?}: {followed:?}");
        }
    }
}
