//! System calls for each request, counted by ptrace(2) from a thread that stops at each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::future::join_all;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Sent, ask, bounded, callers, released, stage};
use crate::pki::Offer;
use crate::proxies::{HTTP, Kind, Proxy, TCP};

/// Counts by the number of the system call.
type Counts = Arc<Mutex<BTreeMap<u64, u64>>>;

/// Counts the calls of all threads of a process until it ends.
fn trace(process: u32, counts: &Counts, ready: &AtomicBool) {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let tasks: Vec<Pid> = tasks
        .map(|task| Pid::from_raw(task.unwrap().file_name().to_str().unwrap().parse().unwrap()))
        .collect();
    for task in &tasks {
        ptrace::seize(*task, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
        ptrace::interrupt(*task).unwrap();
    }
    ready.store(true, Relaxed);
    let mut left = tasks.len();
    while left > 0 {
        let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL)) else { return };
        let next = match status {
            WaitStatus::PtraceSyscall(task) => {
                if let Ok(info) = ptrace::syscall_info(task)
                    && info.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY
                {
                    // SAFETY: `op` says which of the union's members was written.
                    let number = unsafe { info.u.entry.nr };
                    *counts.lock().unwrap().entry(number).or_default() += 1;
                }
                ptrace::syscall(task, None)
            }
            WaitStatus::PtraceEvent(task, ..) => ptrace::syscall(task, None),
            WaitStatus::Stopped(task, signal) => ptrace::syscall(task, signal),
            _ => {
                left -= 1;
                Ok(())
            }
        };
        // A task that ends meanwhile is told of by the next wait.
        let _ = next;
    }
}

#[test]
#[ignore = "make costs: it needs the released sidecar"]
fn a_request_makes_few_system_calls() {
    stage(async |pki| {
        let proxy = Proxy::start(Kind::Postern, &released(), pki).await.unwrap();
        let (counts, ready) = (Counts::default(), Arc::new(AtomicBool::new(false)));
        let tracer = {
            let (process, counts, ready) = (proxy.process.id(), Arc::clone(&counts), Arc::clone(&ready));
            std::thread::spawn(move || trace(process, &counts, &ready))
        };
        while !ready.load(Relaxed) {
            tokio::task::yield_now().await;
        }
        let (http1, http2) =
            (Sent { door: HTTP, offer: Offer::Http1 }, Sent { door: HTTP, offer: Offer::Http2 });
        for (what, sent, connections, streams, most) in [
            ("HTTP/1.1, one connection", http1, 1, 1, 6.8),
            ("HTTP/1.1, 32 connections", http1, 32, 1, 4.8),
            ("HTTP/2, one connection", http2, 1, 1, 6.8),
            // What one turn of the connection writes is sent at once, so that it stays below three.
            ("HTTP/2, 32 streams of one connection", http2, 1, 32, 3.0),
            ("bytes, one connection", Sent { door: TCP, offer: Offer::Nothing }, 1, 1, 6.8),
        ] {
            let mut callers = callers(pki, sent, connections, streams).await;
            // All of them ask at once, again and again.
            let round = async |callers: &mut Vec<_>| {
                join_all(callers.iter_mut().map(|caller| ask(caller, 1))).await;
            };
            for _ in 0..5 {
                round(&mut callers).await;
            }
            let rounds = 320 / callers.len();
            counts.lock().unwrap().clear();
            for _ in 0..rounds {
                round(&mut callers).await;
            }
            let counts = counts.lock().unwrap().clone();
            let each = counts.values().sum::<u64>() as f64 / 320.0;
            println!("by number: {counts:?}");
            bounded(&format!("system calls for a request, {what}"), each, most);
        }
        drop(proxy);
        tracer.join().unwrap();
    });
}
