//! A handshake, from the caller's first byte to a [`TlsStream`].

use std::io;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::records::{self, HEADER, Records};
use super::stream::{Agreed, TlsStream};

/// Room for a usual flight of the caller's.
const USUAL: usize = 4 << 10;
/// Most bytes that are kept of a handshake: rustls takes messages of up to 64 KiB, in records.
const MOST: usize = (64 << 10) + records::RECORD;

/// Why a handshake came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It can't succeed, and the caller has been told why.
    Tls(Error),
    /// The connection ended or broke.
    Closed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// Performs a handshake. `each_step` is called after each piece of rustls' work, on the thread that did it.
///
/// # Errors
/// [`Failure`], with the stream.
pub(super) async fn perform<S>(
    config: Arc<ServerConfig>,
    mut stream: S,
    each_step: impl FnMut(),
) -> Result<TlsStream<S>, (Failure, S)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match negotiate(config, &mut stream, each_step).await {
        Ok((records, agreed, unread)) => Ok(TlsStream::new(stream, records, agreed, unread)),
        Err(failure) => Err((failure, stream)),
    }
}

async fn negotiate<S>(
    config: Arc<ServerConfig>,
    stream: &mut S,
    mut each_step: impl FnMut(),
) -> Result<(Records, Agreed, Vec<u8>), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = UnbufferedServerConnection::new(config)?;
    let mut received = Received::default();
    let mut unsent = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = connection.process_tls_records(received.shown());
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(|room| data.encode(room), &mut unsent).map(|()| Step::Again)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Step::Send)
            }
            Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Over),
            Ok(ConnectionState::BlockedHandshake) => Ok(Step::More),
            Ok(other) => Err(Error::General(format!("{other:?} within a handshake"))),
            Err(error) => Err(error),
        };
        received.discard(discard);
        each_step();
        match step {
            Ok(Step::Again) => {}
            Ok(Step::Send) => {
                stream.write_all(&unsent).await?;
                stream.flush().await?;
                unsent.clear();
            }
            Ok(Step::Over) if !connection.is_handshaking() => {
                let agreed = Agreed::of(&connection);
                return Ok((Records::after(connection)?, agreed, received.unseen()));
            }
            Ok(Step::More | Step::Over) => {
                while !received.show_more() {
                    received.read(stream).await?;
                }
            }
            Err(error) => {
                tell(&mut connection, &mut unsent);
                // The error tells more than that the caller has gone.
                if stream.write_all(&unsent).await.is_ok() {
                    let _ = stream.flush().await;
                }
                return Err(error.into());
            }
        }
    }
}

/// What is to be done next.
enum Step {
    Again,
    Send,
    More,
    Over,
}

/// What has come of a handshake. rustls is shown one record after the other: what follows the last one of the
/// handshake is none of its business.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// Where the last record that was shown begins.
    begins: usize,
    /// Where what was shown ends.
    shown: usize,
    /// Whether the last record that was shown is whole.
    is_whole: bool,
}

impl Received {
    fn shown(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.shown).unwrap_or_default()
    }

    /// Forgets what rustls needs no more.
    fn discard(&mut self, count: usize) {
        let count = count.min(self.shown);
        self.bytes.drain(..count);
        self.shown -= count;
        self.begins = self.begins.saturating_sub(count);
    }

    /// Shows the next record, or more of the one that isn't whole: whether there is any more to be shown.
    fn show_more(&mut self) -> bool {
        if std::mem::take(&mut self.is_whole) {
            self.begins = self.shown;
        }
        let rest = self.bytes.get(self.begins..).unwrap_or_default();
        let whole = rest
            .first_chunk::<HEADER>()
            .map(|[_, _, _, high, low]| HEADER + usize::from(u16::from_be_bytes([*high, *low])));
        let to = self.begins + whole.unwrap_or(HEADER).min(rest.len());
        self.is_whole = whole.is_some_and(|whole| rest.len() >= whole);
        std::mem::replace(&mut self.shown, to) < to
    }

    async fn read<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<(), Failure> {
        if self.bytes.len() >= MOST {
            return Err(Error::General("the handshake is too long".to_owned()).into());
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(USUAL);
        }
        if stream.read_buf(&mut self.bytes).await? == 0 {
            return Err(Failure::Closed);
        }
        Ok(())
    }

    /// What follows the handshake.
    fn unseen(mut self) -> Vec<u8> {
        self.bytes.split_off(if self.is_whole { self.shown } else { self.begins })
    }
}

fn encode(
    mut into: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    unsent: &mut Vec<u8>,
) -> Result<(), Error> {
    let from = unsent.len();
    match into(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => unsent.resize(from + needed.required_size, 0),
        Ok(_) => return Ok(()),
        Err(error @ EncodeError::AlreadyEncoded) => return Err(Error::General(error.to_string())),
    }
    let count = into(unsent.get_mut(from..).unwrap_or_default());
    let count = count.map_err(|error| Error::General(error.to_string()))?;
    unsent.truncate(from + count);
    Ok(())
}

/// Appends the alert, and whatever else is still to be sent after an error.
fn tell(connection: &mut UnbufferedServerConnection, unsent: &mut Vec<u8>) {
    while connection.wants_write() {
        // What waits to be sent comes before anything is read, so there is nothing to be read.
        let UnbufferedStatus { state, .. } = connection.process_tls_records(&mut []);
        let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { return };
        if encode(|room| data.encode(room), unsent).is_err() {
            return;
        }
    }
}
