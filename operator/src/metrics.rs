//! What the operator counts, as Prometheus text under `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::inputs::LockKey;
use crate::webhook::review::Verdict;

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// All was done.
    Success,
    /// It will be tried again.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LockLabel {
    namespace: String,
    trust: String,
}

impl From<&LockKey> for LockLabel {
    fn from(key: &LockKey) -> Self {
        Self { namespace: key.namespace.clone(), trust: key.name.clone() }
    }
}

/// What is known of one lock after a reconcile; all times in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockFacts {
    /// Its Ready condition is True.
    pub ready: bool,
    /// When the first of its certificates (server or gateway) runs out.
    pub certificate_expiry: Option<i64>,
    /// When its configuration was last changed.
    pub configured_at: Option<i64>,
}

/// All metrics of the operator. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ResultLabel, Counter>,
    duration: Histogram,
    lock_ready: Family<LockLabel, Gauge>,
    certificate_expiry: Family<LockLabel, Gauge>,
    configured_at: Family<LockLabel, Gauge>,
    acknowledgement: Histogram,
    leader: Gauge,
    reviews: Family<VerdictLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("postern");
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles of locks, by result", reconciles.clone());
        let duration = Histogram::new(exponential_buckets(0.005, 2.0, 12));
        registry.register("reconcile_duration_seconds", "Duration of a reconcile", duration.clone());
        let lock_ready = Family::default();
        registry.register("lock_ready", "1 if the lock's Ready condition is True", lock_ready.clone());
        let certificate_expiry = Family::default();
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the first certificate of a lock or of its keys runs out",
            certificate_expiry.clone(),
        );
        let configured_at = Family::default();
        registry.register(
            "configuration_timestamp_seconds",
            "When the lock's configuration was last changed",
            configured_at.clone(),
        );
        let acknowledgement = Histogram::new(exponential_buckets(0.05, 2.0, 12));
        registry.register(
            "acknowledgement_lag_seconds",
            "From writing a configuration to the word of the last guarded pod that it is in force",
            acknowledgement.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "1 if this replica reconciles", leader.clone());
        let reviews = Family::default();
        registry.register(
            "admission_reviews",
            "Pods that the webhook was asked about, by verdict",
            reviews.clone(),
        );
        Self {
            registry: Arc::new(registry),
            reconciles,
            duration,
            lock_ready,
            certificate_expiry,
            configured_at,
            acknowledgement,
            leader,
            reviews,
        }
    }
}

impl Metrics {
    /// Counts one reconcile.
    pub fn reconciled(&self, result: Outcome, took: Duration) {
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Shows the present state of a lock.
    pub fn lock(&self, key: &LockKey, facts: LockFacts) {
        let label = LockLabel::from(key);
        self.lock_ready.get_or_create(&label).set(i64::from(facts.ready));
        for (family, value) in
            [(&self.certificate_expiry, facts.certificate_expiry), (&self.configured_at, facts.configured_at)]
        {
            match value {
                Some(at) => drop(family.get_or_create(&label).set(at)),
                None => drop(family.remove(&label)),
            }
        }
    }

    /// Forgets a lock that is gone.
    pub fn forget(&self, key: &LockKey) {
        let label = LockLabel::from(key);
        self.lock_ready.remove(&label);
        self.certificate_expiry.remove(&label);
        self.configured_at.remove(&label);
    }

    /// All guarded pods of a lock have the newest configuration, so long after it was written.
    pub fn acknowledged(&self, lag: Duration) {
        self.acknowledgement.observe(lag.as_secs_f64());
    }

    /// Counts one answer of the webhook.
    pub fn reviewed(&self, verdict: Verdict) {
        self.reviews.get_or_create(&VerdictLabel { verdict: format!("{verdict:?}") }).inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The text that a scrape gets.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Serves [`Metrics::text`] under `/metrics`.
    pub fn router(&self) -> Router {
        let metrics = self.clone();
        Router::new().route(
            "/metrics",
            get(move || {
                let text = metrics.text().map_err(|_| http::StatusCode::INTERNAL_SERVER_ERROR);
                async move {
                    text.map(|text| {
                        ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                    })
                }
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> LockKey {
        LockKey { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_lock_is_shown_until_it_is_forgotten() {
        let metrics = Metrics::default();
        let key = key("orders");
        metrics.lock(
            &key,
            LockFacts { ready: true, certificate_expiry: Some(1_800_000_000), configured_at: None },
        );
        metrics.reconciled(Outcome::Success, Duration::from_millis(20));
        let text = metrics.text().unwrap();
        assert!(text.contains(r#"postern_lock_ready{namespace="shop",trust="orders"} 1"#), "{text}");
        assert!(text.contains(r#"postern_reconciles_total{result="Success"} 1"#), "{text}");
        assert!(text.contains("postern_certificate_expiry_timestamp_seconds{"), "{text}");
        assert!(!text.contains("postern_configuration_timestamp_seconds{"), "{text}");
        metrics.forget(&key);
        assert!(!metrics.text().unwrap().contains("trust=\"orders\""));
    }
}
