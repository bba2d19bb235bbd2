//! Waiting for a condition, with a limit and a reason.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until `look` yields a value; after `seconds` fails with `what` and the last reason why not.
pub async fn until<T>(what: &str, seconds: u64, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(Duration::from_secs(seconds), look)
        .await
        .unwrap_or_else(|reason| panic!("waited {seconds} s for {what}: {reason}"))
}

/// As [`until`], with the last reason as the error.
///
/// # Errors
/// The last reason, once `limit` is over.
pub async fn within<T>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    loop {
        let reason = match look().await {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if Instant::now() >= end {
            return Err(reason);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks for the whole of `seconds` that `look` keeps saying yes; fails with the first reason why not.
pub async fn throughout(what: &str, seconds: u64, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if let Err(reason) = look().await {
            panic!("{what} did not hold for {seconds} s: {reason}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
