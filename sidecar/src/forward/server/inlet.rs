//! What comes from a caller over HTTP/1.1: shared by whoever waits for the next request and whoever takes a body.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::request_body::{Broken, Http1Body, Source};
use crate::authorize::Denial;
use crate::connection::Connection;
use crate::forward::body::CallerBody;
use crate::forward::copy::with_scratch;
use crate::forward::io::Watched;
use crate::forward::message::RequestHead;
use crate::forward::room::{Room, SHORTEST_READ};
use crate::forward::wire::request::{Head, Heads, stand_in};
use crate::forward::wire::{Asked, Rest};
use crate::limits::Limits;
use crate::signal::Order;

/// What may come before it is asked for. It is read all the same, to notice that the caller goes away.
const AHEAD: usize = 64 << 10;
/// RFC 9110 section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A caller's side of a connection.
pub(super) struct Inlet<S> {
    stream: RefCell<Watched<S>>,
    connection: Rc<Connection>,
    state: RefCell<State>,
}

struct State {
    /// What has come and was not taken yet. An idle connection holds none.
    buffer: BytesMut,
    room: Room,
    heads: Heads,
    /// Requests whose heads were read.
    requests: u64,
    /// What is to come of the last request's body.
    body: Option<Rest>,
    /// Whether somebody takes it; never without one.
    is_taken: bool,
    /// What is still to be said before the body is sent.
    interim: &'static [u8],
    /// What was found wrong with it, until somebody tells.
    fault: Option<Denial>,
    /// Whether nothing that follows can be believed.
    is_broken: bool,
    /// Whether the caller's side has ended.
    is_over: bool,
    /// Of whoever waits for the next request while the body is taken.
    waiting: Option<Waker>,
}

/// What comes next on a connection.
pub(super) enum Next {
    Request(RequestHead, CallerBody, Asked),
    /// One that is none: what stands for it, and what is wrong with it.
    Refused(RequestHead, Denial),
    /// Nothing: the connection can be closed.
    End,
    /// Nothing: it broke, or ended within a request.
    Broken,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Inlet<S> {
    pub(super) fn new(stream: Watched<S>, connection: &Rc<Connection>, limits: &Limits) -> Rc<Self> {
        let state = State {
            buffer: BytesMut::new(),
            room: Room::default(),
            heads: Heads::new(limits),
            requests: 0,
            body: None,
            is_taken: false,
            interim: &[],
            fault: None,
            is_broken: false,
            is_over: false,
            waiting: None,
        };
        let connection = Rc::clone(connection);
        Rc::new(Self { stream: RefCell::new(stream), connection, state: RefCell::new(state) })
    }

    /// Waits for the next request, once the last one's body is out of the way.
    pub(super) fn poll_next(self: &Rc<Self>, context: &mut Context<'_>) -> Poll<Next> {
        let state = &mut *self.state.borrow_mut();
        let is_finishing = self.connection.signal.order() != Order::Run;
        if state.is_taken && !is_finishing {
            // It goes on to the application although the answer is there.
            state.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.is_broken || !self.pass_over(state, context) {
            return Poll::Ready(Next::End);
        }
        loop {
            match state.heads.take(&mut state.buffer) {
                Ok(Some(head)) => {
                    self.connection.within_head.set(false);
                    return Poll::Ready(self.begin(state, head));
                }
                Ok(None) => {}
                Err(denial) => {
                    self.connection.within_head.set(false);
                    state.is_broken = true;
                    return Poll::Ready(Next::Refused(stand_in(&state.buffer), denial));
                }
            }
            let is_between = state.buffer.is_empty();
            self.note_head(!is_between);
            // Who has just come is about to ask.
            if is_between && (state.is_over || (is_finishing && state.requests > 0)) {
                return Poll::Ready(Next::End);
            }
            if state.is_over {
                return Poll::Ready(Next::Broken);
            }
            match self.poll_fill(state, context) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Broken),
                Poll::Pending => {
                    if is_between {
                        state.buffer = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads ahead while an answer is on its way; ready once the caller has gone.
    pub(super) fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.state.borrow_mut();
        loop {
            if state.is_broken || state.is_taken || state.buffer.len() >= AHEAD {
                return Poll::Pending;
            }
            if state.is_over {
                return Poll::Ready(());
            }
            if ready!(self.poll_fill(state, context)).is_err() {
                return Poll::Ready(());
            }
            self.connection.within_head.set(!state.buffer.is_empty());
        }
    }

    /// The answer begins: whether another request can follow, as far as this side goes.
    pub(super) fn answers(&self, context: &mut Context<'_>) -> bool {
        let state = &mut *self.state.borrow_mut();
        // A caller who was not told to go on may leave the body out.
        let is_whole = std::mem::take(&mut state.interim).is_empty();
        is_whole && !state.is_broken && (state.is_taken || self.pass_over(state, context))
    }

    /// The stream, to write to.
    pub(super) fn stream(&self) -> &RefCell<Watched<S>> {
        &self.stream
    }

    /// What has come beyond the last request, and the stream; `None` while somebody takes a body of it.
    pub(super) fn into_parts(self: Rc<Self>) -> Option<(Bytes, Watched<S>)> {
        let this = Rc::into_inner(self)?;
        Some((this.state.into_inner().buffer.freeze(), this.stream.into_inner()))
    }

    /// Closes the stream.
    pub(super) async fn shut_down(&self) {
        // How it ends is the caller's affair.
        let _ = poll_fn(|context| Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)).await;
    }

    fn begin(self: &Rc<Self>, state: &mut State, head: Head) -> Next {
        let asked = Asked::by(&head);
        state.requests += 1;
        if head.body.is_over() {
            return Next::Request(head.request, CallerBody::Empty, asked);
        }
        state.interim = if head.expects() { CONTINUE } else { &[] };
        (state.body, state.is_taken) = (Some(head.body), true);
        let body = Http1Body::new(Rc::<Self>::clone(self), state.requests);
        Next::Request(head.request, CallerBody::Http1(body), asked)
    }

    /// Passes over what nobody wants of a body, as far as it is there; whether that was all of it.
    fn pass_over(&self, state: &mut State, context: &mut Context<'_>) -> bool {
        if state.is_taken {
            return false;
        }
        let mut passed = 0;
        while let Some(rest) = &mut state.body {
            let before = state.buffer.len();
            match rest.take(&mut state.buffer) {
                Err(denial) => {
                    state.refuse(denial);
                    return false;
                }
                Ok(_) if rest.is_over() => state.end_body(),
                Ok(_) => {
                    passed += before - state.buffer.len();
                    let is_there = !state.buffer.is_empty()
                        || matches!(self.poll_fill(state, context), Poll::Ready(Ok(1..)));
                    if passed > AHEAD || !is_there {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn note_head(&self, has_begun: bool) {
        let connection = &self.connection;
        connection.within_head.set(has_begun);
        if has_begun && connection.in_flight.get() == 0 && connection.head_since.get().is_none() {
            connection.head_since.set(Some(connection.last_byte.get()));
        }
    }

    fn poll_fill(&self, state: &mut State, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let read = if state.body.is_some() {
            state.room.reserve(&mut state.buffer);
            let read = poll_read_buf(Pin::new(&mut *stream), context, &mut state.buffer);
            read.map_ok(|count| {
                state.room.learn(count);
                count
            })
        } else {
            // Mostly nothing has come, and what comes is short: no room is made before it is known how much it takes.
            with_scratch(|scratch| {
                let mut read = ReadBuf::new(scratch.get_mut(..SHORTEST_READ).unwrap_or_default());
                ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
                state.buffer.extend_from_slice(read.filled());
                Poll::Ready(io::Result::Ok(read.filled().len()))
            })
        };
        let count = ready!(read)?;
        state.is_over = count == 0;
        Poll::Ready(Ok(count))
    }
}

impl State {
    fn refuse(&mut self, denial: Denial) {
        self.fault = Some(denial);
        self.is_broken = true;
        self.end_body();
    }

    fn break_off(&mut self, broken: Broken) -> Broken {
        self.is_broken = true;
        self.end_body();
        broken
    }

    fn end_body(&mut self) {
        (self.body, self.is_taken, self.room) = (None, false, Room::default());
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Source for Inlet<S> {
    fn poll_frame(
        &self,
        request: u64,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let state = &mut *self.state.borrow_mut();
        loop {
            let Some(rest) = state.body.as_mut().filter(|_| state.requests == request) else {
                let is_refused = state.is_broken && state.requests == request;
                return Poll::Ready(is_refused.then_some(Err(Broken::Framing)));
            };
            match rest.take(&mut state.buffer) {
                Err(denial) => {
                    state.refuse(denial);
                    continue;
                }
                Ok(frame) => {
                    if rest.is_over() {
                        state.end_body();
                    }
                    if frame.is_some() {
                        // Who sends unasked need not be asked.
                        state.interim = &[];
                        return Poll::Ready(frame.map(Ok));
                    }
                    if state.body.is_none() {
                        continue;
                    }
                }
            }
            if let Err(error) = ready!(self.poll_go_on(state, context)) {
                return Poll::Ready(Some(Err(state.break_off(Broken::Connection(error)))));
            }
            match ready!(self.poll_fill(state, context)) {
                Ok(0) => return Poll::Ready(Some(Err(state.break_off(Broken::Short)))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(state.break_off(Broken::Connection(error))))),
            }
        }
    }

    fn size_hint(&self, request: u64) -> SizeHint {
        let state = self.state.borrow();
        let rest = state.body.as_ref().filter(|_| state.requests == request);
        rest.map_or_else(|| SizeHint::with_exact(0), Rest::size_hint)
    }

    fn take_fault(&self) -> Option<Denial> {
        self.state.borrow_mut().fault.take()
    }

    fn leave(&self, request: u64) {
        let state = &mut *self.state.borrow_mut();
        if state.requests == request && state.body.is_some() {
            state.is_taken = false;
            if let Some(waiting) = state.waiting.take() {
                waiting.wake();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inlet<S> {
    /// Tells a caller who waits for it that the body is wanted.
    fn poll_go_on(&self, state: &mut State, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.stream.borrow_mut();
        let is_asked_for = !state.interim.is_empty();
        while !state.interim.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(context, state.interim))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.interim = state.interim.get(count..).unwrap_or_default();
        }
        if is_asked_for {
            // What isn't flushed yet goes with what follows.
            let _ = Pin::new(&mut *stream).poll_flush(context)?;
        }
        Poll::Ready(Ok(()))
    }
}
