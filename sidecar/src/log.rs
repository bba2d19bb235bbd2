//! JSON lines on standard output, written by a thread of their own so that a full pipe can't hold up traffic.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::authorize::{Code, Denial};
use crate::identify::{Caller, Presented};
use crate::metrics::ControlMetrics;

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
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_max_level(level)
        .with_writer(Queue { queue, metrics })
        .try_init()?;
    Ok(log)
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

struct Queue {
    queue: SyncSender<Item>,
    metrics: Arc<ControlMetrics>,
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
        if self.0.queue.try_send(Item::Line(line.to_vec())).is_err() {
            self.0.metrics.log_lines_dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a request was for, as far as it is known; already canonical or clipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Method.
    pub method: Option<&'a str>,
    /// Host.
    pub host: Option<&'a str>,
    /// Path, without its query.
    pub path: Option<&'a str>,
    /// Its id.
    pub request_id: Option<&'a str>,
}

/// Who called, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub enum Party<'a> {
    /// Nobody in particular.
    Unknown,
    /// A certificate that was not accepted.
    Presented(&'a Presented),
    /// A caller that proved who it is.
    Known(&'a Caller),
}

/// One line for one refusal.
pub fn refusal(denial: &Denial, peer: SocketAddr, port: u16, party: Party<'_>, asked: Asked<'_>) {
    let presented = match party {
        Party::Presented(presented) => Some(presented),
        _ => None,
    };
    let caller = match party {
        Party::Known(caller) => Some(caller),
        _ => None,
    };
    let fingerprint = caller.map(|caller| hex::encode(caller.fingerprint));
    let shown = |text: &'static str| if is_about_the_application(denial.code) { text } else { "refused" };
    tracing::warn!(
        target: "postern",
        code = denial.code.as_str(),
        reason = clip(&denial.reason),
        remedy = denial.code.remedy(),
        peer = %peer,
        port,
        identity = caller.map(|caller| &*caller.identity),
        authority = caller.map(|caller| &*caller.authority),
        certificate = fingerprint.as_deref().or(presented.map(|it| it.sha256.as_str())),
        subject = presented.map(|it| it.subject.as_str()),
        issuer = presented.map(|it| it.issuer.as_str()),
        names = presented.map(|it| it.names.as_str()),
        method = asked.method.map(clip),
        host = asked.host.map(clip),
        path = asked.path.map(clip),
        request_id = asked.request_id,
        "{}",
        shown("failed"),
    );
}

/// One line for one request that was let in.
pub fn permit(route: &str, status: u16, peer: SocketAddr, port: u16, caller: &Caller, asked: Asked<'_>) {
    tracing::info!(
        target: "postern",
        route,
        status,
        peer = %peer,
        port,
        identity = &*caller.identity,
        method = asked.method.map(clip),
        host = asked.host.map(clip),
        path = asked.path.map(clip),
        request_id = asked.request_id,
        "permitted"
    );
}

const fn is_about_the_application(code: Code) -> bool {
    matches!(code, Code::ApplicationUnreachable | Code::ApplicationFailed | Code::ApplicationTimeout)
}

/// A caller's text, so far as a line should hold it.
fn clip(text: &str) -> &str {
    crate::text::clip(text, 512)
}
