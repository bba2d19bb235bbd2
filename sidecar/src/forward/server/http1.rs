//! HTTP/1.1 from callers: one request after the other is read, answered and written.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

use super::inlet::{Inlet, Next};
use super::request_body::Source as _;
use crate::connection::Registered;
use crate::forward::body::Answer;
use crate::forward::exchange::{self, Session};
use crate::forward::io::Watched;
use crate::forward::message::Answered;
use crate::forward::tunnel::Tunnel;
use crate::forward::wire::{Asked, Sending};
use crate::rewound::Rewound;
use crate::signal::Order;

/// How a connection's requests end.
enum End {
    /// With an answer, or before a request.
    Close,
    /// In the middle of something, which must not look whole.
    Break,
    /// In another protocol.
    Tunnel(Tunnel),
}

/// Serves requests until the caller or the sidecar ends the connection, which is `registered` as long.
pub(super) async fn serve<S>(session: Rc<Session>, stream: Watched<S>, registered: Registered)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = &*registered;
    let inlet = Inlet::new(stream, connection, &session.worker.limits());
    let end = unless_stopped(&session, requests(&session, &inlet)).await;
    if let Some(fault) = inlet.take_fault() {
        // No answer has told of it.
        session.worker.refuse_on(connection, &fault);
    }
    match end {
        Some(End::Close) => {
            unless_stopped(&session, inlet.shut_down()).await;
        }
        Some(End::Tunnel(tunnel)) => {
            if let Some((before, stream)) = inlet.into_parts() {
                tunnel.serve(Rewound::new(before, stream.into_bytes())).await;
            }
        }
        Some(End::Break) | None => {}
    }
}

async fn unless_stopped<T>(session: &Session, doing: impl Future<Output = T>) -> Option<T> {
    let mut doing = pin!(doing);
    poll_fn(|context| match session.connection.signal.watch(context) {
        Order::Stop => Poll::Ready(None),
        Order::Run | Order::Finish => doing.as_mut().poll(context).map(Some),
    })
    .await
}

async fn requests<S>(session: &Rc<Session>, inlet: &Rc<Inlet<S>>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    loop {
        let (answer, asked) = match poll_fn(|context| inlet.poll_next(context)).await {
            Next::Request(head, body, asked) => {
                // Boxed, so that an idle connection holds no room for it.
                let answering = Box::pin(exchange::answer(Rc::clone(session), head, body));
                match unless_gone(inlet, answering).await {
                    Some(answer) => (answer, asked),
                    None => return End::Break,
                }
            }
            Next::Refused(request, denial) => {
                let asked = Asked::of_refused(&request.method);
                (exchange::refuse(session, &request, &denial), asked)
            }
            Next::End => return End::Close,
            Next::Broken => return End::Break,
        };
        if let Some(end) = Box::pin(write(session, inlet, answer, asked)).await {
            return end;
        }
    }
}

/// Writes an answer; `None` if another request may follow.
async fn write<S>(
    session: &Session,
    inlet: &Inlet<S>,
    mut answer: Answered<Answer>,
    mut asked: Asked,
) -> Option<End>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let tunnel = answer.body.take_tunnel();
    let can_go_on = poll_fn(|context| Poll::Ready(inlet.answers(context))).await;
    asked.keeps &= can_go_on && session.connection.signal.order() == Order::Run;
    let (mut sending, keeps) = Sending::answer(answer, asked, session.worker.wall());
    let sent = poll_fn(|context| sending.poll(&mut *inlet.stream().borrow_mut(), context));
    let is_sent = unless_gone(inlet, pin!(sent)).await.is_some_and(|sent| sent.is_ok());
    match tunnel {
        _ if !is_sent => Some(End::Break),
        Some((tunnel, _)) => Some(End::Tunnel(tunnel)),
        None => (!keeps).then_some(End::Close),
    }
}

/// `None` if the caller goes away before.
async fn unless_gone<S, F>(inlet: &Inlet<S>, mut doing: F) -> Option<F::Output>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future + Unpin,
{
    poll_fn(|context| {
        if let Poll::Ready(done) = Pin::new(&mut doing).poll(context) {
            return Poll::Ready(Some(done));
        }
        inlet.poll_gone(context).map(|()| None)
    })
    .await
}
