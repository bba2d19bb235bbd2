//! Allocations of a sidecar in this process. The callers and the application run on threads that are not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use postern_sidecar::app::{App, Options};
use postern_sidecar::limits::Limits;
use postern_sidecar::metrics::Metrics;
use tokio::sync::oneshot;

use super::{Sent, ask, bounded, caller, stage, way};
use crate::load::Asked;
use crate::pki::Offer;
use crate::proxies::{self, BASIC, HEADER, HTTP, RULES, TCP};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(true) };
}

fn count() {
    // A thread that ends has no such value any more.
    if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
        COUNT.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are this call's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are this call's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are this call's.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are this call's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[test]
#[ignore = "make costs: it needs fixed ports"]
fn a_request_allocates_little() {
    IS_COUNTED.set(false);
    stage(async |pki| {
        let config = proxies::configuration(pki).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let sidecar = std::thread::spawn(move || {
            let options = Options { workers: 1, access_log: false, limits: Limits::default() };
            let app = App::standalone(config.as_ref(), options, Metrics::new(1)).unwrap();
            app.run_until(async {
                let _ = stopped.await;
            })
            .unwrap();
        });
        way(pki, Sent { door: HTTP, offer: Offer::Http1 }).answers(&Asked::get(2)).await.unwrap();
        for (what, door, offer, most) in [
            ("HTTP/1.1", HTTP, Offer::Http1, 7.5),
            ("HTTP/1.1 with HTTP Basic", BASIC, Offer::Http1, 13.5),
            ("HTTP/1.1 with a secret header", HEADER, Offer::Http1, 12.5),
            ("HTTP/1.1 with rules", RULES, Offer::Http1, 7.5),
            ("HTTP/2", HTTP, Offer::Http2, 11.5),
            ("bytes", TCP, Offer::Nothing, 0.1),
        ] {
            let mut caller = caller(pki, Sent { door, offer }).await;
            ask(&mut caller, 100).await;
            let before = COUNT.load(Relaxed);
            ask(&mut caller, 500).await;
            let each = (COUNT.load(Relaxed) - before) as f64 / 500.0;
            bounded(&format!("allocations for a request, {what}"), each, most);
        }
        stop.send(()).unwrap();
        sidecar.join().unwrap();
    });
}
