//! How long an answer is waited for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::Connection;
use crate::fields::{Fields, Name};
use crate::worker::Worker;

/// An answer is given up once nothing of its request has moved for so long: the limit on idle connections, or the
/// caller's own deadline where that is longer.
pub(in crate::forward) struct Patience {
    limit: Duration,
    /// Bytes of the request's body that have gone; none without a body.
    sent: Option<Rc<Cell<u64>>>,
    timers: Rc<Timers>,
}

/// Timers of a worker that wait for nothing any more. Setting one costs more than all else that a short wait does, so
/// each is left to run: whoever takes it next looks at the clock when it rings.
#[derive(Default)]
pub(crate) struct Timers(RefCell<Vec<Pin<Box<Sleep>>>>);

/// Timers that are kept.
const SPARE: usize = 64;

impl Patience {
    /// For a request with these headers. A deadline is noted on the connection too, which would else be closed
    /// when it was silent for too long.
    pub(in crate::forward) fn new(worker: &Worker, connection: &Connection, fields: &Fields) -> Self {
        let mut limit = worker.limits().idle;
        if let Some(deadline) = deadline(fields)
            && deadline > limit
        {
            // The caller gives up first, and says so.
            limit = deadline.saturating_add(GRACE);
            let until = worker.now().saturating_add(limit.as_secs());
            connection.patient_until.set(connection.patient_until.get().max(until));
        }
        Self { limit, sent: None, timers: Rc::clone(&worker.timers) }
    }

    /// As long as the body moves there is no hurry.
    pub(in crate::forward) fn watch(&mut self, sent: Rc<Cell<u64>>) {
        self.sent = Some(sent);
    }

    /// `None` if it took too long.
    pub(in crate::forward) async fn wait<T>(
        &self,
        // Pinned where it is made, since it would else lie twice in whoever waits.
        mut answer: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let count = || self.sent.as_ref().map_or(0, |sent| sent.get());
        let (mut before, mut alarm) = (count(), None);
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            let alarm = alarm.get_or_insert_with(|| self.timers.alarm(Instant::now() + self.limit));
            loop {
                ready!(alarm.poll(context));
                let now = count();
                if now == before {
                    return Poll::Ready(None);
                }
                before = now;
                alarm.set(Instant::now() + self.limit);
            }
        })
        .await
    }
}

/// A timer in use.
struct Alarm<'a> {
    timers: &'a Timers,
    sleep: Option<Pin<Box<Sleep>>>,
    until: Instant,
}

impl Timers {
    fn alarm(&self, until: Instant) -> Alarm<'_> {
        let sleep = self.0.borrow_mut().pop().unwrap_or_else(|| Box::pin(sleep_until(until)));
        let mut alarm = Alarm { timers: self, sleep: Some(sleep), until };
        alarm.set(until);
        alarm
    }
}

impl Alarm<'_> {
    /// Only an earlier time is told to the timer at once.
    fn set(&mut self, until: Instant) {
        self.until = until;
        if let Some(sleep) = &mut self.sleep
            && sleep.deadline() > until
        {
            sleep.as_mut().reset(until);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Ready(()) };
        loop {
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.until);
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let mut spare = self.timers.0.borrow_mut();
        if let Some(sleep) = self.sleep.take()
            && spare.len() < SPARE
        {
            spare.push(sleep);
        }
    }
}

/// What a caller is left beyond its own deadline.
const GRACE: Duration = Duration::from_secs(5);

/// The deadline of a gRPC call, from `grpc-timeout`: at most eight digits and a unit.
fn deadline(fields: &Fields) -> Option<Duration> {
    let text = std::str::from_utf8(fields.first(Name::GrpcTimeout)?).ok()?;
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
    use std::pin::pin;

    use tokio::time::sleep;

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
            let mut fields = Fields::new();
            fields.add(Name::GrpcTimeout, text.as_bytes());
            assert_eq!(deadline(&fields), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_timer_serves_the_next_wait_with_its_own_limit() {
        let timers = Rc::<Timers>::default();
        for (limit, other) in [(200, 50), (50, 200), (200, 50)] {
            let patience = |limit| Patience {
                limit: Duration::from_millis(limit),
                sent: None,
                timers: Rc::clone(&timers),
            };
            assert_eq!(patience(other).wait(pin!(sleep(Duration::from_millis(5)))).await, Some(()));
            assert_eq!(timers.0.borrow().len(), 1, "it is kept");
            let begun = Instant::now();
            assert_eq!(patience(limit).wait(pin!(std::future::pending::<()>())).await, None);
            let waited = begun.elapsed();
            assert!(waited >= Duration::from_millis(limit), "{limit}: {waited:?}");
        }
        assert_eq!(timers.0.borrow().len(), 1);
    }

    #[tokio::test]
    async fn a_request_that_moves_is_waited_for() {
        let sent = Rc::new(Cell::new(0));
        let patience = Patience {
            limit: Duration::from_millis(200),
            sent: Some(Rc::clone(&sent)),
            timers: Rc::default(),
        };
        let moving = async {
            for _ in 0..10 {
                sleep(Duration::from_millis(50)).await;
                sent.set(sent.get() + 1);
            }
        };
        assert_eq!(patience.wait(pin!(moving)).await, Some(()));
        assert_eq!(patience.wait(pin!(std::future::pending::<()>())).await, None);
    }
}
