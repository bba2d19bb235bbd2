//! What a worker looks after once a second: time-outs, what lies unused, and the clocks that requests go by.

use std::sync::atomic::Ordering::Relaxed;

use rustls_pki_types::UnixTime;

use super::{MANY, Worker};
use crate::authorize::{Code, Denial};
use crate::connection::Connection;
use crate::memory;
use crate::metrics::Kind;
use crate::signal::Order;

/// Longer than any time-out of a request, so that the request's own answer comes first.
const STALL_GRACE: u64 = 5;

impl Worker {
    pub(super) fn tick(&self) {
        let now = self.read_clocks();
        self.pool.evict();
        self.shrink();
        let wall = UnixTime::now();
        let limits = self.limits();
        let (idle, header) = (limits.idle.as_secs(), limits.header.as_secs());
        let generation = self.generation();
        for connection in self.connections.borrow().values() {
            if let (Kind::Tcp, Some(generation)) = (connection.kind, &generation) {
                connection.mark_use(generation, self.wall());
            }
            let quiet = now.saturating_sub(connection.last_byte.get());
            let is_busy = connection.in_flight.get() > 0;
            let is_stuck = connection.is_stuck_finishing(now, header);
            if connection.within_head.get() && !is_busy && connection.head_since.get().is_none() {
                // It began to come while an earlier request was being answered.
                connection.head_since.set(Some(now));
            }
            if connection.head_since.get().is_some_and(|since| now.saturating_sub(since) > header) {
                self.give_up_on_head(connection);
            } else if (quiet > idle.saturating_add(STALL_GRACE) && now > connection.patient_until.get())
                || is_stuck
                || (connection.kind == Kind::Tcp && connection.is_expired(wall))
            {
                connection.signal.give(Order::Stop);
            } else if connection.is_expired(wall) || (quiet > idle && !is_busy) {
                connection.signal.give(Order::Finish);
            }
        }
    }

    /// Gives memory back once most connections have ended.
    fn shrink(&self) {
        let load = self.load.load(Relaxed);
        self.most.set(self.most.get().max(load));
        if self.most.get() >= MANY && load < self.most.get() / 4 {
            self.connections.borrow_mut().shrink_to_fit();
            memory::trim();
            self.most.set(load);
        }
    }

    pub(super) fn read_clocks(&self) -> u64 {
        self.clock.set(self.started.elapsed().as_secs());
        self.wall.set(i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX));
        self.clock.get()
    }

    fn give_up_on_head(&self, connection: &Connection) {
        if connection.signal.order() < Order::Stop {
            let reason = format!("no whole head came within {} s", self.limits().header.as_secs());
            self.refuse_on(connection, &Denial::new(Code::HeadTimeout, reason));
            connection.signal.give(Order::Stop);
        }
    }
}
