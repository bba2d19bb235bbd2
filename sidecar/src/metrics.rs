//! Counters in one array per worker, summed when they are scraped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::{Registry, Unit};
use rustls::NamedGroup;

use self::family::Family;
use crate::authorize::Code;

mod family;

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The caller is known.
    Accepted,
    /// By an alert, or it was impossible.
    Refused,
    /// The caller went away.
    Closed,
}

const HANDSHAKES: [&str; 3] = ["accepted", "refused", "closed"];
/// Key exchanges that callers agree upon; `none` where it didn't come to that, or nobody can tell any more.
const GROUPS: [&str; 7] =
    ["none", "X25519MLKEM768", "X25519", "secp256r1", "secp384r1", "secp256r1MLKEM768", "other"];
/// Upper bounds of the histogram's buckets, in microseconds; one more takes the rest.
const WORK: [u32; 12] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000];
const PROTOCOLS: [&str; 2] = ["http1", "http2"];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const KINDS: [&str; 3] = ["http", "tcp", "open"];
const DIRECTIONS: [&str; 2] = ["received", "sent"];
const RELOADS: [&str; 2] = ["applied", "rejected"];
const SPANS: [&str; 3] = ["exported", "dropped", "failed"];

/// What became of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spans {
    /// A collector has taken them.
    Exported,
    /// More than the queue holds.
    Dropped,
    /// No collector took them.
    Failed,
}

/// What a connection is for, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP behind a lock.
    Http,
    /// Bytes behind a lock.
    Tcp,
    /// Bytes without a lock.
    Open,
}

/// One worker's counters. Only that worker adds to them.
#[derive(Debug)]
pub struct WorkerMetrics {
    requests: [[AtomicU64; STATUSES.len()]; PROTOCOLS.len()],
    denials: Box<[AtomicU64]>,
    /// Denials that were not carried out.
    spared: Box<[AtomicU64]>,
    handshakes: [[AtomicU64; GROUPS.len()]; HANDSHAKES.len()],
    work: [AtomicU64; WORK.len() + 1],
    work_nanoseconds: AtomicU64,
    opened: [AtomicU64; KINDS.len()],
    closed: [AtomicU64; KINDS.len()],
    bytes: [[AtomicU64; DIRECTIONS.len()]; KINDS.len()],
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            denials: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            spared: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            handshakes: Default::default(),
            work: Default::default(),
            work_nanoseconds: AtomicU64::new(0),
            opened: Default::default(),
            closed: Default::default(),
            bytes: Default::default(),
        }
    }
}

impl WorkerMetrics {
    /// A request was answered, by the application or by a refusal.
    pub fn request(&self, is_http2: bool, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        let counter = self.requests.get(usize::from(is_http2)).and_then(|row| row.get(class));
        counter.inspect(|counter| add(counter, 1));
    }

    /// Something was refused.
    pub fn denial(&self, code: Code) {
        self.denials.get(code as usize).inspect(|counter| add(counter, 1));
    }

    /// An audited port let something through that it would have refused.
    pub fn spared(&self, code: Code) {
        self.spared.get(code as usize).inspect(|counter| add(counter, 1));
    }

    /// A handshake ended, with this key exchange if it came so far.
    pub fn handshake(&self, result: Handshake, group: Option<NamedGroup>) {
        let group = match group {
            None => 0,
            Some(NamedGroup::X25519MLKEM768) => 1,
            Some(NamedGroup::X25519) => 2,
            Some(NamedGroup::secp256r1) => 3,
            Some(NamedGroup::secp384r1) => 4,
            Some(NamedGroup::secp256r1MLKEM768) => 5,
            Some(_) => 6,
        };
        let counter = self.handshakes.get(result as usize).and_then(|row| row.get(group));
        counter.inspect(|counter| add(counter, 1));
    }

    /// What the sidecar itself did for a request took so long.
    pub fn work(&self, took: Duration) {
        let microseconds = took.as_micros();
        let bucket = WORK.iter().position(|bound| microseconds <= u128::from(*bound)).unwrap_or(WORK.len());
        self.work.get(bucket).inspect(|counter| add(counter, 1));
        add(&self.work_nanoseconds, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Bytes came from callers, and went to them.
    pub fn bytes(&self, kind: Kind, received: u64, sent: u64) {
        if let Some([in_bytes, out_bytes]) = self.bytes.get(kind as usize) {
            if received > 0 {
                add(in_bytes, received);
            }
            if sent > 0 {
                add(out_bytes, sent);
            }
        }
    }

    fn opened(&self, kind: Kind) {
        self.opened.get(kind as usize).inspect(|counter| add(counter, 1));
    }

    fn closed(&self, kind: Kind) {
        self.closed.get(kind as usize).inspect(|counter| add(counter, 1));
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub struct Open {
    metrics: Arc<WorkerMetrics>,
    kind: Kind,
}

impl Open {
    /// From now on.
    pub fn count(metrics: &Arc<WorkerMetrics>, kind: Kind) -> Self {
        metrics.opened(kind);
        Self { metrics: Arc::clone(metrics), kind }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.closed(self.kind);
    }
}

/// What the control thread and the log know.
#[derive(Debug, Default)]
pub struct ControlMetrics {
    /// When the configuration in force was loaded, seconds since the epoch; 0 before the first.
    pub loaded_at: AtomicI64,
    /// Its sequence.
    pub sequence: AtomicU64,
    /// From when on the server's certificate is valid, seconds since the epoch.
    pub certificate_start: AtomicI64,
    /// When the server's certificate expires, seconds since the epoch.
    pub certificate_expiry: AtomicI64,
    /// Reloads that were applied, and that were rejected.
    pub reloads: [AtomicU64; RELOADS.len()],
    /// 1 while the newest files are not in force.
    pub rejected_now: AtomicU64,
    /// Spans that a collector has taken, that were given up because the queue was full, and that no collector took.
    pub spans: [AtomicU64; SPANS.len()],
    /// Log lines that were given up because nobody read them in time.
    pub log_lines_dropped: AtomicU64,
    /// What is counted outside the workers: by listeners and by the admin endpoint.
    pub elsewhere: WorkerMetrics,
}

/// All metrics of this process.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Of the control thread.
    pub control: Arc<ControlMetrics>,
    /// One per worker.
    pub workers: Vec<Arc<WorkerMetrics>>,
}

impl Metrics {
    /// All zero, for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { control: Arc::default(), workers: (0..workers).map(|_| Arc::default()).collect() }
    }

    /// Prometheus' text format, as `OpenMetrics` defines it.
    ///
    /// # Errors
    /// Only if a string cannot be written.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::with_capacity(8 << 10);
        text::encode(&mut out, &registry)?;
        Ok(out)
    }

    fn sum(&self, counter: impl Fn(&WorkerMetrics) -> Option<&AtomicU64>) -> u64 {
        let all = self.workers.iter().map(AsRef::as_ref).chain([&self.control.elsewhere]);
        all.filter_map(|worker| counter(worker).map(|counter| counter.load(Relaxed))).sum()
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut out = Family::new(&mut encoder);

        let mut requests = Vec::new();
        for (p, protocol) in PROTOCOLS.iter().enumerate() {
            for (s, status) in STATUSES.iter().enumerate() {
                let value = self.sum(|worker| worker.requests.get(p)?.get(s));
                requests.push((vec![("protocol", *protocol), ("status", *status)], value));
            }
        }
        out.counters("requests", "Requests answered, by the application or by a refusal", &requests)?;

        let by = |label: &'static str, names: &[&'static str], value: &dyn Fn(usize) -> u64| {
            let rows = names.iter().enumerate().map(|(at, name)| (vec![(label, *name)], value(at)));
            rows.collect::<Vec<_>>()
        };
        let codes: Vec<&'static str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let denials = by("code", &codes, &|at| self.sum(|worker| worker.denials.get(at)));
        out.counters("denials", "Refusals, by code", &denials)?;
        let spared = by("code", &codes, &|at| self.sum(|worker| worker.spared.get(at)));
        out.counters("audited_denials", "Refusals that audited ports did not carry out, by code", &spared)?;
        let mut handshakes = Vec::new();
        for (r, result) in HANDSHAKES.iter().enumerate() {
            for (g, group) in GROUPS.iter().enumerate() {
                let value = self.sum(|worker| worker.handshakes.get(r)?.get(g));
                handshakes.push((vec![("result", *result), ("group", *group)], value));
            }
        }
        out.counters("handshakes", "TLS handshakes, by result and key exchange", &handshakes)?;
        let nanoseconds = self.sum(|worker| Some(&worker.work_nanoseconds));
        let buckets = (0..=WORK.len()).map(|at| self.sum(|worker| worker.work.get(at)));
        let bounds = WORK.iter().map(|bound| f64::from(*bound) / 1e6).chain([f64::INFINITY]);
        out.histogram(
            "request_processing",
            &Unit::Seconds,
            "Time that the sidecar itself spends on a request's and an answer's head, without the application's",
            nanoseconds,
            &bounds.zip(buckets).collect::<Vec<_>>(),
        )?;
        let opened = by("kind", &KINDS, &|at| self.sum(|worker| worker.opened.get(at)));
        out.counters("connections_opened", "Connections let in", &opened)?;
        let closed = |at| self.sum(|worker| worker.closed.get(at));
        let current =
            by("kind", &KINDS, &|at| self.sum(|worker| worker.opened.get(at)).saturating_sub(closed(at)));
        out.gauges("connections", "Connections that are open now", &current)?;

        let mut bytes = Vec::new();
        for (k, kind) in KINDS.iter().enumerate() {
            for (d, direction) in DIRECTIONS.iter().enumerate() {
                let value = self.sum(|worker| worker.bytes.get(k)?.get(d));
                bytes.push((vec![("kind", *kind), ("direction", *direction)], value));
            }
        }
        let help = "Bytes passed from and to callers, without what TLS adds";
        out.counters_of("passed", &Unit::Bytes, help, &bytes)?;
        self.control.encode(&mut out)
    }
}

impl ControlMetrics {
    /// A changed configuration was applied, or rejected.
    pub fn reloaded(&self, applied: bool) {
        self.reloads.get(usize::from(!applied)).inspect(|counter| add(counter, 1));
    }

    /// Something has become of so many spans.
    pub fn spans(&self, what: Spans, count: u64) {
        self.spans.get(what as usize).inspect(|counter| add(counter, count));
    }

    fn encode(&self, out: &mut Family<'_, '_>) -> Result<(), fmt::Error> {
        let plain = |value: u64| [(Vec::new(), value)];
        let seconds = |value: &AtomicI64| plain(u64::try_from(value.load(Relaxed)).unwrap_or(0));
        let reloads: Vec<_> = RELOADS
            .iter()
            .zip(&self.reloads)
            .map(|(name, n)| (vec![("result", *name)], n.load(Relaxed)))
            .collect();
        out.counters("reloads", "Attempts to load a changed configuration", &reloads)?;
        out.gauges_of(
            "configuration_loaded_timestamp",
            &Unit::Seconds,
            "When the configuration in force was loaded",
            &seconds(&self.loaded_at),
        )?;
        out.gauges(
            "configuration_sequence",
            "Sequence of the configuration in force",
            &plain(self.sequence.load(Relaxed)),
        )?;
        out.gauges(
            "configuration_rejected",
            "1 while the newest configuration is refused and the last good one stays in force",
            &plain(self.rejected_now.load(Relaxed)),
        )?;
        out.gauges_of(
            "server_certificate_not_before_timestamp",
            &Unit::Seconds,
            "From when on the server's certificate is valid",
            &seconds(&self.certificate_start),
        )?;
        out.gauges_of(
            "server_certificate_expiry_timestamp",
            &Unit::Seconds,
            "When the server's certificate expires",
            &seconds(&self.certificate_expiry),
        )?;
        out.counters(
            "log_lines_dropped",
            "Log lines given up because nobody read them in time",
            &plain(self.log_lines_dropped.load(Relaxed)),
        )?;
        let spans: Vec<_> = SPANS
            .iter()
            .zip(&self.spans)
            .map(|(name, n)| (vec![("result", *name)], n.load(Relaxed)))
            .collect();
        out.counters("spans", "Recorded spans, by what became of them", &spans)?;
        let version = [(vec![("version", env!("CARGO_PKG_VERSION"))], 1)];
        out.gauges("build_info", "1, with the version of the sidecar", &version)
    }
}

#[cfg(test)]
mod tests;
