//! JSON lines on standard output, written by a thread of their own so that a full pipe can't hold up traffic.
//!
//! What happens in the sidecar goes through `tracing`, and its level can be set at any time. Requests and refusals
//! ([`line`]) go to the same queue by themselves: they depend on no level.

use std::io::{self, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

pub use self::line::{Asked, Party, refusal};
use crate::metrics::ControlMetrics;

pub mod line;

/// Lines that may wait to be written; more are dropped and counted.
const QUEUE: usize = 4096;
/// At the end of the program.
const FLUSH: Duration = Duration::from_secs(1);

enum Item {
    Line(Vec<u8>),
    /// Answered once everything before it has been written.
    Flush(SyncSender<()>),
}

/// Logging that was started.
#[derive(Debug)]
pub struct Log {
    queue: SyncSender<Item>,
}

/// Sends all logging from now on to standard output. To be called once, at the start of the program.
///
/// # Errors
/// If the writing thread cannot be started, or logging goes somewhere else already.
pub fn start(
    level: LevelFilter,
    metrics: Arc<ControlMetrics>,
) -> Result<Log, Box<dyn std::error::Error + Send + Sync>> {
    let (queue, items) = sync_channel::<Item>(QUEUE);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        let mut out = io::stdout();
        for item in items {
            // Nobody is left to tell if standard output is gone.
            match item {
                Item::Line(line) => drop(out.write_all(&line)),
                Item::Flush(done) => drop(done.send(())),
            }
        }
    })?;
    let log = Log { queue: queue.clone() };
    let queue = Queue { queue, metrics };
    let (filter, handle) = reload::Layer::new(level);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(queue.clone());
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    // Nothing was there before: `try_init` succeeds once in a process.
    let _ = LEVEL.set(Level { handle, started_with: level });
    let _ = LINES.set(queue);
    Ok(log)
}

/// Where [`line`]s go; nowhere before [`start`].
static LINES: OnceLock<Queue> = OnceLock::new();

/// What [`set_level`] sets.
static LEVEL: OnceLock<Level> = OnceLock::new();

struct Level {
    handle: reload::Handle<LevelFilter, Registry>,
    /// What the program was started with.
    started_with: LevelFilter,
}

/// Logs from this severity on; `None`: from the one that the program was started with.
pub fn set_level(level: Option<LevelFilter>) {
    if let Some(log) = LEVEL.get() {
        let level = level.unwrap_or(log.started_with);
        if log.handle.with_current(|current| *current != level).unwrap_or(false)
            && let Err(error) = log.handle.reload(level)
        {
            tracing::error!(%error, "the level of the log cannot be changed");
        }
    }
}

impl Log {
    /// Waits until what was logged so far is written, but not for long.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            // Late or never: the program ends either way.
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

#[derive(Clone, Debug)]
struct Queue {
    queue: SyncSender<Item>,
    metrics: Arc<ControlMetrics>,
}

impl Queue {
    fn take(&self, line: Vec<u8>) {
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.metrics.log_lines_dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Takes one line; the formatter writes it in one piece.
pub struct Line<'a>(&'a Queue);

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
