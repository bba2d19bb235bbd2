//! What nearly every test of the whole sidecar names: `use crate::support::prelude::*;`.

pub use std::time::{Duration, Instant};

pub use http_body_util::{BodyExt as _, Full};
pub use serde_json::Value;
pub use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub use super::client::{get, get2, plaintext, read};
pub use super::house::{House, guarded};
pub use super::{
    Application, Attempt, Client, GuardedPod, LIMIT, Leaf, ORDERS, Pki, Raw, Recorder, Sidecar, eventually,
};
