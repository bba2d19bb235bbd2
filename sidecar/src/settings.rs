//! How the sidecar works, apart from whom it lets in: what a configuration may change while it runs.

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use postern_config::settings::{self as config, LogLevel};
use tracing_subscriber::filter::LevelFilter;

use crate::limits::Limits;

/// Bounds of a request's head that make sense, in bytes: what one read brings has room.
const HEADER_BYTES: std::ops::RangeInclusive<u32> = 8 << 10..=1 << 20;
/// All requests, in parts per million.
const ALL: u32 = 1_000_000;

/// What a configuration says, checked. What it doesn't say stays as the program was started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    written: config::Settings,
    tracing: Option<Tracing>,
}

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// The collector: `http://`, with a host and a path.
    pub endpoint: Uri,
    /// Share of requests without a sampled parent that are recorded, in parts per million.
    pub sampling_ppm: u32,
}

/// A setting that cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A bound of nothing.
    #[error("settings.limits.{0} is 0, which would let nobody in; leave it out for the default")]
    Zero(&'static str),
    /// A bound for heads that no head could keep, or that bounds nothing.
    #[error("settings.limits.headerBytes is {0}; give 8192 to 1048576")]
    HeaderBytes(u32),
    /// A collector that can't be called.
    #[error(
        "settings.tracing.endpoint is {0:?}; give a URL of plain HTTP such as http://collector.observability.svc:4318/v1/traces"
    )]
    Endpoint(String),
    /// More than all.
    #[error("settings.tracing.samplingPpm is {0}; give 0 to 1000000")]
    Sampling(u32),
}

impl Settings {
    /// Checks what is written.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(written: &config::Settings) -> Result<Self, SettingsError> {
        if let Some(limits) = &written.limits {
            let zero = [
                ("connections", limits.connections == Some(0)),
                ("headerTimeoutMs", limits.header_timeout_ms == Some(0)),
                ("idleTimeoutMs", limits.idle_timeout_ms == Some(0)),
            ];
            if let Some((name, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
                return Err(SettingsError::Zero(name));
            }
            if let Some(bytes) = limits.header_bytes.filter(|bytes| !HEADER_BYTES.contains(bytes)) {
                return Err(SettingsError::HeaderBytes(bytes));
            }
        }
        let tracing = written.tracing.as_ref().map(Tracing::check).transpose()?;
        Ok(Self { written: written.clone(), tracing })
    }

    /// From which severity on lines are logged, if it is said.
    pub fn log_level(&self) -> Option<LevelFilter> {
        self.written.log_level.map(|level| match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
        })
    }

    /// Whether permitted requests are logged.
    pub fn access_log(&self, otherwise: bool) -> bool {
        self.written.access_log.unwrap_or(otherwise)
    }

    /// Where spans go, if anywhere.
    pub fn tracing(&self) -> Option<&Tracing> {
        self.tracing.as_ref()
    }

    /// The bounds that hold, where these hold otherwise.
    pub fn limits(&self, otherwise: &Limits) -> Limits {
        let mut limits = otherwise.clone();
        let Some(written) = &self.written.limits else { return limits };
        if let Some(connections) = written.connections.and_then(|count| usize::try_from(count).ok()) {
            limits.connections = connections;
            limits.unproven = limits.unproven.min(connections);
            limits.open = limits.open.min(connections);
        }
        if let Some(bytes) = written.header_bytes {
            limits.header_bytes = bytes;
        }
        if let Some(milliseconds) = written.header_timeout_ms {
            limits.header = Duration::from_millis(milliseconds);
        }
        if let Some(milliseconds) = written.idle_timeout_ms {
            limits.idle = Duration::from_millis(milliseconds);
        }
        limits
    }
}

impl Tracing {
    fn check(written: &config::Tracing) -> Result<Self, SettingsError> {
        let wrong = || SettingsError::Endpoint(written.endpoint.clone());
        let endpoint: Uri = written.endpoint.parse().map_err(|_| wrong())?;
        let is_http = endpoint.scheme() == Some(&Scheme::HTTP);
        let is_plain = endpoint.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !is_http || !is_plain || endpoint.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        if written.sampling_ppm > ALL {
            return Err(SettingsError::Sampling(written.sampling_ppm));
        }
        Ok(Self { endpoint, sampling_ppm: written.sampling_ppm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: serde_json::Value) -> Result<Settings, SettingsError> {
        Settings::check(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn what_is_not_said_stays() {
        let limits = Limits::default();
        let settings = check(serde_json::json!({})).unwrap();
        assert_eq!(settings.limits(&limits).connections, limits.connections);
        assert!(settings.access_log(true) && !settings.access_log(false));
        assert_eq!((settings.log_level(), settings.tracing()), (None, None));

        let settings = check(serde_json::json!({
            "logLevel": "Error", "accessLog": false,
            "limits": {"connections": 10, "headerBytes": 8192, "headerTimeoutMs": 1500, "idleTimeoutMs": 20},
            "tracing": {"endpoint": "http://collector:4318/v1/traces", "samplingPpm": 1_000_000},
        }))
        .unwrap();
        let held = settings.limits(&limits);
        assert_eq!((held.connections, held.unproven, held.open, held.header_bytes), (10, 10, 10, 8192));
        assert_eq!((held.header, held.idle), (Duration::from_millis(1500), Duration::from_millis(20)));
        assert_eq!(held.handshake, limits.handshake);
        assert!(!settings.access_log(true));
        assert_eq!(settings.log_level(), Some(LevelFilter::ERROR));
        assert_eq!(settings.tracing().unwrap().endpoint.host(), Some("collector"));
    }

    #[test]
    fn what_cannot_hold_is_refused() {
        for (json, part) in [
            (serde_json::json!({"limits": {"connections": 0}}), "limits.connections"),
            (serde_json::json!({"limits": {"headerTimeoutMs": 0}}), "limits.headerTimeoutMs"),
            (serde_json::json!({"limits": {"idleTimeoutMs": 0}}), "limits.idleTimeoutMs"),
            (serde_json::json!({"limits": {"headerBytes": 8191}}), "8191"),
            (serde_json::json!({"limits": {"headerBytes": 1_048_577}}), "1048577"),
            (serde_json::json!({"tracing": {"endpoint": "ftp://a/", "samplingPpm": 1}}), "ftp://a/"),
            (serde_json::json!({"tracing": {"endpoint": "https://a/", "samplingPpm": 1}}), "plain HTTP"),
            (serde_json::json!({"tracing": {"endpoint": "/v1/traces", "samplingPpm": 1}}), "/v1/traces"),
            (serde_json::json!({"tracing": {"endpoint": "http://u:p@a/", "samplingPpm": 1}}), "endpoint"),
            (serde_json::json!({"tracing": {"endpoint": "http://a/", "samplingPpm": 1_000_001}}), "1000001"),
        ] {
            let error = check(json.clone()).unwrap_err().to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
