//! The body of an HTTP/1.1 answer, read off the connection as it is asked for.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};

use super::http1::Upstream;
use super::pump::Pump;
use crate::authorize::Denial;
use crate::forward::pool::Place;
use crate::forward::room::Room;
use crate::forward::wire::{Rest, answer};

/// An answer's body. It holds the connection, and gives it back as soon as its end was read.
pub(in crate::forward) struct Body {
    rest: Rest,
    upstream: Option<Upstream>,
    /// Where the connection goes afterwards, if it can be used again.
    place: Option<Rc<Place>>,
    /// What is still being sent of the request; it is given up with the answer, but for one that is complete.
    pump: Option<Pump>,
    room: Room,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(in crate::forward) enum Broken {
    #[error("its connection failed")]
    Connection(#[source] io::Error),
    #[error("its connection ended before the body did")]
    Short,
    #[error("its chunks are no chunks: {0}")]
    Framing(Denial),
}

impl Body {
    /// What follows an answer's head.
    pub(super) fn new(
        upstream: Upstream,
        framing: answer::Body,
        place: Option<Rc<Place>>,
        pump: Option<Pump>,
    ) -> Self {
        let rest = Rest::new(framing);
        let mut body = Self { rest, upstream: Some(upstream), place, pump, room: Room::default() };
        body.finish_if_over();
        body
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match self.take() {
                Ok(None) => {}
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Err(broken) => return Poll::Ready(Some(Err(self.give_up(broken)))),
            }
            let Some(upstream) = &mut self.upstream else { return Poll::Ready(None) };
            self.room.reserve(upstream.buffer());
            match ready!(upstream.poll_read(context)) {
                Ok(0) if self.rest.close() => self.finish_if_over(),
                Ok(0) => return Poll::Ready(Some(Err(self.give_up(Broken::Short)))),
                Ok(count) => self.room.learn(count),
                Err(error) => return Poll::Ready(Some(Err(self.give_up(Broken::Connection(error))))),
            }
        }
    }

    /// What is there of the body.
    fn take(&mut self) -> Result<Option<Frame<Bytes>>, Broken> {
        let Some(upstream) = &mut self.upstream else { return Ok(None) };
        let frame = self.rest.take(upstream.buffer()).map_err(Broken::Framing)?;
        self.finish_if_over();
        Ok(frame)
    }

    /// Gives the connection back if nothing of it is left: what has come beyond the answer belongs to no request.
    fn finish_if_over(&mut self) {
        if !self.is_end_stream() {
            return;
        }
        if let Some(pump) = self.pump.take() {
            pump.go_on();
            self.place = None;
        }
        if let (Some(mut upstream), Some(place)) = (self.upstream.take(), self.place.take())
            && upstream.buffer().is_empty()
        {
            if self.room.is_large() {
                // Empty as it is, it still holds room for a long body's parts.
                *upstream.buffer() = BytesMut::new();
            }
            place.put(upstream);
        }
    }

    fn give_up(&mut self, broken: Broken) -> Broken {
        (self.upstream, self.place, self.pump) = (None, None, None);
        broken
    }

    pub(super) const fn is_end_stream(&self) -> bool {
        self.rest.is_over()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.rest.size_hint()
    }
}
