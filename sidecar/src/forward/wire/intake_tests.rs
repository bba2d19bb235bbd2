use super::*;
use crate::authorize::Code;

struct Caller {
    intake: Intake,
    turns: Rc<Turns>,
}

impl Caller {
    fn new() -> Self {
        let turns = Rc::new(Turns::default());
        Self { intake: Intake::new(&Limits::default(), Rc::clone(&turns)), turns }
    }

    /// Sends bytes to an engine that reads at most `room` at once; what it reads.
    fn send(&mut self, bytes: &[u8], room: usize) -> io::Result<(String, Option<Code>)> {
        let (mut read, mut told) = (Vec::new(), None);
        for piece in bytes.chunks(room) {
            let mut space = vec![0; room];
            let mut buffer = ReadBuf::new(&mut space);
            buffer.put_slice(piece);
            told = self.intake.take(&mut buffer, 0)?.map(|denial| denial.code).or(told);
            read.extend_from_slice(buffer.filled());
            read.extend(self.give(room)?);
        }
        Ok((String::from_utf8(read).unwrap(), told))
    }

    fn give(&mut self, room: usize) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        loop {
            let mut space = vec![0; room];
            let mut buffer = ReadBuf::new(&mut space);
            if !self.intake.give(&mut buffer)? {
                return Ok(read);
            }
            read.extend_from_slice(buffer.filled());
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn what_is_proper_passes_unchanged_in_whole_heads() {
    let post = "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc";
    let all = [GET, post, GET].concat();
    for room in 1..=all.len() {
        let mut caller = Caller::new();
        assert_eq!(caller.send(all.as_bytes(), room).unwrap(), (all.clone(), None), "{room}");
        assert!(caller.intake.held.capacity() == 0, "an idle connection holds no buffer");
    }
    let mut caller = Caller::new();
    assert_eq!(caller.send(&GET.as_bytes()[..20], 100).unwrap().0, "");
    assert!(caller.intake.is_within_head());
    assert_eq!(caller.send(&GET.as_bytes()[20..], 100).unwrap().0, GET);
    assert!(!caller.intake.is_within_head());
}

#[test]
fn a_refused_head_is_answered_in_its_turn() {
    let bad = "DELETE /secret?x HTTP/1.1\r\nhost : a\r\n\r\n";
    for room in 1..100 {
        let mut caller = Caller::new();
        let (read, told) = caller.send([GET, bad, GET].concat().as_bytes(), room).unwrap();
        assert_eq!(
            (read, told),
            (format!("{GET}{}", std::str::from_utf8(SUBSTITUTE).unwrap()), None),
            "{room}"
        );
        assert!(caller.intake.is_over());
        assert!(caller.turns.begin().refused().is_none());
        let refused = caller.turns.begin().refused().unwrap();
        assert_eq!(refused.denial.code, Code::MalformedHead);
        let mut request = http::Request::new(());
        refused.describe(&mut request);
        let told = (request.method().as_str(), request.uri().path());
        assert_eq!(told, ("DELETE", "/secret"), "{room}");
    }
}

#[test]
fn a_refused_body_breaks_the_reading_once_and_is_told_once() {
    let (head, good) = ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\na\r\n");
    // Before the answer it is kept for it.
    let mut early = Caller::new();
    let turn = early.turns.begin();
    let error = early.send(format!("{head}{good}x").as_bytes(), 1000).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(turn.refused().map(|refused| refused.denial.code), Some(Code::InvalidFraming));
    assert!(early.intake.is_over());
    // After the answer nobody else tells.
    let mut late = Caller::new();
    drop((late.turns.begin(), late.send(head.as_bytes(), 1000).unwrap()));
    let mut space = [0; 10];
    let mut buffer = ReadBuf::new(&mut space);
    buffer.put_slice(b"x");
    let told = late.intake.take(&mut buffer, 0).unwrap();
    assert_eq!(told.map(|denial| denial.code), Some(Code::InvalidFraming));
}

#[test]
fn an_upgrade_is_waited_for() {
    let upgrade = "GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n";
    for tunnels in [true, false] {
        let mut caller = Caller::new();
        let turn = caller.turns.begin();
        assert_eq!(caller.send(format!("{upgrade}{GET}").as_bytes(), 1000).unwrap().0, upgrade);
        assert_eq!(caller.send(b"\x01\n", 1000).unwrap().0, "");
        if tunnels {
            turn.tunnel();
        }
        drop(turn);
        assert_eq!(caller.intake.decide().unwrap(), None);
        let rest = String::from_utf8(caller.give(1000).unwrap()).unwrap();
        if tunnels {
            assert_eq!(rest, format!("{GET}\x01\n"));
            assert_eq!(caller.send(b"\x02\n", 1000).unwrap().0, "\x02\n");
        } else {
            assert_eq!(rest, format!("{GET}{}", std::str::from_utf8(SUBSTITUTE).unwrap()));
        }
    }
}

#[test]
fn not_everything_is_held_before_an_upgrade() {
    let mut caller = Caller::new();
    let _turn = caller.turns.begin();
    caller.send(b"GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n", 1000).unwrap();
    assert!(caller.send(&vec![1; 70 << 10], 1000).is_err());
}
