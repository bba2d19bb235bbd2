//! The caller's side of HTTP: reads the requests and writes the answers. What a request means is decided in
//! [`super::exchange`].

mod http1;
pub(super) mod http2;
mod inlet;
mod request_body;

pub(super) use self::request_body::{Broken, Faults, Http1Body};

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::Session;
use super::headers::Identity;
use super::io::Watched;
use crate::authorize::{Code, Denial};
use crate::connection::{Connection, Entry};
use crate::generation::Generation;
use crate::log::Asked;
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
    let session = Rc::new(session);
    // Boxed, so that each takes no more room than it needs.
    if is_http2 {
        Box::pin(http2::serve(session, Watched::http2(stream, worker, connection))).await;
    } else {
        Box::pin(http1::serve(session, Watched::http1(stream, worker, connection))).await;
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
        tunnel: Cell::default(),
    })
}
