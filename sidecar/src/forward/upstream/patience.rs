//! How long an answer is waited for.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::sleep;

use crate::connection::Connection;
use crate::worker::Worker;

/// An answer is given up once nothing of its request has moved for so long: the limit on idle connections, or the
/// caller's own deadline where that is longer.
pub(in crate::forward) struct Patience {
    limit: Duration,
    /// Bytes of the request's body that have gone; none without a body.
    sent: Option<Rc<Cell<u64>>>,
}

impl Patience {
    /// For a request with these headers. A deadline is noted on the connection too, which would else be closed
    /// when it was silent for too long.
    pub(in crate::forward) fn new(worker: &Worker, connection: &Connection, headers: &HeaderMap) -> Self {
        let mut limit = worker.limits().idle;
        if let Some(deadline) = deadline(headers)
            && deadline > limit
        {
            // The caller gives up first, and says so.
            limit = deadline.saturating_add(GRACE);
            let until = worker.now().saturating_add(limit.as_secs());
            connection.patient_until.set(connection.patient_until.get().max(until));
        }
        Self { limit, sent: None }
    }

    /// As long as the body moves there is no hurry.
    pub(in crate::forward) fn watch(&mut self, sent: Rc<Cell<u64>>) {
        self.sent = Some(sent);
    }

    /// `None` if it took too long.
    pub(in crate::forward) async fn wait<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        let count = || self.sent.as_ref().map_or(0, |sent| sent.get());
        let mut before = count();
        loop {
            tokio::select! {
                biased;
                answer = answer.as_mut() => return Some(answer),
                () = sleep(self.limit) => {
                    if count() == before {
                        return None;
                    }
                    before = count();
                }
            }
        }
    }
}

/// What a caller is left beyond its own deadline.
const GRACE: Duration = Duration::from_secs(5);

/// The deadline of a gRPC call, from `grpc-timeout`: at most eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn deadlines_of_grpc() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("250m", Some(Duration::from_millis(250))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1 S", None),
            ("1é", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_bytes(text.as_bytes()).unwrap());
            assert_eq!(deadline(&headers), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_moves_is_waited_for() {
        let sent = Rc::new(Cell::new(0));
        let patience = Patience { limit: Duration::from_millis(200), sent: Some(Rc::clone(&sent)) };
        let moving = async {
            for _ in 0..10 {
                sleep(Duration::from_millis(50)).await;
                sent.set(sent.get() + 1);
            }
        };
        assert_eq!(patience.wait(moving).await, Some(()));
        assert_eq!(patience.wait(std::future::pending::<()>()).await, None);
    }
}
