//! The private ear of a server or a load on loopback, which no lock guards: `kubectl exec` speaks to it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast};

use crate::hits::{Counters, Report, link_local};

/// Port on 127.0.0.1.
pub const PORT: u16 = 19999;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The [`Report`].
    Hits,
    /// Health checks succeed from now on.
    HealthUp,
    /// Health checks fail from now on.
    HealthDown,
    /// A load is over.
    End,
}

impl Order {
    const ALL: [Self; 4] = [Self::Hits, Self::HealthUp, Self::HealthDown, Self::End];

    const fn line(self) -> &'static str {
        match self {
            Self::Hits => "hits",
            Self::HealthUp => "health up",
            Self::HealthDown => "health down",
            Self::End => "end",
        }
    }
}

/// The state that orders read and change.
#[derive(Clone, Default)]
pub struct State {
    /// What was counted.
    pub counters: Counters,
    /// Whether health checks fail.
    pub down: Rc<Cell<bool>>,
    /// Told when it is over.
    pub end: Rc<Notify>,
    /// Bytes of large bodies that were asked for.
    pub made: Arc<AtomicU64>,
    /// gRPC calls that their callers gave up.
    pub cancelled: Arc<AtomicU64>,
    /// What was published.
    pub feed: Feed,
}

/// From who publishes to all who listen.
#[derive(Clone)]
pub struct Feed(broadcast::Sender<String>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(16))
    }
}

impl Feed {
    /// Tells all who listen.
    pub fn publish(&self, event: &str) {
        // Nobody needs to listen.
        let _ = self.0.send(event.to_owned());
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<String> {
        self.0.subscribe()
    }
}

/// Answers orders for ever.
///
/// # Errors
/// Only if the listener breaks.
pub async fn serve(listener: TcpListener, state: State) -> std::io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut line = String::new();
        if BufReader::new(&mut stream).read_line(&mut line).await.is_err() {
            continue;
        }
        match Order::ALL.into_iter().find(|order| order.line() == line.trim_end()) {
            None => continue,
            Some(Order::Hits) => {}
            Some(Order::HealthUp) => state.down.set(false),
            Some(Order::HealthDown) => state.down.set(true),
            Some(Order::End) => state.end.notify_one(),
        }
        let report = Report {
            hits: state.counters.read(),
            link_local: link_local(),
            made: state.made.load(Relaxed),
            cancelled: state.cancelled.load(Relaxed),
        };
        // A caller that has gone away needs no answer.
        let _ = stream.write_all(&serde_json::to_vec(&report)?).await;
    }
}

/// Speaks to the server or load beside this process.
///
/// # Errors
/// If none is running.
pub async fn ask(order: Order) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT)).await?;
    stream.write_all(format!("{}\n", order.line()).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
