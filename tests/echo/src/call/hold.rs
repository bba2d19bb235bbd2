//! Tries over one connection, to see when it is closed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::LocalSet;

use super::persevering::Persevering;
use super::{Channel, Progress, Stream, broken, connect, lossy, open, request, whole};
use crate::attempt::{Attempt, Outcome, Payload};

/// Reads an [`Attempt`] from standard input, makes it, and makes it again over the same connection for each
/// further line; prints each [`Outcome`] as one line.
///
/// # Errors
/// If standard input holds no attempt.
pub async fn hold() -> std::io::Result<()> {
    LocalSet::new().run_until(Box::pin(hold_on())).await
}

async fn hold_on() -> std::io::Result<()> {
    let mut stdin = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    stdin.read_line(&mut line).await?;
    let attempt: Attempt = serde_json::from_str(&line)?;
    let limit = Duration::from_millis(attempt.timeout_ms);
    let progress = Rc::new(RefCell::new(Progress { stage: "", local: None }));
    let mut held = match start(&attempt, &progress).await {
        Ok(held) => held,
        Err(outcome) => {
            println!("{}", serde_json::to_string(&outcome)?);
            return Ok(());
        }
    };
    loop {
        let outcome = match tokio::time::timeout(limit, held.again(&attempt)).await {
            Ok(Ok(outcome) | Err(outcome)) => outcome,
            Err(_) => Outcome::Timeout { during: "an answer".to_owned() },
        };
        println!("{}", serde_json::to_string(&outcome)?);
        line.clear();
        if stdin.read_line(&mut line).await? == 0 {
            return Ok(());
        }
    }
}

enum Held {
    Http(Channel<Full<Bytes>>),
    Bytes(Box<dyn Stream>),
}

async fn start(attempt: &Attempt, progress: &super::Shared) -> Result<Held, Outcome> {
    let stream = connect(attempt, progress).await?;
    if matches!(attempt.payload, Payload::Bytes { .. }) {
        return Ok(Held::Bytes(stream));
    }
    let (stream, _) = Persevering::new(stream);
    Ok(Held::Http(open(stream, &attempt.payload).await?))
}

impl Held {
    async fn again(&mut self, attempt: &Attempt) -> Result<Outcome, Outcome> {
        match (self, &attempt.payload) {
            (Self::Bytes(stream), Payload::Bytes { text }) => {
                stream.write_all(text.as_bytes()).await.map_err(|e| broken(&e))?;
                stream.flush().await.map_err(|e| broken(&e))?;
                let mut buffer = [0; 4096];
                let length = stream.read(&mut buffer).await.map_err(|e| broken(&e))?;
                if length == 0 {
                    return Ok(Outcome::ClosedWithoutData);
                }
                Ok(Outcome::Bytes { text: lossy(buffer.get(..length).unwrap_or_default()) })
            }
            (Self::Http(channel), _) => channel.ask(request(attempt, whole(&attempt.payload))?).await,
            (Self::Bytes(_), _) => {
                Err(Outcome::HttpError { error: "bytes alone can be sent here".to_owned() })
            }
        }
    }
}
