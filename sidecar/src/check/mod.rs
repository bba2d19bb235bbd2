//! `--check`: every fault of a configuration file, with its place and what to do.
//!
//! * [`tree`] reads the file so that every value knows its line.
//! * [`shape`] holds it against the schema of [`Standalone`]: fields, kinds, values of enums.
//! * [`meaning`] asks those who will use the values: names that lead nowhere, files, hashes, certificates.

mod meaning;
mod shape;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use postern_config::standalone::Standalone;

pub(crate) use self::shape::{described, kinds, resolve, schema};
use self::tree::{Node, Place};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In which file.
    pub file: PathBuf,
    /// Line and column, from 1; none if it is of the file as a whole.
    pub place: Option<(usize, usize)>,
    /// Which value, what is wrong with it, and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// Faults of one file as they are found; each is kept once.
struct Faults<'a> {
    file: &'a Path,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, place: Option<Place>, message: impl Into<String>) {
        let place = place.map(|place| (place.line, place.column));
        let fault = Fault { file: self.file.to_owned(), place, message: message.into() };
        if !self.found.contains(&fault) {
            self.found.push(fault);
        }
    }

    /// Of a value: its path stands before the message.
    fn at(&mut self, node: &Node, path: &str, message: impl fmt::Display) {
        let message = if path.is_empty() { message.to_string() } else { format!("{path}: {message}") };
        self.add(Some(node.place), message);
    }
}

/// Every fault of the file at `path`, in the order of its lines; none if a sidecar would serve by it. A crypto
/// provider must be installed.
pub fn check(path: &Path) -> Vec<Fault> {
    let mut faults = Faults { file: path, found: Vec::new() };
    match std::fs::read(path) {
        Ok(bytes) => examine(&bytes, &mut faults),
        Err(error) => faults.add(None, format!("it cannot be read ({error})")),
    }
    let mut found = faults.found;
    found.sort_by_key(|fault| fault.place);
    found
}

fn examine(bytes: &[u8], faults: &mut Faults<'_>) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return faults.add(None, "it is not UTF-8; write it anew as text");
    };
    let tree = match tree::read(text) {
        Ok(tree) => tree,
        Err((place, reason)) => return faults.add(Some(place), reason),
    };
    shape::judge(&tree, faults);
    // As a sidecar reads it.
    match serde_yaml::from_str::<Standalone>(text) {
        Ok(written) => meaning::judge(&written, &tree, faults),
        Err(error) if faults.found.is_empty() => {
            let place = error.location().map(|it| Place { line: it.line(), column: it.column() });
            faults.add(place, error.to_string());
        }
        // It says once more what was found already, if only the first of it.
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests;
