//! An answer that goes on, told as it comes.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::LocalSet;

use super::persevering::Persevering;
use super::{Channel, Progress, connect, http_broken, open, request, whole};
use crate::attempt::{Attempt, Outcome};

/// Reads an [`Attempt`] over HTTP from standard input, makes it, prints the answer's status, and each line of its body
/// as soon as it has come. Empty lines are left out.
///
/// # Errors
/// If standard input holds no attempt, or the attempt gets no answer.
pub async fn listen() -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await?;
    let attempt: Attempt = serde_json::from_str(&line)?;
    let told = LocalSet::new().run_until(Box::pin(tell(&attempt))).await;
    told.map_err(|outcome| std::io::Error::other(outcome.brief()))
}

async fn tell(attempt: &Attempt) -> Result<(), Outcome> {
    let progress = Rc::new(RefCell::new(Progress { stage: "", local: None }));
    let (stream, _) = Persevering::new(connect(attempt, &progress).await?);
    let mut channel: Channel<Full<Bytes>> = open(stream, &attempt.payload).await?;
    let mut response = channel.send(request(attempt, whole(&attempt.payload))?).await?;
    println!("{}", response.status().as_u16());
    let mut text = Vec::new();
    while let Some(frame) = response.frame().await {
        let Ok(data) = frame.map_err(|e| http_broken(&e))?.into_data() else { continue };
        text.extend_from_slice(&data);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() {
                println!("{}", line.trim());
            }
        }
    }
    Ok(())
}
