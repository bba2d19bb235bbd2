//! The parts without which a sidecar is none: if one ends unasked, the process must end too, so that the kubelet
//! starts it anew. Otherwise it would look healthy and let nobody in, or keep in whom a new policy shuts out.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::oneshot;

/// The parts that run, by name.
#[derive(Debug, Default)]
pub(crate) struct Vital {
    parts: Vec<(String, oneshot::Receiver<()>)>,
}

/// Held by a part for as long as it runs.
#[derive(Debug)]
#[must_use = "without it the part counts as ended"]
pub(crate) struct Running(oneshot::Sender<()>);

impl Vital {
    /// Another part. It has ended once what is returned is dropped, by a panic too.
    pub(crate) fn part(&mut self, name: impl Into<String>) -> Running {
        let (running, ended) = oneshot::channel();
        self.parts.push((name.into(), ended));
        Running(running)
    }

    /// Waits for the first part to end; its name. Not to be called again after that.
    pub(crate) async fn first_end(&mut self) -> String {
        poll_fn(|context| {
            let ended = self
                .parts
                .iter_mut()
                .find_map(|(name, end)| Pin::new(end).poll(context).is_ready().then_some(name));
            ended.map_or(Poll::Pending, |name| Poll::Ready(std::mem::take(name)))
        })
        .await
    }
}

impl Running {
    /// `part`, to whose end it belongs.
    pub(crate) async fn with<F: Future>(self, part: F) -> F::Output {
        let output = part.await;
        drop(self.0);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_part_that_ends_is_named() {
        for (case, panics) in [("returns", false), ("panics", true)] {
            let mut vital = Vital::default();
            let lasting = tokio::spawn(vital.part("lasting").with(std::future::pending::<()>()));
            let (go, gone) = oneshot::channel::<()>();
            tokio::spawn(vital.part("ending").with(async move {
                let _ = gone.await;
                assert!(!panics, "as the test wants it");
            }));
            tokio::select! {
                biased;
                name = vital.first_end() => panic!("{case}: {name} runs"),
                () = tokio::task::yield_now() => {}
            }
            drop(go);
            assert_eq!(vital.first_end().await, "ending", "{case}");
            lasting.abort();
        }
    }
}
