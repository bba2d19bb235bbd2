//! Turns that nobody thought of: whatever is cut, held up or broken, what is read is the start of what was sent.

use super::*;

/// A sequence that looks random and is always the same (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    /// Mostly short, now and then long.
    fn length(&mut self) -> usize {
        let most = [10, 300, 5000, 40_000][self.throw(4)];
        1 + self.throw(most)
    }
}

#[test]
fn any_turns_pass_the_same_bytes() {
    for seed in 0..40 {
        let (mut dice, mut pair) = (Dice(seed), pair());
        pair.stream.records.limit(100);
        let (mut sent, mut got) = (Vec::new(), Vec::new());
        let (mut written, mut heard) = (Vec::new(), Vec::new());
        let mut on_the_way = Vec::new();
        for _ in 0..200 {
            match dice.throw(7) {
                0 | 1 => {
                    let content = pattern(dice.length());
                    on_the_way.extend(pair.sealed(&content));
                    sent.extend(content);
                }
                2 if dice.throw(4) == 0 => pair.caller.refresh_traffic_keys().unwrap(),
                2 | 3 => {
                    let rest = on_the_way.split_off(on_the_way.len().min(dice.length()));
                    if !on_the_way.is_empty() {
                        pair.wire.bring(&std::mem::replace(&mut on_the_way, rest));
                    }
                }
                4 => {
                    let room = dice.length();
                    if let Poll::Ready(read) = pair.read(room) {
                        got.extend(read.unwrap());
                    }
                }
                5 => {
                    let content = pattern(dice.length());
                    let (first, second) = content.split_at(dice.throw(content.len()));
                    if let Poll::Ready(count) = pair.write(&[first, second]) {
                        written.extend_from_slice(&content[..count.unwrap()]);
                    }
                }
                _ => {
                    pair.wire.make_room([0, 1, 1000, usize::MAX][dice.throw(4)]);
                    heard.extend(pair.heard().unwrap());
                }
            }
        }
        if !on_the_way.is_empty() {
            pair.wire.bring(&on_the_way);
        }
        got.extend(pair.read_all(9000));
        assert!(got == sent, "to the application, seed {seed}");
        pair.wire.make_room(usize::MAX);
        ready(pair.flush()).unwrap();
        heard.extend(pair.heard().unwrap());
        assert!(heard == written, "to the caller, seed {seed}");
        assert_eq!(pair.stream.buffered(), 0);
    }
}

#[test]
fn no_broken_byte_is_read() {
    for seed in 0..300 {
        let (mut dice, mut pair) = (Dice(seed), pair());
        let (mut sent, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let content = pattern(1 + dice.throw(300));
            bytes.extend(pair.sealed(&content));
            sent.extend(content);
        }
        let at = dice.throw(bytes.len());
        bytes[at] ^= 1 << dice.throw(8);
        for piece in bytes.chunks(1 + dice.throw(2000)) {
            pair.wire.bring(piece);
        }
        pair.wire.end();
        let mut got = Vec::new();
        let error = loop {
            match ready(pair.read(200)) {
                Ok(read) => {
                    assert!(!read.is_empty(), "an end that nobody sent, seed {seed}");
                    got.extend(read);
                }
                Err(error) => break error,
            }
        };
        assert!(sent.starts_with(&got) && got.len() < sent.len(), "seed {seed}");
        assert!(
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
            "{error}, seed {seed}"
        );
        assert_eq!(pair.stream.unread.bytes.capacity(), 0);
    }
}
