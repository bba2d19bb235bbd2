//! The caller's side of HTTP: reads the requests and writes the answers. What a request means is decided in
//! [`super::exchange`].

mod http1;
pub(super) mod http2;
mod inlet;
mod request_body;

pub(super) use self::request_body::{Broken, Faults, Http1Body};

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::Session;
use super::headers::Identity;
use super::io::Watched;
use crate::authorize::{Code, Denial};
use crate::connection::{Connection, Entry, Registered};
use crate::generation::Generation;
use crate::worker::Worker;

/// What serves a connection until the caller or the sidecar ends it. A silent connection holds this and nothing of how
/// it came in.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// What serves a connection's requests, which is let in under `generation` and holds on to nothing of it. `None` if it
/// was refused.
pub(crate) fn serve<S>(
    worker: &Rc<Worker>,
    connection: Registered,
    generation: &Generation,
    stream: S,
    is_http2: bool,
) -> Option<Serving>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Some(session) = session(worker, &connection, generation) else {
        let denial = Denial::new(Code::NoIdentity, "the identity cannot be told to the application");
        worker.refuse_on(&connection, &denial);
        return None;
    };
    let session = Rc::new(session);
    Some(if is_http2 {
        let stream = Watched::http2(stream, worker, &connection);
        Box::pin(http2::serve(session, stream, connection))
    } else {
        let stream = Watched::http1(stream, worker, &connection);
        Box::pin(http1::serve(session, stream, connection))
    })
}

fn session(worker: &Rc<Worker>, connection: &Rc<Connection>, generation: &Generation) -> Option<Session> {
    let caller = connection.caller.as_deref();
    let is_secure = connection.entry == Entry::Tls;
    let by = generation.server.uri.as_deref();
    let certificate = match &connection.caller {
        Some(caller) => Some(worker.certificates.of(caller, by)?),
        None => None,
    };
    let identity = Identity::new(certificate, connection.peer.ip(), is_secure);
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
    })
}
