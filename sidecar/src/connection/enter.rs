//! How a connection comes in: by which door, with or without TLS, and as whose.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use postern_config::policy::Enforcement;
use rustls::crypto::SupportedKxGroup;
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::socket::Socket;
use super::{Connection, Entry, Inbound, Registered, Way};
use crate::authorize::door::Door;
use crate::authorize::{Ask, Code, Denial, Request, authorize, closed};
use crate::budget::Ticket;
use crate::destination::Target;
use crate::first_bytes::{self, Speaks};
use crate::forward::{self, Serving};
use crate::generation::Generation;
use crate::identify::Refusal;
use crate::log::line::Outcome;
use crate::log::{self, Asked, Party};
use crate::metrics::{Handshake, Kind};
use crate::tls::{self, Admission as _, HandshakeError, Peer};
use crate::worker::Worker;

/// Serves one connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, inbound: Box<Inbound>) {
    // Boxed, because it is large, and would be part of the task to the connection's end.
    let serving = Box::pin(enter(worker, inbound)).await;
    if let Some(serving) = serving {
        serving.await;
    }
}

/// How it is served; nothing if it was refused, or has ended.
async fn enter(worker: Rc<Worker>, inbound: Box<Inbound>) -> Option<Serving> {
    let Inbound { stream, peer, destination, ticket } = *inbound;
    let stream = TcpStream::from_std(stream).ok()?;
    // Failure costs latency only.
    let _ = stream.set_nodelay(true);
    let target = match destination.of(&stream) {
        Ok(target) => target,
        Err(denial) => {
            worker.refuse(&denial, peer, 0, Party::Unknown, Asked::default());
            return None;
        }
    };
    let stream = Socket::new(stream);
    let way = Way { peer, target, shutter: stream.shutter() };
    match by_door(&worker, stream, way, ticket).await {
        Ok(serving) => serving,
        Err(refusal) => {
            refuse(&worker, &refusal, peer, target);
            None
        }
    }
}

fn refuse(worker: &Worker, refusal: &Refusal, peer: SocketAddr, target: Target) {
    let party = refusal.presented.as_ref().map_or(Party::Unknown, Party::Presented);
    worker.refuse(&refusal.denial, peer, target.port, party, Asked::default());
}

async fn by_door(
    worker: &Rc<Worker>,
    stream: Socket,
    way: Way,
    mut ticket: Ticket,
) -> Result<Option<Serving>, Box<Refusal>> {
    let generation =
        worker.generation().ok_or_else(|| Refusal::bare(Code::NoPolicy, "no valid policy is loaded"))?;
    let (policy, port) = (&generation.gate.policy, way.target.port);
    match policy.door(port) {
        None => return Err(bare(closed(port))),
        Some(Door::Open) => {
            ticket.open().map_err(bare)?;
            let connection = worker.register(Connection::new(way, ticket, Entry::Bytes, Kind::Open));
            return bytes(worker, connection, stream).await.map(Some).map_err(|(denial, _)| bare(denial));
        }
        Some(Door::Paths(_)) => {
            ticket.open().map_err(bare)?;
            let connection = Connection::new(way, ticket, Entry::Paths, Kind::Open);
            connection.head_since.set(Some(worker.now()));
            return Ok(forward::http(worker, worker.register(connection), &generation, stream, false));
        }
        Some(Door::Locked(_)) => {}
    }
    let locked = policy.locked(port).ok_or_else(|| bare(closed(port)))?;
    if !locked.takes_plaintext() {
        return secure(worker, &generation, stream, way, ticket).await;
    }
    let telling = tokio::time::timeout(worker.limits().handshake, first_bytes::tell(stream));
    let told = tokio::select! {
        told = telling => told,
        () = worker.until_draining() => return Ok(None),
        () = ticket.evicted() => return Err(make_room(worker)),
    };
    match told {
        Ok(Ok(Some((Speaks::Tls, stream)))) if locked.takes_tls() => {
            secure(worker, &generation, stream, way, ticket).await
        }
        Ok(Ok(Some((speaks, stream)))) => {
            ticket.seen();
            let connection = Connection::new(way, ticket, Entry::Plaintext, Kind::Http);
            let generation = worker.generation().unwrap_or(generation);
            let is_http2 = speaks == Speaks::Http2;
            serve_locked(worker, &generation, connection, stream, is_http2).await
        }
        // The caller went away.
        Ok(Ok(None) | Err(_)) => Ok(None),
        Err(_) => {
            let reason = format!("nothing came within {} s", worker.limits().handshake.as_secs());
            Err(Refusal::bare(Code::HandshakeTimeout, reason))
        }
    }
}

fn bare(denial: Denial) -> Box<Refusal> {
    Box::new(Refusal { denial, presented: None })
}

fn make_room(worker: &Worker) -> Box<Refusal> {
    worker.metrics.handshake(Handshake::Refused, None);
    let reason = "closed before the end of its handshake, to make room for newer connections";
    Refusal::bare(Code::TooManyConnections, reason)
}

/// A connection by TLS to a port with locks.
async fn secure<S>(
    worker: &Rc<Worker>,
    generation: &Arc<Generation>,
    stream: S,
    way: Way,
    ticket: Ticket,
) -> Result<Option<Serving>, Box<Refusal>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let config = generation.tls(way.target.port).ok_or_else(|| bare(closed(way.target.port)))?;
    let handshake = tls::accept(config, stream, worker.limits().handshake);
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        // Nothing has been asked for yet, so nothing is lost.
        () = worker.until_draining() => return Ok(None),
        () = ticket.evicted() => return Err(make_room(worker)),
    };
    ticket.seen();
    let (stream, shown) = match accepted {
        Ok(accepted) => accepted,
        Err(HandshakeError::Closed) => {
            worker.metrics.handshake(Handshake::Closed, None);
            return Ok(None);
        }
        Err(HandshakeError::Refused(refusal, stream)) => {
            worker.metrics.handshake(Handshake::Refused, None);
            refuse(worker, &refusal, way.peer, way.target);
            if let Some(stream) = stream {
                tls::linger(stream).await;
            }
            return Ok(None);
        }
    };
    let group = stream.key_exchange_group().map(SupportedKxGroup::name);
    worker.metrics.handshake(Handshake::Accepted, group);

    let is_http = generation.gate.policy.locked(way.target.port).is_some_and(|it| it.protocol.is_http());
    let kind = if is_http { Kind::Http } else { Kind::Tcp };
    let mut connection = Connection::new(way, ticket, Entry::Tls, kind);
    connection.authorities.set(*generation.gate.authorities.digest());
    match shown {
        Peer::Nobody => {}
        Peer::Known(caller) => connection.caller = Some(caller),
        Peer::Refused(refusal) => connection.unverified = Some(refusal),
    }
    // A new configuration may have come during the handshake.
    let newest = worker.generation().unwrap_or_else(|| Arc::clone(generation));
    if !Arc::ptr_eq(&newest, generation) {
        connection.identify_again(&newest)?;
    }
    let is_http2 = stream.alpn_protocol() == Some(b"h2");
    // Moved on more than once.
    serve_locked(worker, &newest, connection, Box::new(stream), is_http2).await
}

/// A connection to a port with locks, once its transport stands.
async fn serve_locked<S>(
    worker: &Rc<Worker>,
    generation: &Arc<Generation>,
    connection: Connection,
    stream: S,
    is_http2: bool,
) -> Result<Option<Serving>, Box<Refusal>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let port = connection.target.port;
    // The door may be another by now than the one that the caller came to.
    let locked = connection.door(generation).ok_or_else(|| bare(closed(port)))?;
    connection.settle(locked, generation, worker.now());
    let connection = worker.register(connection);
    if connection.kind == Kind::Http {
        return Ok(forward::http(worker, connection, generation, stream, is_http2));
    }
    match bytes(worker, connection, stream).await {
        Ok(serving) => Ok(Some(serving)),
        Err((denial, connection)) => {
            worker.refuse_on(&connection, &denial);
            Ok(None)
        }
    }
}

/// Admits a connection whose bytes are not looked at; then they are passed on.
async fn bytes<S>(
    worker: &Rc<Worker>,
    connection: Registered,
    stream: S,
) -> Result<Serving, (Denial, Registered)>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let started = Instant::now();
    let (upstream, route) = match admit_bytes(worker, &connection).await {
        Ok(admitted) => admitted,
        Err(denial) => return Err((denial, connection)),
    };
    let worker = Rc::clone(worker);
    Ok(Box::pin(async move {
        forward::bytes(&worker, &connection, stream, upstream).await;
        if worker.access_log() {
            let outcome = Outcome {
                route: route.as_deref(),
                received: Some(connection.received.get()),
                sent: Some(connection.sent.get()),
                took: Some(started.elapsed()),
                ..Outcome::default()
            };
            let (peer, port) = (connection.peer, connection.target.port);
            log::line::permit(peer, port, connection.caller.as_deref(), Asked::default(), outcome);
        }
    }))
}

/// A connection to the application, and by which route.
async fn admit_bytes(
    worker: &Rc<Worker>,
    connection: &Connection,
) -> Result<(TcpStream, Option<String>), Denial> {
    let generation =
        worker.generation().ok_or_else(|| Denial::new(Code::NoPolicy, "no valid policy is loaded"))?;
    let standing = connection.standing(&generation);
    let shown = connection.shown(&standing, &[]);
    let request = Request { port: connection.target.port, shown, ask: Ask::Connection };
    let permit = authorize(&generation.gate.policy, &request)?;
    connection.admitted(worker, &generation, &permit);
    if let Some(denial) = permit.would_deny() {
        worker.spare(denial, connection, Asked::default());
    }
    let upstream = forward::dial(&permit, connection.target.address, &worker.limits()).await?;
    Ok((upstream, permit.route().map(str::to_owned)))
}

impl Connection {
    /// Judges the certificate anew, under another configuration than the one of the handshake.
    fn identify_again(&mut self, generation: &Arc<Generation>) -> Result<(), Box<Refusal>> {
        let (gate, port) = (&generation.gate, self.target.port);
        let locked = gate.policy.locked(port).ok_or_else(|| bare(closed(port)))?;
        if let Some(caller) = &self.caller {
            match gate.admit(&caller.chain, UnixTime::now()) {
                Ok(again) => self.caller = Some(again),
                Err(refusal) if locked.enforcement == Enforcement::Audit => {
                    (self.caller, self.unverified) = (None, Some(refusal));
                }
                Err(refusal) => return Err(refusal),
            }
            self.authorities.set(*gate.authorities.digest());
        }
        Ok(())
    }
}
