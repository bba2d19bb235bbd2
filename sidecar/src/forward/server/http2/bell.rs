//! Tells a task which of its parts has something to do, and wakes it only while it is not at work anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Wake, Waker};

/// One part's bell: whoever waits on behalf of the part rings it.
#[derive(Default)]
pub(super) struct Bell(Option<(Arc<Button>, Waker)>);

struct Button {
    has_rung: AtomicBool,
    /// The task is at work, and will look.
    is_attended: AtomicBool,
    task: Waker,
}

impl Bell {
    /// The task goes to work. The first time, and whenever it has become another, the bell has rung, so that all who
    /// wait learn of it.
    pub(super) fn attend(&mut self, task: &Waker) {
        match &self.0 {
            Some((button, _)) if button.task.will_wake(task) => button.is_attended.store(true, SeqCst),
            _ => {
                let (yes, task) = (AtomicBool::new(true), task.clone());
                let button = Arc::new(Button { has_rung: yes, is_attended: AtomicBool::new(true), task });
                let waker = Waker::from(Arc::clone(&button));
                self.0 = Some((button, waker));
            }
        }
    }

    /// The task ends its work for now; it comes again if somebody has rung.
    pub(super) fn leave(&self) {
        if let Some((button, _)) = &self.0 {
            button.is_attended.store(false, SeqCst);
            if button.has_rung.load(SeqCst) {
                button.task.wake_by_ref();
            }
        }
    }

    /// Whether it has rung since the last time.
    pub(super) fn take(&self) -> bool {
        self.0.as_ref().is_some_and(|(button, _)| {
            // Looking is cheaper than taking, and mostly there is nothing.
            button.has_rung.load(SeqCst) && button.has_rung.swap(false, SeqCst)
        })
    }

    pub(super) fn ring(&self) {
        self.waker().wake_by_ref();
    }

    /// Rings it.
    pub(super) fn waker(&self) -> &Waker {
        self.0.as_ref().map_or(Waker::noop(), |(_, waker)| waker)
    }
}

impl Wake for Button {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever rings after the task has looked for the last time sees that it has left.
        if !self.has_rung.swap(true, SeqCst) && !self.is_attended.load(SeqCst) {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_task_is_woken_once_and_only_while_it_is_not_at_work() {
        let task = Arc::new(Task::default());
        let (woken, waker) = (|| task.0.load(SeqCst), Waker::from(Arc::clone(&task)));
        let mut bell = Bell::default();
        bell.attend(&waker);
        assert!(bell.take() && !bell.take(), "it rings at first, and once");
        bell.ring();
        assert_eq!(woken(), 0, "at work");
        assert!(bell.take());
        bell.leave();
        assert_eq!(woken(), 0, "nothing is left to do");
        bell.ring();
        bell.ring();
        assert_eq!(woken(), 1);
        bell.attend(&waker);
        assert!(bell.take());
        bell.ring();
        bell.leave();
        assert_eq!(woken(), 2, "what rang after the last look brings the task back");
    }

    #[test]
    fn a_bell_moves_to_another_task() {
        let (old, new) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut bell = Bell::default();
        bell.attend(&Waker::from(Arc::clone(&old)));
        assert!(bell.take());
        bell.attend(&Waker::from(Arc::clone(&new)));
        assert!(bell.take(), "all who wait must learn of the new task");
        bell.leave();
        bell.ring();
        assert_eq!((old.0.load(SeqCst), new.0.load(SeqCst)), (0, 1));
    }
}
