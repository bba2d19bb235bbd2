//! A message on its way over HTTP/1.1: its head written anew, its body framed anew.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, MAX_FORWARDS, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method};
use hyper::body::Body;
use tokio::io::AsyncWrite;

use crate::fields::{Name, Passed};

/// What is being sent.
pub(in crate::forward) struct Sending<B> {
    /// A head, a chunk's size, or a body's end: what comes before the data.
    before: Vec<u8>,
    data: Bytes,
    /// What comes after it.
    after: &'static [u8],
    body: B,
    framing: Framing,
}

/// How a body's end is told.
pub(super) enum Framing {
    /// Nothing more is to come of the body.
    Over,
    /// So many bytes are.
    Length(u64),
    /// Chunks, and of trailers these, which were announced.
    Chunked(Vec<HeaderName>),
    /// By the connection's.
    UntilClose,
}

/// Why a message could not be sent to its end.
#[derive(Debug)]
pub(in crate::forward) enum Fault {
    /// Its body broke off.
    Body(String),
    /// The connection takes no more.
    Connection(io::Error),
}

/// Of a head: enough for most.
pub(super) const HEAD: usize = 1 << 10;

impl<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin> Sending<B> {
    /// Of a request, its body beside it. The framing is the body's own, whatever the fields say: its length, or chunks
    /// where it has none. `target` is in origin form.
    pub(in crate::forward) fn request(
        method: &Method,
        target: [&str; 3],
        fields: &impl Passed,
        body: B,
    ) -> Self {
        let mut framing = if body.is_end_stream() {
            Framing::Over
        } else if let Some(length) = body.size_hint().exact() {
            Framing::Length(length)
        } else {
            Framing::Chunked(Vec::new())
        };
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(method.as_str().as_bytes());
        head.push(b' ');
        for part in target {
            head.extend_from_slice(part.as_bytes());
        }
        head.extend_from_slice(b" HTTP/1.1\r\n");
        let mut has_length = false;
        fields.each(|field| match (field.known, &mut framing) {
            (Some(Name::TransferEncoding), _) => {}
            (Some(Name::ContentLength), framing) => {
                has_length = true;
                match framing {
                    Framing::Chunked(_) | Framing::UntilClose => {}
                    Framing::Length(length) => write_length(&mut head, *length),
                    Framing::Over => write_length(&mut head, 0),
                }
            }
            (known, framing) => {
                if let (Some(Name::Trailer), Framing::Chunked(announced)) = (known, framing) {
                    announced.extend(names(field.value));
                }
                line(&mut head, field.name, field.value);
            }
        });
        match framing {
            Framing::Chunked(_) => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Length(length) if !has_length => write_length(&mut head, length),
            Framing::Length(_) | Framing::Over | Framing::UntilClose => {}
        }
        head.extend_from_slice(b"\r\n");
        Self::new(head, body, framing)
    }

    pub(super) fn new(head: Vec<u8>, body: B, framing: Framing) -> Self {
        Self { before: head, data: Bytes::new(), after: &[], body, framing }
    }

    /// Sends as much as the other side takes, all of it in the end.
    pub(in crate::forward) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        connection: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        loop {
            // The head leaves together with what of the body is there.
            if self.data.is_empty() && self.after.is_empty() {
                let _ = self.poll_next(context)?;
            }
            if self.is_written() {
                return match self.framing {
                    Framing::Over => {
                        let flushed = ready!(Pin::new(connection).poll_flush(context));
                        Poll::Ready(flushed.map_err(Fault::Connection))
                    }
                    // What was written must not wait for what is not there yet.
                    _ => match Pin::new(connection).poll_flush(context) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Connection(error))),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    },
                };
            }
            let connection = Pin::new(&mut *connection);
            let written = if self.data.is_empty() && self.after.is_empty() {
                ready!(connection.poll_write(context, &self.before))
            } else {
                let slices = [IoSlice::new(&self.before), IoSlice::new(&self.data), IoSlice::new(self.after)];
                ready!(connection.poll_write_vectored(context, &slices))
            };
            match written.map_err(Fault::Connection)? {
                0 => return Poll::Ready(Err(Fault::Connection(io::ErrorKind::WriteZero.into()))),
                count => self.advance(count),
            }
        }
    }

    fn is_written(&self) -> bool {
        self.before.is_empty() && self.data.is_empty() && self.after.is_empty()
    }

    fn advance(&mut self, mut count: usize) {
        let taken = count.min(self.before.len());
        if taken == self.before.len() {
            self.before.clear();
        } else {
            self.before.drain(..taken);
        }
        count -= taken;
        let taken = count.min(self.data.len());
        bytes::Buf::advance(&mut self.data, taken);
        count -= taken;
        self.after = self.after.get(count..).unwrap_or_default();
    }

    /// Takes what comes next of the body; ready too where nothing does any more.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            if matches!(self.framing, Framing::Over) {
                return Poll::Ready(Ok(()));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Err(Fault::Body(error.to_string()))),
                None => return Poll::Ready(self.end(None)),
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(self.add(data)),
                Err(frame) => return Poll::Ready(self.end(frame.trailers_ref())),
            }
        }
    }

    fn add(&mut self, data: Bytes) -> Result<(), Fault> {
        match &mut self.framing {
            Framing::Over => return Ok(()),
            Framing::UntilClose => {}
            Framing::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    if rest == 0 {
                        self.framing = Framing::Over;
                    }
                }
                None => return Err(Fault::Body("the body is longer than it was said to be".to_owned())),
            },
            Framing::Chunked(_) => {
                let _ = write!(self.before, "{:X}\r\n", data.len());
                self.after = b"\r\n";
            }
        }
        self.data = data;
        Ok(())
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Fault> {
        match std::mem::replace(&mut self.framing, Framing::Over) {
            Framing::Over | Framing::UntilClose => {}
            Framing::Length(left) => {
                if left > 0 {
                    return Err(Fault::Body("the body is shorter than it was said to be".to_owned()));
                }
            }
            Framing::Chunked(announced) => {
                self.before.extend_from_slice(b"0\r\n");
                for (name, value) in
                    trailers.into_iter().flatten().filter(|(name, _)| announced.contains(name))
                {
                    line(&mut self.before, name.as_str().as_bytes(), value.as_bytes());
                }
                self.before.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

pub(super) fn line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.reserve(name.len() + value.len() + 4);
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

pub(super) fn write_length(head: &mut Vec<u8>, length: u64) {
    line(head, Name::ContentLength.as_str().as_bytes(), itoa::Buffer::new().format(length).as_bytes());
}

/// The trailers that a `Trailer` field names: others come unexpected, and are dropped (RFC 9110 section 6.5.1).
pub(super) fn names(value: &[u8]) -> impl Iterator<Item = HeaderName> {
    // What is no text as a whole names nothing, as hyper has it.
    let names = if value.is_ascii() { value } else { &[] };
    names
        .split(|byte| *byte == b',')
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // They steer how a message is passed on, and come too late for it. Others were taken out for every version.
        .filter(|name| ![CACHE_CONTROL, MAX_FORWARDS, SET_COOKIE].contains(name))
}
