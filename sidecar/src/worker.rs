//! A worker: one thread, one runtime, its own connections and its own pool. Workers share nothing that a
//! request touches.

mod ticks;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustls_pki_types::UnixTime;
use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::authorize::Denial;
use crate::connection::{self, Connection, Inbound, Registered, Sweep};
use crate::credentials::{self, Checker};
use crate::forward::{Certificates, Pool, Timers};
use crate::generation::Generation;
use crate::limits::Limits;
use crate::log::{self, Asked, Party};
use crate::metrics::WorkerMetrics;
use crate::observe::audit::Audits;
use crate::observe::export;
use crate::signal::Order;

/// How often time-outs are looked for, and so how exact they are.
const TICK: Duration = Duration::from_secs(1);
/// Connections whose memory is worth giving back, once most of them have ended.
const MANY: usize = 256;

/// What the control thread and the listeners tell a worker.
enum Message {
    Connection(Box<Inbound>),
    /// Enforce this from now on, and say when it is so.
    Enforce(Arc<Generation>, oneshot::Sender<()>),
    /// Finish what is in flight, then end.
    Drain,
}

/// The other threads' end of a worker.
#[derive(Clone)]
pub struct Handle {
    messages: mpsc::UnboundedSender<Message>,
    load: Arc<AtomicUsize>,
}

/// What workers are made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds.
    pub limits: Limits,
    /// Whether permits are logged too.
    pub access_log: bool,
    /// What audited ports let through.
    pub audits: Arc<Audits>,
    /// Where spans go.
    pub spans: export::Sender,
    /// Who checks slow passwords.
    pub passwords: Arc<credentials::Pool>,
}

/// A worker's own state.
pub(crate) struct Worker {
    /// As the program was started.
    started_with: Settings,
    /// As the configuration in force has it.
    limits: RefCell<Rc<Limits>>,
    access_log: Cell<bool>,
    /// None while no spans are recorded.
    sampling_ppm: Cell<Option<u32>>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) pool: Pool,
    pub(crate) timers: Rc<Timers>,
    pub(crate) certificates: Certificates,
    pub(crate) checker: Checker,
    load: Arc<AtomicUsize>,
    /// The most connections since memory was given back.
    most: Cell<usize>,
    generation: RefCell<Option<Arc<Generation>>>,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    next_key: Cell<u64>,
    started: Instant,
    clock: Cell<u64>,
    /// Coarse time of day, in seconds since the epoch.
    wall: Cell<i64>,
    draining: Cell<bool>,
    drain_begins: Notify,
}

impl Handle {
    /// Hands a connection over. If the worker has ended, the connection is closed.
    pub fn take(&self, inbound: Inbound) {
        self.load.fetch_add(1, Relaxed);
        if self.messages.send(Message::Connection(Box::new(inbound))).is_err() {
            self.load.fetch_sub(1, Relaxed);
        }
    }

    /// Connections that it serves.
    pub fn load(&self) -> usize {
        self.load.load(Relaxed)
    }

    /// Sends a configuration; the answer comes when every connection obeys it.
    pub fn enforce(&self, generation: Arc<Generation>) -> oneshot::Receiver<()> {
        let (done, enforced) = oneshot::channel();
        // If the worker has ended, the sender is dropped with the message and the receiver says so.
        let _ = self.messages.send(Message::Enforce(generation, done));
        enforced
    }

    /// Lets it finish.
    pub fn drain(&self) {
        let _ = self.messages.send(Message::Drain);
    }
}

/// Starts a worker's thread. `main` runs beside it on the same thread, for a listener of its own. What is
/// returned beside the handle resolves when the worker has ended.
///
/// # Errors
/// If the system gives no thread or no runtime.
pub fn spawn<F>(
    name: String,
    settings: &Settings,
    metrics: Arc<WorkerMetrics>,
    main: impl FnOnce(Handle) -> F + Send + 'static,
) -> io::Result<(Handle, oneshot::Receiver<()>)>
where
    F: Future<Output = ()> + 'static,
{
    let (messages, inbox) = mpsc::unbounded_channel();
    let handle = Handle { messages, load: Arc::default() };
    let (settings, ours) = (settings.clone(), handle.clone());
    let (ending, ended) = oneshot::channel::<()>();
    std::thread::Builder::new().name(name).spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = match builder.enable_io().enable_time().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "a worker's runtime cannot be started"),
        };
        let load = Arc::clone(&ours.load);
        runtime.block_on(async move {
            tokio::task::spawn_local(main(ours));
            Rc::new(Worker::new(settings, metrics, load)).run(inbox).await;
        });
        // Dropped with the runtime: whatever was left has ended too.
        drop((runtime, ending));
    })?;
    Ok((handle, ended))
}

impl Worker {
    fn new(settings: Settings, metrics: Arc<WorkerMetrics>, load: Arc<AtomicUsize>) -> Self {
        Self {
            pool: Pool::new(settings.limits.upstream_idle),
            timers: Rc::default(),
            certificates: Certificates::default(),
            checker: Checker::new(Arc::clone(&settings.passwords)),
            limits: RefCell::new(Rc::new(settings.limits.clone())),
            access_log: Cell::new(settings.access_log),
            sampling_ppm: Cell::default(),
            started_with: settings,
            metrics,
            load,
            most: Cell::new(0),
            generation: RefCell::default(),
            connections: RefCell::default(),
            next_key: Cell::new(0),
            started: Instant::now(),
            clock: Cell::new(0),
            wall: Cell::new(0),
            draining: Cell::new(false),
            drain_begins: Notify::new(),
        }
    }

    async fn run(self: Rc<Self>, mut inbox: mpsc::UnboundedReceiver<Message>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !(self.draining.get() && self.load.load(Relaxed) == 0) {
            let load = self.load.load(Relaxed);
            let is_large = self.most.get() >= MANY;
            let is_busy = self.draining.get() || load > 0 || is_large || !self.pool.is_empty();
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(Message::Connection(inbound)) => self.start(inbound),
                    Some(Message::Enforce(generation, done)) => {
                        self.enforce(generation);
                        // The control thread may have given up waiting.
                        let _ = done.send(());
                    }
                    Some(Message::Drain) => self.drain(),
                    None => return,
                },
                _ = ticks.tick(), if is_busy => self.tick(),
            }
        }
    }

    fn start(self: &Rc<Self>, inbound: Box<Inbound>) {
        self.read_clocks();
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let _load = Load(Arc::clone(&worker.load));
            connection::serve(worker, inbound).await;
        });
    }

    /// From now on every request is judged by `generation`; what it doesn't allow is closed. So is a connection
    /// with an answer on its way that rests on what it doesn't surely allow any more.
    fn enforce(&self, generation: Arc<Generation>) {
        let before = self.generation();
        let mut sweep = Sweep::new(&generation, before.as_ref().map(|it| &it.gate.policy), UnixTime::now());
        let mut closed = Vec::new();
        for connection in self.connections.borrow().values() {
            if let Some(reason) = sweep.objection(connection) {
                connection.shut();
                closed.push((reason, Rc::clone(connection)));
            }
        }
        drop(sweep);
        let limits = generation.settings.limits(&self.started_with.limits);
        self.limits.replace(Rc::new(limits));
        self.access_log.set(generation.settings.access_log(self.started_with.access_log));
        self.sampling_ppm.set(generation.settings.tracing().map(|tracing| tracing.sampling_ppm));
        self.generation.replace(Some(generation));
        // Not before the last is closed.
        let mut ended = log::Ended::now();
        for (reason, connection) in closed {
            ended.add(reason, connection.peer, connection.target.port, connection.caller.as_deref());
        }
    }

    fn drain(&self) {
        self.draining.set(true);
        self.drain_begins.notify_waiters();
        for connection in self.connections.borrow().values() {
            connection.signal.give(Order::Finish);
        }
    }

    /// Until no new callers are wanted.
    pub(crate) async fn until_draining(&self) {
        let begins = self.drain_begins.notified();
        if !self.draining.get() {
            begins.await;
        }
    }

    /// The configuration in force.
    pub(crate) fn generation(&self) -> Option<Arc<Generation>> {
        self.generation.borrow().clone()
    }

    /// Whether a configuration is the one in force.
    pub(crate) fn enforces(&self, generation: &Arc<Generation>) -> bool {
        self.generation.borrow().as_ref().is_some_and(|now| Arc::ptr_eq(now, generation))
    }

    /// The bounds in force.
    pub(crate) fn limits(&self) -> Rc<Limits> {
        Rc::clone(&self.limits.borrow())
    }

    /// Whether permits are logged.
    pub(crate) fn access_log(&self) -> bool {
        self.access_log.get()
    }

    /// Coarse time, in seconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.clock.get()
    }

    /// Share of requests without a recorded parent that are recorded, in parts per million; none while no spans are.
    pub(crate) fn sampling_ppm(&self) -> Option<u32> {
        self.sampling_ppm.get()
    }

    /// Where spans go.
    pub(crate) fn spans(&self) -> &export::Sender {
        &self.started_with.spans
    }

    /// Coarse time of day, in seconds since the epoch.
    pub(crate) fn wall(&self) -> i64 {
        self.wall.get()
    }

    /// What audited ports let through.
    pub(crate) fn audits(&self) -> &Audits {
        &self.started_with.audits
    }

    pub(crate) fn register(self: &Rc<Self>, connection: Connection) -> Registered {
        let key = self.next_key.get();
        self.next_key.set(key.wrapping_add(1));
        connection.last_byte.set(self.now());
        if self.draining.get() {
            connection.signal.give(Order::Finish);
        }
        let connection = Rc::new(connection);
        self.connections.borrow_mut().insert(key, Rc::clone(&connection));
        Registered::new(self, connection, key)
    }

    pub(crate) fn forget(&self, key: u64) {
        self.connections.borrow_mut().remove(&key);
    }

    /// Logs and counts a denial that is not carried out.
    pub(crate) fn spare(&self, denial: &Denial, connection: &Connection, asked: Asked<'_>) {
        self.metrics.spared(denial.code);
        let (peer, port) = (connection.peer, connection.target.port);
        match connection.party().name() {
            Some(name) => self.audits().would_deny(port, &name, denial.code, self.wall()),
            None => self.audits().would_deny(port, &peer.ip().to_canonical(), denial.code, self.wall()),
        }
        log::line::spared(denial, peer, port, connection.party(), asked);
    }

    /// Logs and counts a refusal on a connection, of nothing that was asked for in particular.
    pub(crate) fn refuse_on(&self, connection: &Connection, denial: &Denial) {
        let (peer, port) = (connection.peer, connection.target.port);
        self.refuse(denial, peer, port, connection.party(), Asked::default());
    }

    /// Logs and counts a refusal.
    pub(crate) fn refuse(
        &self,
        denial: &Denial,
        peer: SocketAddr,
        port: u16,
        party: Party<'_>,
        asked: Asked<'_>,
    ) {
        self.metrics.denial(denial.code);
        log::refusal(denial, peer, port, party, asked);
    }
}

/// One connection's share of the load, wherever its task ends.
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
