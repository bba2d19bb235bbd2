//! Every case of `testdata/*.in.yaml` through resolve, issue and render, step by step, against its `.out.yaml`.
//!
//! `POSTERN_UPDATE_GOLDEN=1` writes the `.out.yaml` files anew; read the difference before you commit it.

// Helpers of tests fail as loudly as tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::expect_used)]

mod golden {
    pub(crate) mod case;
    pub(crate) mod report;
    pub(crate) mod secrets;
    pub(crate) mod world;
}

use std::path::{Path, PathBuf};

use golden::case::Case;
use golden::world::World;
use similar::TextDiff;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn run(text: &str) -> String {
    let case = Case::parse(text);
    let mut world = World::new(&case);
    let steps: Vec<_> = case.steps.iter().map(|step| world.step(&case, step)).collect();
    serde_yaml::to_string(&steps).unwrap()
}

#[test]
fn every_case_yields_what_its_golden_file_says() {
    let update = std::env::var_os("POSTERN_UPDATE_GOLDEN").is_some();
    let mut inputs: Vec<_> = std::fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    inputs.sort();
    assert!(inputs.len() > 20, "the golden cases are missing");
    let mut failures = Vec::new();
    for input in inputs {
        let name = input.file_name().unwrap().to_string_lossy().replace(".in.yaml", "");
        let output = input.with_file_name(format!("{name}.out.yaml"));
        let actual = run(&std::fs::read_to_string(&input).unwrap());
        if update {
            std::fs::write(&output, &actual).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&output).unwrap_or_default();
        if expected != actual {
            let diff = TextDiff::from_lines(&expected, &actual);
            let diff = diff.unified_diff().context_radius(3).header("expected", "actual").to_string();
            failures.push(format!("{name}:\n{diff}"));
        }
    }
    let failures = failures.join("\n");
    assert!(failures.is_empty(), "{failures}\nPOSTERN_UPDATE_GOLDEN=1 accepts what is printed as actual");
}

#[test]
fn no_private_key_reaches_a_golden_file_or_a_status() {
    for entry in std::fs::read_dir(testdata()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".in.yaml") {
            let out = run(&std::fs::read_to_string(&path).unwrap());
            assert!(!out.contains(golden::world::PRIVATE), "{}", path.display());
        }
    }
}
