//! Large bodies, both ways at once, at the pace that is asked for.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

use super::persevering::Persevering;
use super::{Channel, Progress, connect, http_broken, lossy, open, request};
use crate::attempt::{Attempt, Outcome};
use crate::large::{self, Made};

/// What is sent, and how the answer is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transfer {
    /// The request; its body is made.
    pub attempt: Attempt,
    /// Bytes of the request's body.
    pub upload: u64,
    /// The answer's body is large: it is checked instead of told.
    pub large: bool,
    /// The answer's body is not read before a line `read`.
    pub stalled: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transferred {
    /// The answer's status.
    pub status: u16,
    /// Its body, if it was not large.
    pub text: String,
    /// Bytes of its body, if it was large.
    pub received: u64,
    /// Whether each was the right one.
    pub is_right: bool,
}

/// Reads a [`Transfer`] from standard input, makes it and prints [`Transferred`]. Meanwhile a line `sent` prints how many
/// bytes were sent, and `read` begins the reading of a stalled answer.
///
/// # Errors
/// If standard input holds no transfer, or there is no answer in time.
pub async fn transfer() -> std::io::Result<()> {
    let mut lines = lines();
    let transfer: Transfer = serde_json::from_str(&lines.recv().await.unwrap_or_default())?;
    let (sent, read) = (Arc::new(AtomicU64::new(0)), Notify::new());
    let orders = async {
        while let Some(line) = lines.recv().await {
            match line.as_str() {
                "sent" => println!("{}", sent.load(Relaxed)),
                "read" => read.notify_one(),
                _ => {}
            }
        }
        std::future::pending::<Result<Transferred, Outcome>>().await
    };
    let made = async {
        tokio::select! { made = make(&transfer, &sent, &read) => made, never = orders => never }
    };
    let limit = std::time::Duration::from_millis(transfer.attempt.timeout_ms);
    let made = LocalSet::new().run_until(Box::pin(tokio::time::timeout(limit, made))).await;
    let made = made.unwrap_or_else(|_| Err(Outcome::Timeout { during: "the transfer".to_owned() }));
    let made = made.map_err(|outcome| std::io::Error::other(outcome.brief()))?;
    println!("{}", serde_json::to_string(&made)?);
    Ok(())
}

/// Standard input, read by a thread of its own, for whose end nobody waits.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn make(transfer: &Transfer, sent: &Arc<AtomicU64>, read: &Notify) -> Result<Transferred, Outcome> {
    let Transfer { attempt, upload, large, stalled } = transfer;
    let progress = Rc::new(RefCell::new(Progress { stage: "", local: None }));
    let (stream, _) = Persevering::new(connect(attempt, &progress).await?);
    let mut channel: Channel<Made> = open(stream, &attempt.payload).await?;
    let body = Made::counted(*upload, Arc::clone(sent));
    let (head, body) = channel.send(request(attempt, body)?).await?.into_parts();
    if *stalled {
        read.notified().await;
    }
    let (text, (received, is_right)) = if *large {
        (String::new(), large::swallow(body).await)
    } else {
        let body = body.collect().await.map_err(|e| http_broken(&e))?.to_bytes();
        (lossy(&body), (0, true))
    };
    Ok(Transferred { status: head.status.as_u16(), text, received, is_right })
}
