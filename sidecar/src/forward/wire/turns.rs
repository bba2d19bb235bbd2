//! Which request it is that was refused: the scanner counts heads as the engine counts requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use http::{Method, Request, Uri};

use super::scanner::Fault;
use crate::authorize::Denial;

/// Shared by the side that reads and the side that answers. Over HTTP/2 nothing is ever refused here.
#[derive(Debug, Default)]
pub(in crate::forward) struct Turns {
    begun: Cell<u64>,
    ended: Cell<u64>,
    fault: RefCell<Option<Noted>>,
    tunnels: Cell<bool>,
    /// Of whoever waits to read what depends on an answer.
    reader: RefCell<Option<Waker>>,
}

/// A fault that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Noted {
    pub(super) fault: Fault,
    /// Method and target, if they can be told and the engine doesn't know them.
    pub(super) line: Option<(String, String)>,
}

/// One request's turn, until its answer is decided.
#[derive(Debug)]
pub(in crate::forward) struct Turn {
    turns: Rc<Turns>,
    number: u64,
}

impl Turns {
    /// For the next request.
    pub(in crate::forward) fn begin(self: &Rc<Self>) -> Turn {
        let number = self.begun.get() + 1;
        self.begun.set(number);
        Turn { turns: Rc::clone(self), number }
    }

    /// Keeps a fault for its turn; gives it back if the answer has been decided already.
    pub(super) fn note(&self, noted: Noted) -> Option<Noted> {
        if noted.fault.turn <= self.ended.get() {
            return Some(noted);
        }
        self.fault.replace(Some(noted));
        None
    }

    /// Whether so many requests have had their answers decided.
    pub(super) fn have_ended(&self, count: u64) -> bool {
        self.ended.get() >= count
    }

    pub(super) fn tunnels(&self) -> bool {
        self.tunnels.get()
    }

    /// Wakes once, when the next answer has been decided.
    pub(super) fn wake_after(&self, reader: &Waker) {
        *self.reader.borrow_mut() = Some(reader.clone());
    }
}

impl Turn {
    /// What was found wrong with this request, by now.
    pub(in crate::forward) fn refused(&self) -> Option<Refused> {
        let noted = self.turns.fault.borrow();
        let noted = noted.as_ref().filter(|noted| noted.fault.turn == self.number)?;
        Some(Refused {
            denial: noted.fault.denial.clone(),
            in_head: noted.fault.in_head,
            line: noted.line.clone(),
        })
    }

    /// The application has answered 101: from now on the bytes are not HTTP's, and nobody looks at them.
    pub(in crate::forward) fn tunnel(&self) {
        self.turns.tunnels.set(true);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.ended.set(self.turns.ended.get().max(self.number));
        if let Some(reader) = self.turns.reader.take() {
            reader.wake();
        }
    }
}

/// A request that was refused before it was read.
#[derive(Debug)]
pub(in crate::forward) struct Refused {
    pub(in crate::forward) denial: Denial,
    /// The engine has seen a request of ours instead.
    in_head: bool,
    line: Option<(String, String)>,
}

impl Refused {
    /// Gives a request of ours the method and target of the one that it stands for, for the log: `-` and `*` where
    /// they can't be told. It is never forwarded.
    pub(in crate::forward) fn describe<B>(&self, request: &mut Request<B>) {
        if !self.in_head {
            return;
        }
        let line = self.line.as_ref();
        let method = line.and_then(|(method, _)| Method::from_bytes(method.as_bytes()).ok());
        let target = line.and_then(|(_, target)| Uri::try_from(target.as_str()).ok());
        *request.method_mut() = method.or_else(|| Method::from_bytes(b"-").ok()).unwrap_or_default();
        *request.uri_mut() = target.unwrap_or_else(|| Uri::from_static("*"));
        request.headers_mut().clear();
    }
}
