//! What a lock says of how its sidecars work.

use postern_config::settings::{Limits, LogLevel, Settings, Tracing};
use postern_crds::Duration;
use postern_crds::sidecar::{self as written, Sidecar};

/// Parts per million in a hundredth.
const PERCENT: u32 = 10_000;

/// The settings of the bundle. `resources` are the webhook's affair: a pod that exists keeps what it has.
pub fn settings(sidecar: &Sidecar) -> Settings {
    Settings {
        log_level: sidecar.log_level.map(|level| match level {
            written::LogLevel::Error => LogLevel::Error,
            written::LogLevel::Warn => LogLevel::Warn,
            written::LogLevel::Info => LogLevel::Info,
        }),
        access_log: sidecar.access_log,
        limits: sidecar.limits.as_ref().map(|limits| Limits {
            connections: limits.connections.map(unsigned),
            header_bytes: limits.header_bytes.map(unsigned),
            header_timeout_ms: limits.header_timeout.map(milliseconds),
            idle_timeout_ms: limits.idle_timeout.map(milliseconds),
        }),
        tracing: sidecar.tracing.as_ref().map(|tracing| Tracing {
            endpoint: tracing.endpoint.clone(),
            sampling_ppm: tracing.sampling_percent.map_or(0, unsigned).saturating_mul(PERCENT),
        }),
    }
}

/// The schema lets nothing below 0 in.
fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.0.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_becomes_settings() {
        let sidecar: Sidecar = serde_json::from_value(serde_json::json!({
            "resources": {"requests": {"cpu": "20m"}},
            "logLevel": "Warn",
            "accessLog": true,
            "limits": {"connections": 100, "headerBytes": 9000, "headerTimeout": "5s", "idleTimeout": "1h30m"},
            "tracing": {"endpoint": "http://collector:4318/v1/traces", "samplingPercent": 25},
        }))
        .unwrap();
        let settings = settings(&sidecar);
        assert_eq!(
            serde_json::to_value(&settings).unwrap(),
            serde_json::json!({
                "logLevel": "Warn",
                "accessLog": true,
                "limits": {
                    "connections": 100, "headerBytes": 9000, "headerTimeoutMs": 5000, "idleTimeoutMs": 5_400_000,
                },
                "tracing": {"endpoint": "http://collector:4318/v1/traces", "samplingPpm": 250_000},
            })
        );
        assert_eq!(super::settings(&Sidecar::default()), Settings::default());
    }
}
