//! The checks of one worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use super::memory::{Memory, Tag};
use super::pool::Pool;
use super::{Matched, Presented, Users};
use crate::identify::sha256;

/// Whether a name and a password are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They are.
    Right(Matched),
    /// They are not: one answer for an unknown name and for a wrong password.
    Wrong,
    /// Too many others wait for theirs, from this address or at all.
    Busy,
}

/// An answer, now or later.
#[derive(Debug)]
pub enum Check {
    /// No slow work was needed.
    Now(Answer),
    /// Slow work is under way.
    Later(Pending),
}

/// Checks passwords for one worker; what it remembers is the worker's own.
pub struct Checker {
    pool: Arc<Pool>,
    own: Rc<Own>,
}

struct Own {
    memory: RefCell<Memory>,
    /// Checks under way, so that many calls with the same password, as after a reload, are one check.
    flights: RefCell<HashMap<Tag, watch::Sender<Option<Outcome>>>>,
}

/// What a thread of the pool sends back: the slow verifiers that fit, as bits, or that the check was given up.
type Outcome = Result<u64, GivenUp>;

/// Where it sends it to. A check that is dropped, or ends by a fault, is given up.
struct Reply(watch::Sender<Option<Outcome>>);

#[derive(Clone, Copy, Debug)]
struct GivenUp;

/// A slow check under way. Once nobody waits for it any more it isn't begun.
pub struct Pending {
    outcome: watch::Receiver<Option<Outcome>>,
    users: Arc<Users>,
    person: Option<u32>,
    flight: Flight,
}

/// One who waits; the last one takes the check off the list.
struct Flight {
    own: Rc<Own>,
    tag: Tag,
}

impl Checker {
    /// For a worker.
    pub fn new(pool: Arc<Pool>) -> Self {
        let memory = RefCell::new(Memory::new(pool.key()));
        Self { pool, own: Rc::new(Own { memory, flights: RefCell::default() }) }
    }

    /// Checks what `source` presents; at once, unless a slow hash must be looked at.
    pub fn check(&self, users: &Arc<Users>, source: IpAddr, presented: Presented) -> Check {
        let person = users.find(presented.username());
        let quick = users.check_quick(person, &sha256(presented.password()));
        if let Some(matched) = quick {
            return Check::Now(Answer::Right(matched));
        }
        if !users.is_slow() {
            return Check::Now(Answer::Wrong);
        }
        let known = users.digest(person).ok_or(presented.username());
        let tag = self.own.memory.borrow().tag(known, presented.password());
        if let Some(bits) = self.own.memory.borrow_mut().recall(&tag)
            && let Some(matched) = users.matched(person, bits)
        {
            return Check::Now(Answer::Right(matched));
        }
        let outcome = match self.own.join(&tag) {
            Some(outcome) => outcome,
            None => match self.begin(users, source, presented, person, tag) {
                Some(outcome) => outcome,
                None => return Check::Now(Answer::Busy),
            },
        };
        let flight = Flight { own: Rc::clone(&self.own), tag };
        Check::Later(Pending { outcome, users: Arc::clone(users), person, flight })
    }

    /// As [`Self::check`], and waits for the answer.
    pub async fn verify(&self, users: &Arc<Users>, source: IpAddr, presented: Presented) -> Answer {
        match self.check(users, source, presented) {
            Check::Now(answer) => answer,
            Check::Later(pending) => pending.answer().await,
        }
    }

    /// None if the pool takes no more.
    fn begin(
        &self,
        users: &Arc<Users>,
        source: IpAddr,
        presented: Presented,
        person: Option<u32>,
        tag: Tag,
    ) -> Option<watch::Receiver<Option<Outcome>>> {
        let (sender, receiver) = watch::channel(None);
        let (reply, users) = (Reply(sender.clone()), Arc::clone(users));
        let work = move |is_in_time: bool| {
            if is_in_time && reply.0.receiver_count() > 0 {
                let fitting = users.check_slow(person, presented.password());
                reply.0.send_replace(Some(Ok(fitting)));
            }
        };
        self.pool.submit(source, Box::new(work)).ok()?;
        self.own.flights.borrow_mut().insert(tag, sender);
        Some(receiver)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.0.send_if_modified(|outcome| {
            let is_open = outcome.is_none();
            if is_open {
                *outcome = Some(Err(GivenUp));
            }
            is_open
        });
    }
}

impl Own {
    /// The same check, if it is under way.
    fn join(&self, tag: &Tag) -> Option<watch::Receiver<Option<Outcome>>> {
        let flights = self.flights.borrow();
        let flight = flights.get(tag)?;
        flight.borrow().is_none().then(|| flight.subscribe())
    }
}

impl Pending {
    /// Waits for it.
    pub async fn answer(mut self) -> Answer {
        let outcome = self.outcome.wait_for(Option::is_some).await.map(|outcome| *outcome);
        match outcome {
            Ok(Some(Ok(fitting))) => match self.users.matched(self.person, fitting) {
                Some(matched) => {
                    self.flight.own.memory.borrow_mut().keep(self.flight.tag, fitting);
                    Answer::Right(matched)
                }
                None => Answer::Wrong,
            },
            // Given up, or a thread has failed.
            Ok(Some(Err(GivenUp)) | None) | Err(_) => Answer::Busy,
        }
    }
}

impl IntoFuture for Pending {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.own.flights.borrow_mut();
        let is_over = |flight: &watch::Sender<Option<Outcome>>| {
            flight.receiver_count() == 0 || flight.borrow().is_some()
        };
        if flights.get(&self.tag).is_some_and(is_over) {
            flights.remove(&self.tag);
        }
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}
