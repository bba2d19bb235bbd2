//! Writes what is generated from the types of `postern_crds`: the CRDs, their copies in the chart, and the reference page.
//! With `--check` it writes nothing, prints how the files differ, and fails if they do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use postern_crds::manifest::{ManifestError, manifests};
use postern_crds::reference;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("unknown argument {0}: call crdgen without arguments to write, or with --check to compare")]
    Argument(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

/// The texts, by their path in the repository.
fn texts() -> Result<Vec<(PathBuf, String)>, ManifestError> {
    let manifests = manifests()?;
    let mut texts = vec![(PathBuf::from("crds/generated/reference.md"), reference::page(&manifests))];
    for manifest in &manifests {
        let file = format!("{}.yaml", manifest.plural);
        texts.push((Path::new("crds/generated").join(&file), manifest.yaml()?));
        texts.push((Path::new("charts/postern/templates/crds").join(&file), manifest.chart_template()?));
    }
    Ok(texts)
}

fn repository() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// Whether all files are as generated; prints how each other one differs.
fn check() -> Result<bool, Error> {
    let mut same = true;
    for (path, text) in texts()? {
        let there = fs::read_to_string(repository().join(&path)).unwrap_or_default();
        if there != text {
            same = false;
            let name = path.display().to_string();
            let diff = similar::TextDiff::from_lines(&there, &text);
            print!("{}", diff.unified_diff().header(&name, "as generated"));
        }
    }
    Ok(same)
}

fn write() -> Result<(), Error> {
    for (path, text) in texts()? {
        let path = repository().join(path);
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent).map_err(|source| Error::Write { path: parent.to_owned(), source })?;
        fs::write(&path, text).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

fn run() -> Result<bool, Error> {
    match env::args().nth(1).as_deref() {
        None => write().map(|()| true),
        Some("--check") => check(),
        Some(other) => Err(Error::Argument(other.to_owned())),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "The files above are not as generated: run `cargo run -p postern-crds --bin crdgen` and commit."
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_files_are_as_generated() {
        assert!(
            super::check().unwrap(),
            "run `cargo run -p postern-crds --bin crdgen` and commit what it writes"
        );
    }
}
