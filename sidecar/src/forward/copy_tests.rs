use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use super::*;

/// One end, as far as a test has written it.
#[derive(Default)]
struct End {
    /// Comes in one read each; an empty one is the end.
    says: Vec<&'static [u8]>,
    /// Has as much to say as anybody reads.
    is_endless: bool,
    breaks: bool,
    /// Its TLS ends without a word, once all was said.
    is_cut_off: bool,
    /// What it takes before it is full.
    room: usize,
    heard: Vec<u8>,
    flushed: usize,
    is_shut: bool,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.breaks {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.is_endless {
            buffer.initialize_unfilled();
            buffer.advance(buffer.remaining());
            return Poll::Ready(Ok(()));
        }
        if self.says.is_empty() {
            return if self.is_cut_off {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            } else {
                Poll::Pending
            };
        }
        buffer.put_slice(self.says.remove(0));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.is_shut, "written to after its end");
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Poll::Pending;
        }
        self.room -= count;
        self.heard.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = self.heard.len();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn saying(says: &[&'static [u8]]) -> End {
    End { says: says.to_vec(), room: usize::MAX, ..End::default() }
}

/// One turn, and whether another was asked for.
fn turn(copy: &mut Copy, one: &mut End, other: &mut End) -> (Poll<io::Result<()>>, bool) {
    let again = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&again));
    let polled = copy.poll(&mut Context::from_waker(&waker), one, other);
    (polled, again.0.load(Relaxed) > 0)
}

#[test]
fn an_end_is_passed_on_and_the_other_goes_on_talking() {
    let (mut copy, mut one, mut other) = (Copy::default(), saying(&[b"ping", b""]), saying(&[b"po"]));
    assert!(turn(&mut copy, &mut one, &mut other).0.is_pending());
    assert_eq!((&*other.heard, other.is_shut), (&b"ping"[..], true));
    assert_eq!((&*one.heard, one.is_shut), (&b"po"[..], false));
    other.says = vec![b"ng", b""];
    assert!(matches!(turn(&mut copy, &mut one, &mut other).0, Poll::Ready(Ok(()))));
    assert_eq!((&*one.heard, one.is_shut), (&b"pong"[..], true));
}

#[test]
fn what_was_written_is_flushed_before_it_waits_and_nothing_is_held() {
    let (mut copy, mut one, mut other) = (Copy::default(), saying(&[b"ping"]), saying(&[]));
    assert!(turn(&mut copy, &mut one, &mut other).0.is_pending());
    assert_eq!(other.flushed, 4);
    assert_eq!(copy.there.rest.capacity() + copy.back.rest.capacity(), 0);
    assert!(size_of::<Copy>() <= 128, "{}", size_of::<Copy>());
}

#[test]
fn nothing_is_read_while_the_other_end_is_full_and_all_arrives_in_order() {
    let (mut copy, mut one) = (Copy::default(), saying(&[b"first ", b"second ", b"third", b""]));
    let mut other = saying(&[]);
    other.room = 3;
    assert!(turn(&mut copy, &mut one, &mut other).0.is_pending());
    assert_eq!((&*other.heard, one.says.len(), other.is_shut), (&b"fir"[..], 3, false));
    assert_eq!(copy.there.rest, b"st ");
    assert_eq!(copy.moved(), Moved { from_one: 6, to_other: 3, ..Moved::default() });
    other.room = 1;
    assert!(turn(&mut copy, &mut one, &mut other).0.is_pending());
    assert_eq!((&*other.heard, one.says.len()), (&b"firs"[..], 3));
    // The other direction is not held up by it.
    other.says = vec![b"speak up"];
    assert!(turn(&mut copy, &mut one, &mut other).0.is_pending());
    assert_eq!(one.heard, b"speak up");
    other.room = usize::MAX;
    assert!(turn(&mut copy, &mut one, &mut other).0.is_pending());
    assert_eq!((&*other.heard, other.is_shut), (&b"first second third"[..], true));
    assert_eq!(copy.there.rest.capacity(), 0);
    assert_eq!(copy.moved(), Moved { from_one: 12, to_other: 15, from_other: 8, to_one: 8 });
}

#[test]
fn what_is_left_over_arrives_before_the_end() {
    let (mut copy, mut one, mut other) = (Copy::default(), saying(&[b"last words", b""]), saying(&[b""]));
    other.room = 4;
    assert!(turn(&mut copy, &mut one, &mut other).0.is_pending());
    assert!(!other.is_shut);
    other.room = 100;
    assert!(matches!(turn(&mut copy, &mut one, &mut other).0, Poll::Ready(Ok(()))));
    assert_eq!((&*other.heard, other.is_shut), (&b"last words"[..], true));
}

#[test]
fn who_never_pauses_lets_others_have_their_turn() {
    let endless = || End { is_endless: true, ..saying(&[]) };
    let (mut copy, mut one, mut other) = (Copy::default(), endless(), endless());
    let (polled, is_woken) = turn(&mut copy, &mut one, &mut other);
    assert!(polled.is_pending() && is_woken);
    assert_eq!((one.heard.len(), other.heard.len()), (TURN, TURN));
}

#[test]
fn an_end_that_breaks_ends_both_directions() {
    let breaking = || End { breaks: true, ..saying(&[]) };
    for (mut one, mut other) in [(breaking(), saying(&[])), (saying(&[]), breaking())] {
        let polled = turn(&mut Copy::default(), &mut one, &mut other).0;
        assert!(matches!(polled, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    }
}

/// What came before such an end is passed on, and then the end; a caller's end of this kind is none.
#[test]
fn an_application_may_end_without_a_word() {
    let cut_off = || End { says: vec![b"last"], is_cut_off: true, room: 10, ..End::default() };
    let silent = || End { room: 10, ..End::default() };
    let mut context = Context::from_waker(Waker::noop());
    let (mut caller, mut application) = (silent(), cut_off());
    let polled = Copy::with_any_end().poll(&mut context, &mut caller, &mut application);
    assert!(polled.is_pending() && caller.is_shut);
    assert_eq!(caller.heard, b"last");
    let (mut caller, mut application) = (cut_off(), silent());
    let polled = Copy::with_any_end().poll(&mut context, &mut caller, &mut application);
    assert!(matches!(polled, Poll::Ready(Err(_))) && !application.is_shut);
}

#[test]
fn what_has_come_is_passed_on_although_the_other_direction_breaks() {
    let mut one = End { breaks: true, ..saying(&[]) };
    let mut other = saying(&[b"last words", b""]);
    assert!(matches!(turn(&mut Copy::default(), &mut one, &mut other).0, Poll::Ready(Err(_))));
    assert_eq!((&*one.heard, one.is_shut), (&b"last words"[..], true));
}
