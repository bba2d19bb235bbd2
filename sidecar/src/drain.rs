//! The end: no new connections, what is in flight is finished, within a bound.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::worker::Handle;

/// Until the process is asked to end. The kubelet asks native sidecars last, after the application has ended.
///
/// # Errors
/// If the system lets no signal be waited for.
pub fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Until `stop` turns true, or whoever could say so is gone.
pub(crate) async fn begun(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Lets the workers finish, for `limit` at most. `ended` resolve as the workers end.
pub(crate) async fn finish(workers: Vec<Handle>, ended: Vec<oneshot::Receiver<()>>, limit: Duration) {
    for worker in &workers {
        worker.drain();
    }
    let all = async {
        for end in ended {
            // An error means that the worker has ended otherwise; it is gone all the same.
            let _ = end.await;
        }
    };
    if timeout(limit, all).await.is_err() {
        let open: usize = workers.iter().map(Handle::load).sum();
        tracing::warn!(connections = open, "still open at the end of the drain; broken off");
    }
}
