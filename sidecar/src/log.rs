//! JSON lines on standard output, written by a thread of their own so that a full pipe can't hold up traffic.
//!
//! What happens in the sidecar goes through `tracing`, and its level can be set at any time. Requests and refusals
//! ([`line`]) go to the same queue by themselves: they depend on no level.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

pub use self::line::{Asked, Ended, Party, refusal};
use crate::metrics::ControlMetrics;

pub mod line;

/// Bytes of lines that may wait to be written: some ten thousand lines. More are dropped and counted.
const QUEUE: usize = 6 << 20;
/// Bytes that are written at once, about.
const TOGETHER: usize = 64 << 10;
/// At the end of the program.
const FLUSH: Duration = Duration::from_secs(1);

enum Item {
    Lines(Vec<u8>),
    /// Answered once everything before it has been written.
    Flush(SyncSender<()>),
}

/// Logging that was started.
#[derive(Debug)]
pub struct Log {
    queue: Sender<Item>,
}

/// Sends all logging from now on to standard output. To be called once, at the start of the program.
///
/// # Errors
/// If the writing thread cannot be started, or logging goes somewhere else already.
pub fn start(
    level: LevelFilter,
    metrics: Arc<ControlMetrics>,
) -> Result<Log, Box<dyn std::error::Error + Send + Sync>> {
    let (queue, items) = Queue::new(metrics);
    let waiting = Arc::clone(&queue.waiting);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(&mut io::stdout(), &items, &waiting))?;
    let log = Log { queue: queue.items.clone() };
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
        if self.queue.send(Item::Flush(done)).is_ok() {
            // Late or never: the program ends either way.
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

/// Everything that comes, for as long as anybody may send. What has come meanwhile is written at once.
fn write(out: &mut impl io::Write, items: &Receiver<Item>, waiting: &AtomicUsize) {
    while let Ok(mut item) = items.recv() {
        let mut together = Vec::new();
        let mut wanted = None;
        loop {
            match item {
                Item::Lines(lines) if together.is_empty() => together = lines,
                Item::Lines(lines) => together.extend_from_slice(&lines),
                Item::Flush(done) => wanted = Some(done),
            }
            if together.len() >= TOGETHER || wanted.is_some() {
                break;
            }
            match items.try_recv() {
                Ok(next) => item = next,
                Err(_) => break,
            }
        }
        // Nobody is left to tell if standard output is gone.
        let _ = out.write_all(&together);
        waiting.fetch_sub(together.len(), Relaxed);
        if let Some(done) = wanted {
            let _ = done.send(());
        }
    }
}

#[derive(Clone, Debug)]
struct Queue {
    items: Sender<Item>,
    /// Bytes in it.
    waiting: Arc<AtomicUsize>,
    metrics: Arc<ControlMetrics>,
}

impl Queue {
    fn new(metrics: Arc<ControlMetrics>) -> (Self, Receiver<Item>) {
        let (items, taken) = channel();
        (Self { items, waiting: Arc::default(), metrics }, taken)
    }

    /// Takes whole lines, so many.
    fn take(&self, lines: Vec<u8>, count: u64) {
        let length = lines.len();
        let waiting = self.waiting.fetch_add(length, Relaxed).saturating_add(length);
        if waiting > QUEUE || self.items.send(Item::Lines(lines)).is_err() {
            self.waiting.fetch_sub(length, Relaxed);
            self.metrics.log_lines_dropped.fetch_add(count, Relaxed);
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
        self.0.take(line.to_vec(), 1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
