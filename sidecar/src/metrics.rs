//! Counters in one array per worker, summed when they are scraped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::authorize::Code;

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
const PROTOCOLS: [&str; 2] = ["http1", "http2"];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const KINDS: [&str; 3] = ["http", "tcp", "open"];
const DIRECTIONS: [&str; 2] = ["received", "sent"];
const RELOADS: [&str; 2] = ["applied", "rejected"];

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
    handshakes: [AtomicU64; HANDSHAKES.len()],
    opened: [AtomicU64; KINDS.len()],
    closed: [AtomicU64; KINDS.len()],
    bytes: [[AtomicU64; DIRECTIONS.len()]; KINDS.len()],
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            denials: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            handshakes: Default::default(),
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

    /// A handshake ended.
    pub fn handshake(&self, result: Handshake) {
        self.handshakes.get(result as usize).inspect(|counter| add(counter, 1));
    }

    /// Bytes were passed on, without a look at them.
    pub fn bytes(&self, kind: Kind, received: u64, sent: u64) {
        if let Some([in_bytes, out_bytes]) = self.bytes.get(kind as usize) {
            add(in_bytes, received);
            add(out_bytes, sent);
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
    /// When the server's certificate expires, seconds since the epoch.
    pub certificate_expiry: AtomicI64,
    /// Reloads that were applied, and that were rejected.
    pub reloads: [AtomicU64; RELOADS.len()],
    /// 1 while the newest files are not in force.
    pub rejected_now: AtomicU64,
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
        let mut out = Family { encoder: &mut encoder };

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
        let handshakes = by("result", &HANDSHAKES, &|at| self.sum(|worker| worker.handshakes.get(at)));
        out.counters("handshakes", "TLS handshakes, by result", &handshakes)?;
        let opened = by("kind", &KINDS, &|at| self.sum(|worker| worker.opened.get(at)));
        out.counters("connections_opened", "Connections let in", &opened)?;
        let closed = |at| self.sum(|worker| worker.closed.get(at));
        let current =
            by("kind", &KINDS, &|at| self.sum(|worker| worker.opened.get(at)).saturating_sub(closed(at)));
        out.gauges("connections", "Connections that are open now", &current)?;

        let mut bytes = Vec::new();
        for (k, kind) in KINDS.iter().enumerate().skip(1) {
            for (d, direction) in DIRECTIONS.iter().enumerate() {
                let value = self.sum(|worker| worker.bytes.get(k)?.get(d));
                bytes.push((vec![("kind", *kind), ("direction", *direction)], value));
            }
        }
        out.counters("passed_bytes", "Bytes passed on ports that are not HTTP, from and to callers", &bytes)?;
        self.control.encode(&mut out)
    }
}

impl ControlMetrics {
    /// A changed configuration was applied, or rejected.
    pub fn reloaded(&self, applied: bool) {
        self.reloads.get(usize::from(!applied)).inspect(|counter| add(counter, 1));
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
        out.gauges(
            "configuration_loaded_timestamp_seconds",
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
        out.gauges(
            "server_certificate_expiry_timestamp_seconds",
            "When the server's certificate expires",
            &seconds(&self.certificate_expiry),
        )?;
        out.counters(
            "log_lines_dropped",
            "Log lines given up because nobody read them in time",
            &plain(self.log_lines_dropped.load(Relaxed)),
        )
    }
}

type Rows<'a> = [(Vec<(&'a str, &'a str)>, u64)];

struct Family<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl Family<'_, '_> {
    fn counters(&mut self, name: &str, help: &str, rows: &Rows<'_>) -> Result<(), fmt::Error> {
        let name = format!("postern_sidecar_{name}");
        let mut metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            match labels.as_slice() {
                [] => metric.encode_counter::<NoLabelSet, _, u64>(value, None)?,
                labels => metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)?,
            }
        }
        Ok(())
    }

    fn gauges(&mut self, name: &str, help: &str, rows: &Rows<'_>) -> Result<(), fmt::Error> {
        let name = format!("postern_sidecar_{name}");
        let mut metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            match labels.as_slice() {
                [] => metric.encode_gauge(value)?,
                labels => metric.encode_family(&labels)?.encode_gauge(value)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed() {
        let metrics = Metrics::new(2);
        let [first, second] = metrics.workers.as_slice() else { panic!("two workers") };
        first.request(true, 204);
        second.request(true, 200);
        second.request(false, 403);
        metrics.control.elsewhere.denial(Code::TooManyConnections);
        second.denial(Code::ApplicationTimeout);
        first.handshake(Handshake::Refused);
        let open = Open::count(first, Kind::Open);
        drop(Open::count(second, Kind::Open));
        first.bytes(Kind::Open, 3, 5);
        let text = metrics.render().unwrap();
        for line in [
            r#"postern_sidecar_requests_total{protocol="http2",status="2xx"} 2"#,
            r#"postern_sidecar_requests_total{protocol="http1",status="4xx"} 1"#,
            r#"postern_sidecar_denials_total{code="TooManyConnections"} 1"#,
            r#"postern_sidecar_denials_total{code="ApplicationTimeout"} 1"#,
            r#"postern_sidecar_handshakes_total{result="refused"} 1"#,
            r#"postern_sidecar_connections{kind="open"} 1"#,
            r#"postern_sidecar_connections_opened_total{kind="open"} 2"#,
            r#"postern_sidecar_passed_bytes_total{kind="open",direction="sent"} 5"#,
            "postern_sidecar_configuration_loaded_timestamp_seconds 0",
            "postern_sidecar_log_lines_dropped_total 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        drop(open);
        assert!(metrics.render().unwrap().contains(r#"postern_sidecar_connections{kind="open"} 0"#));
    }
}
