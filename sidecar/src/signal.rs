//! Tells one connection to finish or to stop. For one thread only.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

/// What a connection should do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Go on.
    #[default]
    Run,
    /// Take no further request, end what is in flight, close.
    Finish,
    /// Close at once.
    Stop,
}

/// An order that can only become stricter.
#[derive(Debug, Default)]
pub struct Signal {
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Gives an order, unless a stricter one was given already.
    pub fn give(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// The order as of now.
    pub fn order(&self) -> Order {
        self.order.get()
    }

    /// The order as of now; the task of `context` is woken when it changes.
    pub fn watch(&self, context: &Context<'_>) -> Order {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.order.get()
    }
}
