//! Every target with a fixed number of cases, the same in every run. `POSTERN_FUZZ_CASES=100000` makes more of them.

use std::panic::catch_unwind;

use postern_fuzz::TARGETS;
use postern_fuzz::cases::{cases, directory, seeds, words};

fn run(target: &str) {
    let (name, check) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let count = std::env::var("POSTERN_FUZZ_CASES").map_or(20_000, |count| count.parse().unwrap());
    let (seeds, words) = (seeds(name), words(&directory().join("dictionary").join(name)));
    assert!(seeds.len() >= 4, "{name} has a corpus");
    let mut run = 0;
    for case in cases(&seeds, &words, count) {
        run += 1;
        if catch_unwind(|| check(&case)).is_err() {
            panic!("{name} fails in case {run} for {:?}", String::from_utf8_lossy(&case));
        }
    }
    assert_eq!(run, count);
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        #[test]
        fn none_is_left_out() {
            let named: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(named, [$(stringify!($name)),*]);
            for name in named {
                assert!(directory().join("fuzz_targets").join(format!("{name}.rs")).is_file(), "{name}");
            }
        }
    };
}

targets! { path host headers configuration htpasswd certificates names basic wire answer request reply }

/// Seeds that are meant to be accepted are, so that the rules behind are reached.
#[test]
fn seeds_reach_what_they_are_for() {
    let users = seeds("htpasswd")
        .iter()
        .filter(|it| std::str::from_utf8(it).is_ok_and(|text| postern_config::htpasswd::parse(text).is_ok()))
        .count();
    assert!(users >= 2, "{users}");
    let facts = seeds("certificates")
        .into_iter()
        .filter(|it| postern_sidecar::identify::matcher::Facts::of(&it.clone().into()).is_ok())
        .count();
    assert!(facts >= 3, "{facts}");
    let files = seeds("configuration")
        .iter()
        .filter(|it| {
            serde_yaml::from_slice::<postern_config::standalone::Standalone>(it).is_ok()
                || serde_json::from_slice::<postern_config::bundle::Bundle>(it).is_ok()
        })
        .count();
    assert!(files >= 2, "{files}");
}
