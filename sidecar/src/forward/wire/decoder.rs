//! A chunked body without its framing (RFC 9112 section 7.1).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::chunked::Chunked;
use super::head::field_line;
use super::lines::Lines;
use crate::authorize::{Code, Denial};

/// Takes off the framing as the body comes.
#[derive(Debug)]
pub(in crate::forward) struct Decoder {
    chunked: Chunked,
    /// Lines of trailers, up to the empty one.
    trailers: Vec<u8>,
}

/// What some bytes of a body were found to hold.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::forward) struct Decoded {
    /// So many bytes of framing come first.
    pub(in crate::forward) framing: usize,
    /// So many of the body follow; what comes after them was not looked at.
    pub(in crate::forward) data: usize,
    /// The body is whole, and has these trailers.
    pub(in crate::forward) end: Option<HeaderMap>,
}

impl Decoder {
    /// At the beginning of a body; it may have so many trailers.
    pub(in crate::forward) fn new(trailers: usize) -> Self {
        Self { chunked: Chunked::new(trailers), trailers: Vec::new() }
    }

    /// Looks at `bytes`, which go on after what was found in the last ones.
    ///
    /// # Errors
    /// [`Code::InvalidFraming`], [`Code::MalformedHead`], [`Code::TooManyHeaders`] or [`Code::HeadTooLarge`]: what
    /// follows is not to be believed.
    pub(in crate::forward) fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, Denial> {
        let taken = self.chunked.take_off(bytes, &mut self.trailers)?;
        let end = if taken.is_whole { Some(trailers(&self.trailers)?) } else { None };
        Ok(Decoded { framing: taken.framing, data: taken.data, end })
    }
}

fn trailers(bytes: &[u8]) -> Result<HeaderMap, Denial> {
    let mut trailers = HeaderMap::new();
    for (_, line) in Lines::of(bytes).take_while(|(_, line)| !line.is_empty()) {
        let place = field_line(line)?;
        let (name, value) =
            (line.get(place.name).unwrap_or_default(), line.get(place.value).unwrap_or_default());
        let invalid = || Denial::new(Code::MalformedHead, "a trailer is none");
        let name = HeaderName::from_bytes(name).map_err(|_| invalid())?;
        trailers.append(name, HeaderValue::from_bytes(value).map_err(|_| invalid())?);
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, trailers, and what was left over.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Option<HeaderMap>, usize), Code> {
        let (mut decoder, mut body, mut at) = (Decoder::new(3), Vec::new(), 0);
        while at < bytes.len() {
            let now = &bytes[at..bytes.len().min(at + piece)];
            let found = decoder.decode(now).map_err(|denial| denial.code)?;
            body.extend_from_slice(&now[found.framing..found.framing + found.data]);
            at += found.framing + found.data;
            if let Some(end) = found.end {
                return Ok((body, Some(end), bytes.len() - at));
            }
        }
        Ok((body, None, 0))
    }

    #[test]
    fn bodies_come_out_whole_however_they_were_cut() {
        let bytes = b"A\r\n0123456789\r\n00b;x=\"y z\"\r\n0123456789\n\r\n0\r\nX-Sum: 7 \r\ny:\r\n\r\nGET /";
        for piece in 1..=bytes.len() {
            let (body, end, left) = read(bytes, piece).unwrap();
            assert_eq!(body, b"01234567890123456789\n", "in pieces of {piece}");
            let end = end.unwrap();
            assert_eq!(
                (end.len(), &end["x-sum"], &end["y"]),
                (2, &"7".parse().unwrap(), &"".parse().unwrap())
            );
            assert_eq!(left, 5);
            assert_eq!(read(&bytes[..bytes.len() - 6], piece).unwrap().1, None, "not whole yet");
        }
    }

    #[test]
    fn what_is_refused_when_followed_is_refused_when_read() {
        for (body, code) in [
            ("1\na", Code::InvalidFraming),
            ("2\r\nab0\r\n\r\n", Code::InvalidFraming),
            ("0\r\na : 1\r\n\r\n", Code::MalformedHead),
            ("0\r\na:\r\na:\r\na:\r\na:\r\n\r\n", Code::TooManyHeaders),
        ] {
            for piece in 1..=body.len() {
                assert_eq!(read(body.as_bytes(), piece).unwrap_err(), code, "{body:?} in pieces of {piece}");
            }
        }
    }
}
