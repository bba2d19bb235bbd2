//! Families of metrics in the form that Prometheus reads.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Labels and value of each member.
pub(super) type Rows<'a> = [(Vec<(&'a str, &'a str)>, u64)];

/// Writes families; every name begins with `postern_sidecar_`, and ends with its unit where it has one.
pub(super) struct Family<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl<'a, 'b> Family<'a, 'b> {
    pub(super) fn new(encoder: &'a mut DescriptorEncoder<'b>) -> Self {
        Self { encoder }
    }

    pub(super) fn counters(&mut self, name: &str, help: &str, rows: &Rows<'_>) -> fmt::Result {
        self.integers(MetricType::Counter, name, None, help, rows)
    }

    pub(super) fn counters_of(
        &mut self,
        name: &str,
        unit: &Unit,
        help: &str,
        rows: &Rows<'_>,
    ) -> fmt::Result {
        self.integers(MetricType::Counter, name, Some(unit), help, rows)
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, rows: &Rows<'_>) -> fmt::Result {
        self.integers(MetricType::Gauge, name, None, help, rows)
    }

    pub(super) fn gauges_of(&mut self, name: &str, unit: &Unit, help: &str, rows: &Rows<'_>) -> fmt::Result {
        self.integers(MetricType::Gauge, name, Some(unit), help, rows)
    }

    /// Upper bound and count of each bucket, not cumulated; the last bound is infinite.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        unit: &Unit,
        help: &str,
        nanoseconds: u64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let name = prefixed(name);
        let mut metric = self.encoder.encode_descriptor(&name, help, Some(unit), MetricType::Histogram)?;
        let count = buckets.iter().map(|(_, count)| count).sum();
        // Exact as long as it matters: 2^53 ns are 104 days of work.
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds is a float")]
        let seconds = nanoseconds as f64 / 1e9;
        metric.encode_histogram::<NoLabelSet>(seconds, count, buckets, None)
    }

    fn integers(
        &mut self,
        kind: MetricType,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        rows: &Rows<'_>,
    ) -> fmt::Result {
        let name = prefixed(name);
        let mut metric = self.encoder.encode_descriptor(&name, help, unit, kind)?;
        for (labels, value) in rows {
            match labels.as_slice() {
                [] => member(&mut metric, kind, *value)?,
                labels => member(&mut metric.encode_family(&labels)?, kind, *value)?,
            }
        }
        Ok(())
    }
}

fn prefixed(name: &str) -> String {
    format!("postern_sidecar_{name}")
}

fn member(metric: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}
