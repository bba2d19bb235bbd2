//! One connection: accept → tls → identify → authorize → forward.
//!
//! [`enter`] brings it in, [`sweep`] judges it anew whenever the configuration changes.

mod enter;
mod socket;
mod sweep;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use postern_config::policy::Enforcement;
use rustls_pki_types::UnixTime;

pub(crate) use self::enter::serve;
use self::socket::Shutter;
pub(crate) use self::sweep::Sweep;
use crate::authorize::door::Locked;
use crate::authorize::{Ground, Standing};
use crate::budget::Ticket;
use crate::destination::{Destination, Target};
use crate::generation::Generation;
use crate::identify::{Caller, Refusal};
use crate::log::Party;
use crate::metrics::{Kind, Open};
use crate::signal::{Order, Signal};
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
    /// Who it is by its certificate, if it has shown one.
    pub caller: Option<Arc<Caller>>,
    /// Why the certificate that it has shown is not accepted, where denials are not carried out.
    pub unverified: Option<Box<Refusal>>,
    /// What passes.
    pub kind: Kind,
    /// How it came in.
    pub entry: Entry,
    /// Nothing of it was let in yet: it keeps a stranger's place, and so until its first denial only.
    pub routeless: Cell<bool>,
    /// To end it.
    pub signal: Signal,
    /// The caller's socket.
    shutter: Shutter,
    /// Its place in the budget.
    ticket: RefCell<Option<Ticket>>,
    /// Whose the certificate is, under the configuration that was asked last.
    standing: RefCell<Option<(Weak<Generation>, Rc<Standing>)>>,
    /// What was let in rests on these.
    grounds: RefCell<Vec<Ground>>,
    /// Something was let in although it would have been denied.
    spared: Cell<bool>,
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
    /// Coarse time up to which silence was agreed upon: a request's own deadline.
    pub patient_until: Cell<u64>,
    /// Coarse time at which it was seen to be finishing.
    pub finishing_since: Cell<Option<u64>>,
    /// Bytes from the caller.
    pub received: Cell<u64>,
    /// Bytes to the caller.
    pub sent: Cell<u64>,
}

/// From where to where a connection goes.
struct Way {
    peer: SocketAddr,
    target: Target,
    shutter: Shutter,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// By an open port.
    Bytes,
    /// By a port of which some paths are open.
    Paths,
    /// By a port with locks, over TLS.
    Tls,
    /// By a port with locks, without TLS.
    Plaintext,
}

impl Connection {
    fn new(way: Way, ticket: Ticket, entry: Entry, kind: Kind) -> Self {
        let Way { peer, target, shutter } = way;
        Self {
            peer,
            target,
            shutter,
            caller: None,
            unverified: None,
            kind,
            entry,
            routeless: Cell::new(false),
            signal: Signal::default(),
            ticket: RefCell::new(Some(ticket)),
            standing: RefCell::default(),
            grounds: RefCell::default(),
            spared: Cell::new(false),
            authorities: Cell::default(),
            in_flight: Cell::new(0),
            last_byte: Cell::new(0),
            head_since: Cell::new(None),
            within_head: Cell::new(false),
            patient_until: Cell::new(0),
            finishing_since: Cell::new(None),
            received: Cell::new(0),
            sent: Cell::new(0),
        }
    }

    /// Ends it at once: its caller sees it before its task has run.
    pub(crate) fn shut(&self) {
        self.shutter.shut();
        self.signal.give(Order::Stop);
    }

    /// Whether requests are looked at one by one.
    pub fn is_http(&self) -> bool {
        self.kind == Kind::Http || self.entry == Entry::Paths
    }

    /// For a log line.
    pub fn party(&self) -> Party<'_> {
        match (&self.caller, &self.unverified) {
            (Some(caller), _) => Party::Known(caller),
            (None, Some(refusal)) => refusal.presented.as_ref().map_or(Party::Unknown, Party::Presented),
            (None, None) => Party::Unknown,
        }
    }

    /// Decides whose place in the budget it takes. A stranger's place isn't kept for longer than it takes to refuse
    /// one request.
    fn settle(&self, locked: &Locked, generation: &Arc<Generation>, now: u64) {
        let is_known = !locked.looks_at_headers() && !self.standing(generation).is_nobodys();
        if !is_known && locked.enforcement == Enforcement::Enforce {
            self.routeless.set(true);
            self.head_since.set(Some(now));
        } else if let Some(ticket) = &mut *self.ticket.borrow_mut() {
            ticket.proven();
        }
    }

    /// Whether an HTTP connection with nothing in flight should have ended `limit` seconds ago: its caller
    /// takes no part in the end.
    pub(crate) fn is_stuck_finishing(&self, now: u64, limit: u64) -> bool {
        if !self.is_http() || self.signal.order() != Order::Finish || self.in_flight.get() > 0 {
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
        // What still holds the connection holds no place.
        self.connection.ticket.take();
    }
}
