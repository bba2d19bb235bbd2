//! The bytes of HTTP/1.1: what an engine gets to read has one meaning, however the bytes come.

use postern_sidecar::forward::wire::let_through;
use postern_sidecar::limits::Limits;

/// What is let through doesn't depend on how the bytes were cut, is a beginning of them, and its first head has
/// nothing in it that two readers could read in two ways.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let (whole, denial) = let_through(&limits, [data]);
    assert!(data.starts_with(&whole), "nothing is added or left out");
    for size in [1, 7] {
        let (cut, again) = let_through(&limits, data.chunks(size));
        assert_eq!(cut, whole, "in pieces of {size}");
        assert_eq!(again.map(|it| it.code), denial.as_ref().map(|it| it.code), "in pieces of {size}");
    }
    if let Some(denial) = &denial {
        assert!(!denial.reason.is_empty());
    }

    // The first head, found in another way than the scanner does.
    let start = if whole.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(end) = whole.windows(4).position(|it| it == b"\r\n\r\n").filter(|end| *end > start) else {
        return;
    };
    let head = &whole[start..end + 2];
    let (mut lengths, mut codings, mut hosts) = (0, 0, 0);
    for (number, line) in head.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("a bare LF: {line:?}"));
        assert!(!line.contains(&b'\r') && !line.contains(&0), "{line:?}");
        if number == 0 {
            assert_eq!(line.split(|byte| *byte == b' ').count(), 3, "{line:?}");
            continue;
        }
        let colon =
            line.iter().position(|byte| *byte == b':').unwrap_or_else(|| panic!("no colon: {line:?}"));
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_whitespace), "{line:?}");
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => {
                lengths += 1;
                assert!(value.iter().all(u8::is_ascii_digit), "{line:?}");
            }
            b"transfer-encoding" => {
                codings += 1;
                assert!(value.eq_ignore_ascii_case(b"chunked"), "{line:?}");
            }
            b"host" => hosts += 1,
            _ => {}
        }
    }
    assert!(lengths + codings <= 1 && hosts <= 1, "{:?}", String::from_utf8_lossy(head));
}
