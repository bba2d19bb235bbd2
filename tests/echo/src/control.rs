//! The private ear of a server or a load on loopback, which no lock guards: `kubectl exec` speaks to it.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

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
        let report = Report { hits: state.counters.read(), link_local: link_local() };
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
