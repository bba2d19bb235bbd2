//! HTTP/1.1 to the application: one request at a time, sent and answered where it is waited for.
//!
//! No task of its own serves a connection: what waits for an answer writes and reads by itself. Only the rest of a body
//! that an answer has overtaken is sent by a task.
//!
//! How a request is written and an answer read is [`wire`](crate::forward::wire)'s to say.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::body::Body;
use super::pump::Pump;
use super::transport::Transport;
use super::{Failure, Outgoing, Received, Repeatable};
use crate::authorize::{Code, Denial};
use crate::fields::Passed;
use crate::forward::body::Outbound;
use crate::forward::message::Answered;
use crate::forward::pool::Place;
use crate::forward::room::SHORTEST_READ;
use crate::forward::wire::answer::{self, Head, Heads};
use crate::forward::wire::{Fault, Sending};

/// A connection to the application over which one request at a time is sent.
pub(in crate::forward) struct Upstream {
    /// Shared with the task that sends the rest of a body, if there is one.
    transport: Rc<RefCell<Transport>>,
    /// What came and was not looked at yet. An unused connection has none, and holds room for a short answer at most.
    buffer: BytesMut,
}

/// What is left of a connection after its last HTTP message: what was read too far, and the connection.
pub(in crate::forward) type Freed = (Bytes, Transport);

impl Upstream {
    /// Over a connection that is there.
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport: Rc::new(RefCell::new(transport)), buffer: BytesMut::new() }
    }

    /// Whether nothing has come since the last answer, not even the end: as far as is known without asking the system.
    pub(in crate::forward) fn is_usable(&self) -> bool {
        let (mut context, mut scrap) = (Context::from_waker(Waker::noop()), [0]);
        let mut transport = self.transport.borrow_mut();
        Pin::new(&mut *transport).poll_read(&mut context, &mut ReadBuf::new(&mut scrap)).is_pending()
    }

    /// Reads what there is: so many bytes, none at the end.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // What earlier answers have left of it would cut this one in two. Mostly nobody holds those any more, and it is the
        // same memory.
        if self.buffer.capacity() - self.buffer.len() < SHORTEST_READ {
            self.buffer.reserve(SHORTEST_READ);
        }
        let mut transport = self.transport.borrow_mut();
        poll_read_buf(Pin::new(&mut *transport), context, &mut self.buffer)
    }

    pub(super) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// What it has become after an answer that ended HTTP on it.
    ///
    /// # Errors
    /// [`Code::ApplicationFailed`] if something is still being sent.
    pub(in crate::forward) fn free(self) -> Result<Freed, Denial> {
        let transport = Rc::try_unwrap(self.transport).map_err(|_| {
            Denial::new(Code::ApplicationFailed, "the application switched protocols within a request")
        })?;
        Ok((self.buffer.freeze(), transport.into_inner()))
    }
}

/// Sends a request, whose body is given beside its head, and waits for the head of its answer.
pub(super) async fn send(
    upstream: Upstream,
    place: Rc<Place>,
    outgoing: &Outgoing<'_, impl Passed>,
    body: Outbound,
) -> Result<Answered<Received>, Failure> {
    let (upstream, head, sending) = exchange(upstream, outgoing, body).await?;
    if head.response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure {
            denial: Denial::new(Code::ApplicationFailed, "the application switched protocols unasked"),
            unsent: None,
            repeatable: Repeatable::Never,
        });
    }
    let place = head.keeps.then_some(place);
    let body = Received::Http1(Body::new(upstream, head.body, place, sending));
    Ok(head.response.map(|()| body))
}

/// Sends a request without a body that may turn the connection into something else, and waits for the head of its
/// answer.
pub(in crate::forward) async fn ask(
    upstream: Upstream,
    outgoing: &Outgoing<'_, impl Passed>,
) -> Result<(Upstream, Head), Denial> {
    match exchange(upstream, outgoing, Outbound::Empty).await {
        Ok((upstream, head, _)) => Ok((upstream, head)),
        Err(failure) => Err(failure.denial),
    }
}

/// The body of an answer to [`ask`] that is an ordinary one. Its connection ends with it.
pub(in crate::forward) fn rest(upstream: Upstream, body: answer::Body) -> Received {
    Received::Http1(Body::new(upstream, body, None, None))
}

/// Beside the head comes what is still to be sent of the request.
async fn exchange(
    mut upstream: Upstream,
    outgoing: &Outgoing<'_, impl Passed>,
    body: Outbound,
) -> Result<(Upstream, Head, Option<Pump>), Failure> {
    let mut sending = Sending::request(outgoing.method, outgoing.target(), outgoing.fields, body);
    let (mut reading, mut is_sent) = (Reading::new(outgoing.method.clone()), false);
    let outcome = poll_fn(|context| {
        if !is_sent {
            let mut transport = upstream.transport.borrow_mut();
            match sending.poll(&mut *transport, context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => is_sent = true,
                Poll::Ready(Err(Fault::Body(error))) => {
                    return Poll::Ready(Err(reading.broken_off(&error, Repeatable::Never)));
                }
                // It may have answered before it closed.
                Poll::Ready(Err(Fault::Connection(error))) => {
                    is_sent = true;
                    reading.failed = Some(error);
                }
            }
        }
        reading.poll(&mut upstream, context)
    })
    .await;
    let mut head = outcome?;
    head.keeps &= reading.failed.is_none();
    let pump = (!is_sent).then(|| Pump::start(send_rest(&upstream, sending)));
    Ok((upstream, head, pump))
}

/// Reads up to the end of an answer's head.
struct Reading {
    heads: Heads,
    /// Whether something of an answer was seen.
    has_begun: bool,
    /// Why nothing more can be sent.
    failed: Option<io::Error>,
}

impl Reading {
    fn new(method: Method) -> Self {
        Self { heads: Heads::new(method), has_begun: false, failed: None }
    }

    fn poll(&mut self, upstream: &mut Upstream, context: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        loop {
            match self.heads.take(&mut upstream.buffer) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(denial) => {
                    return Poll::Ready(Err(Failure { denial, unsent: None, repeatable: Repeatable::Never }));
                }
            }
            let error = match ready!(upstream.poll_read(context)) {
                Ok(1..) => {
                    self.has_begun = true;
                    continue;
                }
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            let error = self.failed.take().unwrap_or(error);
            return Poll::Ready(Err(self.broken_off(&error, Repeatable::IfIdempotent)));
        }
    }

    fn broken_off(&self, error: &dyn std::fmt::Display, repeatable: Repeatable) -> Failure {
        Failure::broken_off(error, None, if self.has_begun { Repeatable::Never } else { repeatable })
    }
}

/// Sends the rest of a request although its answer has begun.
fn send_rest(upstream: &Upstream, mut sending: Sending<Outbound>) -> impl Future<Output = ()> + 'static {
    let transport = Rc::clone(&upstream.transport);
    async move {
        // How it ends concerns nobody: the answer is there.
        let _ = poll_fn(|context| sending.poll(&mut *transport.borrow_mut(), context)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn no_answer_is_cut_by_the_room_that_others_have_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut application = listener.accept().await.unwrap().0;
        let mut upstream = Upstream::new(Transport::Plain(stream));
        let mut room = None;
        for number in 0..20 {
            application.write_all(&[b'x'; 1100]).await.unwrap();
            let reading = poll_fn(|context| upstream.poll_read(context));
            let read = timeout(Duration::from_secs(10), reading).await.expect("it has come").unwrap();
            assert_eq!(read, 1100, "answer {number}");
            let body = upstream.buffer().split_to(read).freeze();
            // Nothing is allocated for the next one as long as nobody holds this one.
            let before = *room.get_or_insert(body.as_ptr());
            assert!(
                (0..4096).contains(&(body.as_ptr().addr().wrapping_sub(before.addr()))),
                "answer {number}"
            );
        }
    }
}
