//! What a lock's author has written elsewhere.

use std::fmt;

use zeroize::Zeroizing;

/// What a key of a `ConfigMap` or a Secret yields. `Debug` doesn't show it: it may be another one than was meant.
#[derive(Clone, Default)]
pub enum Document {
    /// There is no such object.
    #[default]
    Missing,
    /// It doesn't have the key.
    NoKey,
    /// The API server doesn't let the operator read it, with its words.
    Unreadable(String),
    /// It is there.
    Found(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "Missing",
            Self::NoKey => "NoKey",
            Self::Unreadable(_) => "Unreadable",
            Self::Found(_) => "Found(…)",
        })
    }
}
