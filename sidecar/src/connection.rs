//! One connection: accept → tls → identify → authorize → forward.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use postern_config::policy::Protocol;
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;

use crate::authorize::policy::Door;
use crate::authorize::{Ask, Code, Denial, Request, authorize, closed, has_route};
use crate::budget::Ticket;
use crate::destination::{Destination, Target};
use crate::forward;
use crate::generation::Generation;
use crate::identify::{Caller, Refusal};
use crate::log::line::Outcome;
use crate::log::{self, Asked, Party};
use crate::metrics::{Handshake, Kind, Open};
use crate::signal::{Order, Signal};
use crate::tls::{self, Admission, HandshakeError};
use crate::worker::Worker;

/// A connection as a listener accepted it.
pub struct Inbound {
    /// Not yet part of any runtime.
    pub stream: std::net::TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// How its target is told.
    pub destination: Arc<dyn Destination>,
    /// Its place in the budget.
    pub ticket: Ticket,
}

/// A connection that was let in, as the sweeps see it.
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// The application's end.
    pub target: Target,
    /// Who it is; nobody on an open port.
    pub caller: Option<Caller>,
    /// What passes.
    pub kind: Kind,
    /// Let in without a route, to be told so: it keeps a stranger's place, and so for one request only.
    pub routeless: bool,
    /// To end it.
    pub signal: Signal,
    /// The authorities under which the caller was identified.
    authorities: Cell<[u8; 32]>,
    /// Requests that are being answered.
    pub in_flight: Cell<u32>,
    /// Coarse time of the last byte, in seconds.
    pub last_byte: Cell<u64>,
    /// Coarse time at which a request's head began to arrive.
    pub head_since: Cell<Option<u64>>,
    /// Whether a part of a request's head has come and the rest has not.
    pub within_head: Cell<bool>,
    /// Coarse time at which it was seen to be finishing.
    pub finishing_since: Cell<Option<u64>>,
    /// Bytes from the caller.
    pub received: Cell<u64>,
    /// Bytes to the caller.
    pub sent: Cell<u64>,
}

/// Serves one connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, inbound: Inbound) {
    let peer = inbound.peer;
    let Ok(stream) = TcpStream::from_std(inbound.stream) else { return };
    // Failure costs latency only.
    let _ = stream.set_nodelay(true);
    let target = match inbound.destination.of(&stream) {
        Ok(target) => target,
        Err(denial) => return worker.refuse(&denial, peer, 0, Party::Unknown, Asked::default()),
    };
    if let Err(refusal) = enter(&worker, stream, peer, target, inbound.ticket).await {
        refuse(&worker, &refusal, peer, target);
    }
}

fn refuse(worker: &Worker, refusal: &Refusal, peer: SocketAddr, target: Target) {
    let party = refusal.presented.as_ref().map_or(Party::Unknown, Party::Presented);
    worker.refuse(&refusal.denial, peer, target.port, party, Asked::default());
}

async fn enter(
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    target: Target,
    mut ticket: Ticket,
) -> Result<(), Box<Refusal>> {
    let bare = |denial: Denial| Refusal::bare(denial.code, denial.reason);
    let generation =
        worker.generation().ok_or_else(|| Refusal::bare(Code::NoPolicy, "no valid policy is loaded"))?;
    let protocol = match generation.gate.policy.door(target.port) {
        None => return Err(bare(closed(target.port))),
        Some(Door::Locked(protocol)) => protocol,
        Some(Door::Open) => {
            ticket.open().map_err(bare)?;
            let connection = worker.register(Connection::new(peer, target, None, Kind::Open));
            return bytes(worker, &connection, generation, stream).await.map_err(bare);
        }
    };

    let config = Arc::clone(if protocol.is_http() { &generation.http } else { &generation.tcp });
    let handshake = tls::accept(config, stream, worker.limits().handshake);
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        // Nothing has been asked for yet, so nothing is lost.
        () = worker.until_draining() => return Ok(()),
        () = ticket.evicted() => {
            worker.metrics.handshake(Handshake::Refused, None);
            let reason = "closed before the end of its handshake, to make room for newer connections";
            return Err(Refusal::bare(Code::TooManyConnections, reason));
        }
    };
    ticket.seen();
    let (stream, mut caller) = match accepted {
        Ok(accepted) => accepted,
        Err(HandshakeError::Closed) => {
            worker.metrics.handshake(Handshake::Closed, None);
            return Ok(());
        }
        Err(HandshakeError::Refused(refusal, stream)) => {
            worker.metrics.handshake(Handshake::Refused, None);
            refuse(worker, &refusal, peer, target);
            if let Some(stream) = stream {
                tls::linger(stream).await;
            }
            return Ok(());
        }
    };
    let group = stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
    worker.metrics.handshake(Handshake::Accepted, group);

    // A new configuration may have come during the handshake.
    let generation = match worker.generation() {
        Some(newer) if !Arc::ptr_eq(&newer, &generation) => {
            if newer.gate.policy.door(target.port) != Some(Door::Locked(protocol)) {
                return Err(bare(closed(target.port)));
            }
            caller = newer.gate.admit(&caller.chain, UnixTime::now())?;
            newer
        }
        _ => generation,
    };
    let has_route = has_route(&generation.gate.policy, target.port, &caller.who());
    if has_route {
        ticket.proven();
    }
    let kind = if protocol.is_http() { Kind::Http } else { Kind::Tcp };
    let mut connection = Connection::new(peer, target, Some(caller), kind);
    connection.routeless = !has_route;
    connection.authorities.set(*generation.gate.authorities.digest());
    if !has_route {
        // A stranger's place isn't kept for longer than it takes to refuse one request.
        connection.head_since.set(Some(worker.now()));
    }
    let connection = worker.register(connection);
    if protocol.is_http() {
        forward::http(worker, &connection, &generation, stream).await;
    } else if let Err(denial) = bytes(worker, &connection, generation, stream).await {
        worker.refuse(&denial, peer, target.port, connection.party(), Asked::default());
    }
    Ok(())
}

/// Admits and passes on a connection whose bytes are not looked at.
async fn bytes<S>(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    generation: Arc<Generation>,
    stream: S,
) -> Result<(), Denial>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let request = Request {
        port: connection.target.port,
        who: connection.caller.as_ref().map(Caller::who),
        ask: Ask::Connection,
    };
    let permit = authorize(&generation.gate.policy, &request)?;
    let started = Instant::now();
    let upstream = forward::dial(&permit, connection.target.address, &worker.limits()).await?;
    let route = permit.route().map(str::to_owned);
    drop(generation);
    forward::bytes(worker, connection, stream, upstream).await;
    if worker.access_log() {
        let outcome = Outcome {
            route: route.as_deref(),
            received: Some(connection.received.get()),
            sent: Some(connection.sent.get()),
            took: Some(started.elapsed()),
            ..Outcome::default()
        };
        let (peer, port) = (connection.peer, connection.target.port);
        log::line::permit(peer, port, connection.caller.as_ref(), Asked::default(), outcome);
    }
    Ok(())
}

impl Connection {
    fn new(peer: SocketAddr, target: Target, caller: Option<Caller>, kind: Kind) -> Self {
        Self {
            peer,
            target,
            caller,
            kind,
            routeless: false,
            signal: Signal::default(),
            authorities: Cell::default(),
            in_flight: Cell::new(0),
            last_byte: Cell::new(0),
            head_since: Cell::new(None),
            within_head: Cell::new(false),
            finishing_since: Cell::new(None),
            received: Cell::new(0),
            sent: Cell::new(0),
        }
    }

    /// For a log line.
    pub fn party(&self) -> Party<'_> {
        self.caller.as_ref().map_or(Party::Unknown, Party::Known)
    }

    /// Whether a configuration still lets this connection be.
    pub(crate) fn is_allowed_by(&self, generation: &Generation, now: UnixTime) -> bool {
        let gate = &generation.gate;
        let is_as_before = match (self.kind, gate.policy.door(self.target.port)) {
            (Kind::Open, door) => door == Some(Door::Open),
            (Kind::Http, Some(Door::Locked(protocol))) => protocol.is_http(),
            (Kind::Tcp, Some(Door::Locked(protocol))) => protocol == Protocol::TCP,
            (Kind::Http | Kind::Tcp, _) => false,
        };
        if !is_as_before {
            return false;
        }
        let Some(caller) = &self.caller else { return true };
        if self.authorities.get() != *gate.authorities.digest() {
            let again = gate.authorities.identify(&caller.chain, now);
            if !again.is_ok_and(|again| again.authority == caller.authority) {
                return false;
            }
            self.authorities.set(*gate.authorities.digest());
        }
        gate.policy.allows_key(&caller.authority, &caller.identity, &caller.key)
            && has_route(&gate.policy, self.target.port, &caller.who())
    }

    /// Whether an HTTP connection with nothing in flight should have ended `limit` seconds ago: its caller
    /// takes no part in the end.
    pub(crate) fn is_stuck_finishing(&self, now: u64, limit: u64) -> bool {
        if self.kind != Kind::Http || self.signal.order() != Order::Finish || self.in_flight.get() > 0 {
            return false;
        }
        let since = self.finishing_since.get().unwrap_or(now);
        self.finishing_since.set(Some(since));
        now.saturating_sub(since) > limit
    }

    /// Whether the caller's certificate has expired.
    pub(crate) fn is_expired(&self, now: UnixTime) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.not_after < now)
    }
}

/// Counts and lists a connection for as long as it is served.
pub(crate) struct Registered {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    key: u64,
    _open: Open,
}

impl Registered {
    pub(crate) fn new(worker: &Rc<Worker>, connection: Rc<Connection>, key: u64) -> Self {
        let open = Open::count(&worker.metrics, connection.kind);
        Self { worker: Rc::clone(worker), connection, key, _open: open }
    }
}

impl std::ops::Deref for Registered {
    type Target = Rc<Connection>;

    fn deref(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.forget(self.key);
    }
}
