//! Instructions for each request, counted by valgrind's callgrind.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Sent, ask, bounded, caller, released, stage, way};
use crate::load::Asked;
use crate::pki::{Offer, Pki};
use crate::process::Process;
use crate::proxies::{self, BASIC, HTTP, TCP};

/// All instructions of a sidecar that has answered so many requests of one connection.
async fn instructions(pki: &Pki, sent: Sent, requests: u32) -> u64 {
    let config = proxies::configuration(pki).unwrap();
    let out = pki.path("callgrind.out");
    let _ = std::fs::remove_file(&out);
    let arguments = [
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={out}"),
        released().sidecar.display().to_string(),
        "--config".to_owned(),
        config,
    ];
    let log = pki.path("valgrind.log");
    let process = Process::start("valgrind", &arguments, Path::new(&log)).unwrap();
    let told = || std::fs::read_to_string(&log).unwrap();
    let ready = way(pki, Sent { door: HTTP, offer: Offer::Http1 });
    ready.answers(&Asked::get(2)).await.unwrap_or_else(|error| panic!("{error:#}\n{}", told()));
    let mut caller = caller(pki, sent).await;
    ask(&mut caller, requests).await;
    drop(caller);
    process.terminate();
    let begin = Instant::now();
    // `totals` is the last line of the file.
    loop {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        if let Some(total) = text.lines().find_map(|line| line.strip_prefix("totals: ")) {
            return total.trim().parse().unwrap();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "callgrind wrote nothing:\n{}", told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
#[ignore = "make costs: it needs the released sidecar and valgrind"]
fn a_request_takes_few_instructions() {
    let valgrind = Command::new("valgrind").arg("--version").output();
    assert!(valgrind.is_ok(), "valgrind is missing: 'make prerequisites' brings it");
    stage(async |pki| {
        for (what, sent, most) in [
            ("HTTP/1.1", Sent { door: HTTP, offer: Offer::Http1 }, 31_000.0),
            ("HTTP/1.1 with HTTP Basic", Sent { door: BASIC, offer: Offer::Http1 }, 40_000.0),
            ("HTTP/2", Sent { door: HTTP, offer: Offer::Http2 }, 50_000.0),
            ("bytes", Sent { door: TCP, offer: Offer::Nothing }, 14_500.0),
        ] {
            let few = instructions(pki, sent, 200).await;
            // Many, since a sidecar may look at its configuration once more in one of the two runs.
            let many = instructions(pki, sent, 3200).await;
            bounded(&format!("instructions for a request, {what}"), (many - few) as f64 / 3000.0, most);
        }
    });
}
