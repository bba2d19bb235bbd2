//! The caller's side of HTTP: reads the requests and writes the answers. What a request means is decided in
//! [`super::exchange`].

mod http1;
pub(super) mod http2;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::Session;
use super::headers::Identity;
use super::io::Watched;
use super::wire::{Intake, Turns};
use crate::authorize::{Code, Denial};
use crate::connection::{Connection, Entry};
use crate::generation::Generation;
use crate::log::Asked;
use crate::signal::{Order, Signal};
use crate::worker::Worker;

/// Serves requests until the caller or the sidecar ends the connection.
pub(crate) async fn serve<S>(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    generation: &Arc<Generation>,
    stream: S,
    is_http2: bool,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Some(session) = session(worker, connection, generation) else {
        let denial = Denial::new(Code::NoIdentity, "the identity cannot be told to the application");
        let (peer, port) = (connection.peer, connection.target.port);
        return worker.refuse(&denial, peer, port, connection.party(), Asked::default());
    };
    if is_http2 {
        let stream = Watched::http(stream, worker, connection, None);
        Box::pin(http2::serve(Rc::new(session), stream)).await;
    } else {
        let intake = Intake::new(&worker.limits(), Rc::clone(&session.turns));
        let stream = Watched::http(stream, worker, connection, Some(intake));
        Box::pin(http1::serve(Rc::new(session), stream)).await;
    }
}

fn session(worker: &Rc<Worker>, connection: &Rc<Connection>, generation: &Generation) -> Option<Session> {
    let caller = connection.caller.as_deref();
    let is_secure = connection.entry == Entry::Tls;
    let by = generation.server.uri.as_deref();
    let identity = Identity::new(caller, by, connection.peer.ip(), is_secure)?;
    // Who shows no certificate is told apart by where they call from.
    let whose = caller.map_or_else(
        || format!("\0{}", connection.peer.ip()),
        |caller| format!("{}\0{}", caller.authority, caller.identity),
    );
    Some(Session {
        worker: Rc::clone(worker),
        connection: Rc::clone(connection),
        identity,
        whose: whose.into(),
        place: RefCell::default(),
        turns: Rc::new(Turns::default()),
        tunnel: Cell::default(),
    })
}

/// What came of it; `None` if it was stopped.
async fn drive<C: Future>(
    mut serving: Pin<&mut C>,
    signal: &Signal,
    finish: fn(Pin<&mut C>),
) -> Option<C::Output> {
    let mut is_finishing = false;
    poll_fn(|context| {
        match signal.watch(context) {
            Order::Stop => return Poll::Ready(None),
            Order::Finish if !is_finishing => {
                is_finishing = true;
                finish(serving.as_mut());
            }
            Order::Finish | Order::Run => {}
        }
        serving.as_mut().poll(context).map(Some)
    })
    .await
}
