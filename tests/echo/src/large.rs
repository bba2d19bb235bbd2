//! Large bodies whose every byte is known from its place, made and checked without being kept.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Bytes of a frame; a multiple of [`PERIOD`].
const BLOCK: u64 = PERIOD * 256;
/// A byte is its place modulo this.
const PERIOD: u64 = 251;

fn at(place: u64) -> u8 {
    u8::try_from(place % PERIOD).unwrap_or_default()
}

/// So many bytes, made as they are asked for.
#[derive(Debug)]
pub struct Made {
    left: u64,
    block: Bytes,
    asked: Arc<AtomicU64>,
}

impl Made {
    /// A body of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self::counted(size, Arc::default())
    }

    /// The same, which adds to `asked` the bytes that were asked for.
    pub fn counted(size: u64, asked: Arc<AtomicU64>) -> Self {
        Self { left: size, block: (0..BLOCK).map(at).collect(), asked }
    }
}

impl Body for Made {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let count = usize::try_from(self.left).map_or(self.block.len(), |left| left.min(self.block.len()));
        self.left -= count as u64;
        self.asked.fetch_add(count as u64, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..count)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Reads to the end: how many bytes came, and whether they were what [`Made`] makes.
pub async fn swallow(mut body: Incoming) -> (u64, bool) {
    let (mut count, mut is_right) = (0_u64, true);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (count, false) };
        let Ok(data) = frame.into_data() else { continue };
        is_right &= data.first().is_none_or(|byte| *byte == at(count));
        count += data.len() as u64;
        is_right &= data.last().is_none_or(|byte| *byte == at(count - 1));
    }
    (count, is_right)
}
