//! The rest of a request on its way to the application while its answer comes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::{Reason, SendStream};
use hyper::body::Body as _;
use tokio::task::AbortHandle;

use crate::forward::body::Outbound;
use crate::forward::receiving::reason;

/// A body that is being sent. Dropping it gives it up: over HTTP/2, with the answer dropped too, the stream is reset.
pub(in crate::forward) struct Pump(Option<AbortHandle>);

impl Pump {
    /// Sends it in a task of its own.
    pub(super) fn start(sending: impl Future<Output = ()> + 'static) -> Self {
        Self(Some(tokio::task::spawn_local(sending).abort_handle()))
    }

    /// The answer is whole; the rest is sent although nobody watches, for an application may have said all and still
    /// listen.
    pub(super) fn go_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

/// Sends a body into an HTTP/2 stream, as fast as the application takes it.
pub(super) async fn fill(mut body: Outbound, mut stream: SendStream<Bytes>) {
    loop {
        let frame = poll_fn(|context| {
            // The application wants no more of it.
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(None);
            }
            Pin::new(&mut body).poll_frame(context).map(Some)
        });
        match frame.await {
            None => return,
            Some(None) => {
                // The end, without trailers. If it can't be sent the stream is gone, and the answer tells.
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
            Some(Some(Err(error))) => {
                // With the caller's own code, if it gave one.
                return stream.send_reset(reason(&error).unwrap_or(Reason::CANCEL));
            }
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let ends = body.is_end_stream();
                    if !send(&mut stream, data, ends).await || ends {
                        return;
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        let _ = stream.send_trailers(trailers);
                    }
                    return;
                }
            },
        }
    }
}

/// Sends all of it, waiting for room. False if the stream has ended.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, ends: bool) -> bool {
    if data.is_empty() {
        return !ends || stream.send_data(data, true).is_ok();
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = poll_fn(|context| stream.poll_capacity(context)).await else { return false };
        let part = data.split_to(room.min(data.len()));
        if !part.is_empty() && stream.send_data(part, ends && data.is_empty()).is_err() {
            return false;
        }
    }
    true
}
