//! What a connection begins with, where TLS and HTTP without it are told apart; nothing of it is lost.

use std::io;

use bytes::Buf;
use bytes::buf::Take;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::rewound::Rewound;

/// The record type of a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// With which HTTP/2 begins (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a caller speaks, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Tls,
    Http2,
    /// Or something else that is not for this port.
    Http1,
}

/// What was read to tell it. It lies in place: nothing is allocated for it.
type Begun = Take<io::Cursor<[u8; PREFACE.len()]>>;

/// Reads until it can be told; `None` if the caller goes before.
pub(crate) async fn tell<S>(mut stream: S) -> io::Result<Option<(Speaks, Rewound<Begun, S>)>>
where
    S: AsyncRead + Unpin,
{
    let mut head = [0; PREFACE.len()];
    let mut length = 0;
    loop {
        let count = stream.read(head.get_mut(length..).unwrap_or_default()).await?;
        length += count;
        let seen = head.get(..length).unwrap_or_default();
        let speaks = match seen.first() {
            None => return Ok(None),
            Some(&HANDSHAKE) => Speaks::Tls,
            Some(_) if seen == PREFACE => Speaks::Http2,
            // What ends within the preface is no HTTP/1.1 either, as its engine will find.
            Some(_) if PREFACE.starts_with(seen) && count > 0 => continue,
            Some(_) => Speaks::Http1,
        };
        return Ok(Some((speaks, Rewound::new(Buf::take(io::Cursor::new(head), length), stream))));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    struct Slow(&'static [u8]);

    impl AsyncRead for Slow {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some((first, rest)) = self.0.split_first() {
                buffer.put_slice(&[*first]);
                self.0 = rest;
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_begins_how() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01"[..], Some(Speaks::Tls)),
            (b"GET / HTTP/1.1\r\n\r\n", Some(Speaks::Http1)),
            (b"PUT / HTTP/1.1\r\n\r\n", Some(Speaks::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Some(Speaks::Http2)),
            (b"PRI * HTTP/2.0\r\n", Some(Speaks::Http1)),
            (b"", None),
        ] {
            // Byte by byte, as slow as a caller can be.
            let slow = Slow(bytes);
            let told = tell(slow).await.unwrap();
            assert_eq!(told.as_ref().map(|(speaks, _)| *speaks), expected);
            if let Some((_, mut rewound)) = told {
                let mut all = Vec::new();
                rewound.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, bytes);
            }
        }
    }
}
