use super::*;

const BOUNDS: Bounds = Bounds { head: 200, target: 40, headers: 6 };

/// Passes `bytes` in pieces of `size`, as an intake does; how many passed in all, and the fault.
fn pass(bytes: &[u8], size: usize) -> (usize, Option<Fault>, Scanner) {
    let (mut scanner, mut passed, mut fault) = (Scanner::new(BOUNDS), 0, None);
    let mut end = 0;
    while end < bytes.len() && fault.is_none() {
        end = bytes.len().min(end + size);
        let scan = scanner.scan(&bytes[passed..end]);
        passed += scan.passed;
        fault = scan.fault;
    }
    (passed, fault, scanner)
}

/// In pieces of every size the outcome is the same.
fn passed(text: &str) -> (usize, Option<(u64, bool, Code)>, u64) {
    let outcome = |size| {
        let (passed, fault, scanner) = pass(text.as_bytes(), size);
        (passed, fault.map(|fault| (fault.turn, fault.in_head, fault.denial.code)), scanner.heads())
    };
    let whole = outcome(text.len());
    for size in 1..text.len().min(60) {
        assert_eq!(outcome(size), whole, "in pieces of {size}: {text:?}");
    }
    whole
}

#[test]
fn messages_follow_one_another() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n\r\n\r\n.";
    let chunked =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\na: b\r\n\r\n";
    for (text, heads) in [
        (get.to_owned(), 1),
        ([get, get, get].concat(), 3),
        ([post, get, post].concat(), 3),
        ([chunked, get, chunked, post].concat(), 4),
        (["\r\n", get, "\r\n", post, "\r\n", chunked].concat(), 3),
    ] {
        assert_eq!(passed(&text), (text.len(), None, heads), "{text:?}");
        let part = format!("{text}GET / HTTP/1.1\r\nhost: a\r\n");
        assert_eq!(passed(&part), (text.len(), None, heads), "a part of a head is held back: {part:?}");
    }
}

#[test]
fn nothing_passes_after_a_fault() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(200));
    for (good, bad, turn, in_head, code) in [
        ("", "GET / HTTP/1.1\n\r\n", 1, true, Code::MalformedHead),
        ("", "GET / HTTP/1.1\r\n\n", 1, true, Code::MalformedHead),
        ("", "\nGET / HTTP/1.1\r\n\r\n", 1, true, Code::MalformedHead),
        ("\r\n", "\r\nGET / HTTP/1.1\r\n\r\n", 1, true, Code::MalformedHead),
        ("", "GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", 1, true, Code::MalformedHead),
        (get, "GET /# HTTP/1.1\r\n\r\n", 2, true, Code::AmbiguousPath),
        ("", &large, 1, true, Code::HeadTooLarge),
        (&format!("{chunked}1\r\na"), "b", 1, false, Code::InvalidFraming),
        (&format!("{get}{chunked}"), "x", 2, false, Code::InvalidFraming),
        (&format!("{chunked}0\r\n\r\n"), "0\r\n\r\n", 2, true, Code::MalformedHead),
    ] {
        let heads = turn - u64::from(in_head);
        let outcome = (good.len(), Some((turn, in_head, code)), heads);
        assert_eq!(passed(&format!("{good}{bad}{get}")), outcome, "{good:?} {bad:?}");
        let (_, _, mut scanner) = pass(format!("{good}{bad}").as_bytes(), 1000);
        assert_eq!(scanner.scan(get.as_bytes()), Scan { passed: 0, fault: None }, "{bad:?}");
    }
}

#[test]
fn a_head_without_an_end_is_refused_at_its_limit() {
    for text in ["x".repeat(300), format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(40))] {
        for size in [1, 7, 300] {
            let (passed, fault, _) = pass(text.as_bytes(), size);
            assert_eq!(
                (passed, fault.map(|fault| fault.denial.code)),
                (0, Some(Code::HeadTooLarge)),
                "{size}"
            );
        }
    }
    // One byte less is a head.
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200 - 23));
    assert_eq!((head.len(), passed(&head).1), (200, None));
    let head = head.replace("y\r", "yy\r");
    assert_eq!((head.len(), passed(&head).1), (201, Some((1, true, Code::HeadTooLarge))));
}

#[test]
fn what_follows_an_upgrade_waits_for_its_answer() {
    let upgrade = "GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n";
    let (passed, fault, mut declined) = pass(format!("{upgrade}\u{1}\u{2}").as_bytes(), 1000);
    assert_eq!((passed, fault), (upgrade.len(), None));
    assert!(declined.is_undecided());
    declined.go_on();
    assert_eq!(declined.scan(b"\x01\n").fault.map(|fault| fault.turn), Some(2));

    let (_, _, mut accepted) = pass(upgrade.as_bytes(), 1000);
    accepted.leave();
    assert_eq!(accepted.scan(b"\x01\nGET /# HTTP/9\n\n"), Scan { passed: 17, fault: None });
}
