//! The bytes within TLS.
//!
//! A stream that waits holds no buffer. What is read goes through a buffer of the thread's, is opened there, and copied
//! to the reader; only what it has no room for, and a record that hasn't come whole, is kept. What is written is
//! sealed and handed to the socket at once; only what that doesn't take is kept, and nothing more is taken from the
//! writer until it has gone.

mod unread;

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::cipher::OutboundChunks;
use rustls::server::UnbufferedServerConnection;
use rustls::{AlertDescription, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::unread::{Rest, Unread};
use super::records::{self, Fault, HEADER, Opened, PLAINTEXT, RECORD, Records};

/// Most bytes of ciphertext that are read at once.
const READ: usize = 4 * RECORD;
/// Most records that are sealed and sent at once.
const WRITE: usize = 4;
/// Most slices that one write gathers.
const SLICES: usize = 32;

thread_local! {
    /// What ciphertext is read into and opened in. Grows to what is read, at most to [`READ`] and one record.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// What is sealed into, at most [`WRITE`] records.
    static SEALED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What was agreed on besides keys.
pub(super) struct Agreed {
    alpn: Option<Box<[u8]>>,
    group: Option<&'static dyn SupportedKxGroup>,
    has_certificate: bool,
}

impl Agreed {
    pub(super) fn of(connection: &UnbufferedServerConnection) -> Self {
        Self {
            alpn: connection.alpn_protocol().map(Box::from),
            group: connection.negotiated_key_exchange_group(),
            has_certificate: connection.peer_certificates().is_some(),
        }
    }
}

/// A caller's connection by TLS, after the handshake.
pub struct TlsStream<S> {
    stream: S,
    records: Records,
    agreed: Agreed,
    reading: Reading,
    unread: Unread,
    has_ended: bool,
    /// Sealed, and not taken by the socket: from `sent` on. Empty without memory when all is sent.
    unsent: Vec<u8>,
    sent: usize,
}

enum Reading {
    Open,
    /// The caller has said that it sends nothing more.
    Closed,
    /// The connection ended without that, so what came may not be all.
    Truncated,
    Failed(Box<Error>),
}

impl<S> std::fmt::Debug for TlsStream<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl<S> TlsStream<S> {
    /// After a handshake; `unread` is what came behind it.
    pub(super) fn new(stream: S, records: Records, agreed: Agreed, unread: Vec<u8>) -> Self {
        let unread = Unread { bytes: unread, ..Unread::default() };
        let (reading, unsent) = (Reading::Open, Vec::new());
        Self { stream, records, agreed, reading, unread, has_ended: false, unsent, sent: 0 }
    }

    /// The protocol that ALPN agreed on (RFC 7301).
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.agreed.alpn.as_deref()
    }

    /// How the keys were exchanged.
    pub fn key_exchange_group(&self) -> Option<&'static dyn SupportedKxGroup> {
        self.agreed.group
    }

    /// Whether the caller showed a certificate, accepted or not.
    pub fn has_certificate(&self) -> bool {
        self.agreed.has_certificate
    }

    /// Bytes of memory that buffers hold.
    #[cfg(test)]
    fn buffered(&self) -> usize {
        self.unread.bytes.capacity() + self.unsent.capacity()
    }

    /// Opens records of `bytes` from `at` on, as long as there is room for content.
    fn open(&mut self, bytes: &mut [u8], mut at: usize, reader: &mut ReadBuf<'_>) -> Result<Rest, Fault> {
        while reader.remaining() > 0 {
            let Some(length) = records::length(bytes.get(at..).unwrap_or_default())? else { break };
            let opened = self.records.open(bytes.get_mut(at..at + length).unwrap_or_default())?;
            match opened {
                Opened::Content(content) => {
                    let (taken, rest) = content.split_at(content.len().min(reader.remaining()));
                    reader.put_slice(taken);
                    let ends = at + HEADER + content.len();
                    let content = ends - rest.len()..ends;
                    at += length;
                    if !content.is_empty() {
                        return Ok(Rest { content, record: at });
                    }
                }
                Opened::Nothing => at += length,
                Opened::CloseNotify => {
                    self.reading = Reading::Closed;
                    // Whatever follows doesn't count (RFC 8446, section 6.1).
                    at = bytes.len();
                    break;
                }
            }
        }
        Ok(Rest { content: at..at, record: at })
    }

    /// What reading has come to, when it has come to an end.
    fn ended(&self) -> Option<io::Result<()>> {
        match &self.reading {
            Reading::Open => None,
            Reading::Closed => Some(Ok(())),
            Reading::Truncated => Some(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended without close_notify",
            ))),
            Reading::Failed(error) => {
                Some(Err(io::Error::new(io::ErrorKind::InvalidData, Error::clone(error))))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Hands out content, as much as one read of the socket brings and the reader has room for.
    fn poll_content(&mut self, context: &mut Context<'_>, reader: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = reader.remaining();
        if room == 0 || self.unread.give(reader) {
            return Poll::Ready(Ok(()));
        }
        // Records that came whole, while there was no room for what they hold.
        if !self.unread.bytes.is_empty() {
            let Unread { mut bytes, record, .. } = std::mem::take(&mut self.unread);
            let rest = self.open_or_fail(context, &mut bytes, record, reader);
            self.unread.keep(bytes, &rest);
        }
        loop {
            if reader.remaining() < room {
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = self.ended() {
                return Poll::Ready(end);
            }
            let mut scratch = SCRATCH.take();
            let read = self.poll_records(context, &mut scratch, room, reader);
            SCRATCH.set(scratch);
            ready!(read)?;
        }
    }

    /// Reads once from the socket, and opens what has come.
    fn poll_records(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Vec<u8>,
        room: usize,
        reader: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = self.unread.records().len();
        let to = before + room.saturating_add(RECORD - PLAINTEXT).clamp(RECORD, READ);
        if scratch.len() < to {
            scratch.resize(to, 0);
        }
        let mut buffer = ReadBuf::new(scratch.get_mut(before..to).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        let to = before + buffer.filled().len();
        if to == before {
            self.unread = Unread::default();
            self.reading = Reading::Truncated;
            return Poll::Ready(Ok(()));
        }
        for (to, from) in scratch.iter_mut().zip(self.unread.records()) {
            *to = *from;
        }
        let bytes = scratch.get_mut(..to).unwrap_or_default();
        let rest = self.open_or_fail(context, bytes, 0, reader);
        self.unread.copy(bytes, &rest);
        Poll::Ready(Ok(()))
    }

    /// Opens records; a fault ends reading, and writing with it, and the caller is told.
    fn open_or_fail(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut [u8],
        at: usize,
        reader: &mut ReadBuf<'_>,
    ) -> Rest {
        let fault = match self.open(bytes, at, reader) {
            Ok(rest) => return rest,
            Err(fault) => fault,
        };
        self.reading = Reading::Failed(Box::new(fault.error));
        if !std::mem::replace(&mut self.has_ended, true)
            && let Some(alert) = fault.alert
            && self.records.alert(alert, &mut self.unsent).is_ok()
        {
            // If it can't be sent now, it is with the next flush or the shutdown. The fault is what is told.
            let _ = self.poll_unsent(context);
        }
        Rest { content: 0..0, record: bytes.len() }
    }

    /// Hands the socket what it didn't take before.
    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.unsent.get(self.sent..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        (self.unsent, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn poll_seal(
        &mut self,
        context: &mut Context<'_>,
        written: &OutboundChunks<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Reading::Failed(error) = &self.reading {
            return Poll::Ready(Err(broken(Error::clone(error))));
        }
        if self.has_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_unsent(context))?;
        let mut sealed = SEALED.take();
        sealed.clear();
        let sent = self.seal(written, &mut sealed).map_err(broken);
        let sent = sent.and_then(|count| self.send(context, &sealed).map(|()| count));
        SEALED.set(sealed);
        // Once a record is sealed, it is sent, or no other is.
        self.has_ended |= sent.is_err();
        Poll::Ready(sent)
    }

    /// Seals as much as one write sends, and tells how much that is.
    fn seal(&mut self, written: &OutboundChunks<'_>, sealed: &mut Vec<u8>) -> Result<usize, Error> {
        self.records.renew(sealed)?;
        let mut rest = written.clone();
        for _ in 0..WRITE {
            if rest.is_empty() {
                break;
            }
            let (first, others) = rest.split_at(PLAINTEXT);
            self.records.content(&first, sealed)?;
            rest = others;
        }
        Ok(written.len() - rest.len())
    }

    /// Hands records to the socket, and keeps what it doesn't take.
    fn send(&mut self, context: &mut Context<'_>, sealed: &[u8]) -> io::Result<()> {
        let taken = match Pin::new(&mut self.stream).poll_write(context, sealed) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(count) => count?,
            Poll::Pending => 0,
        };
        self.unsent.extend_from_slice(sealed.get(taken..).unwrap_or_default());
        Ok(())
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_content(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_seal(context, &OutboundChunks::Single(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered: [&[u8]; SLICES] = [&[]; SLICES];
        let mut count = 0;
        for (to, from) in gathered.iter_mut().zip(slices.iter().filter(|slice| !slice.is_empty())) {
            *to = from;
            count += 1;
        }
        let gathered = gathered.get(..count).unwrap_or_default();
        self.get_mut().poll_seal(context, &OutboundChunks::new(gathered))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.has_ended, true)
            && let Err(error) = this.records.alert(AlertDescription::CloseNotify, &mut this.unsent)
        {
            return Poll::Ready(Err(broken(error)));
        }
        ready!(this.poll_unsent(context))?;
        match ready!(Pin::new(&mut this.stream).poll_shutdown(context)) {
            // Whoever has gone can't be told.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            shut => Poll::Ready(shut),
        }
    }
}

#[cfg(test)]
mod tests;
