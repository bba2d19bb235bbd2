//! Paths: what was matched is what is forwarded, and doing it twice changes nothing.

use postern_sidecar::authorize::path::Path;

/// A path that is let through is canonical, reads in one way, and stays as it is.
pub fn check(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(path) = Path::parse(raw) else { return };
    let text = path.as_str();
    assert!(text.starts_with('/'), "{raw:?} {text:?}");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{raw:?} {text:?}");
    assert!(!text.contains(['?', '#', '\\', '"', '<', '>']), "{raw:?} {text:?}");
    let again = Path::parse(text).unwrap_or_else(|denial| panic!("{raw:?} {text:?}: {denial}"));
    assert_eq!(again.as_str(), text, "{raw:?}");

    // As servers behind may read it: decoded before or after it is split, with or without parameters.
    let decoded = decode(text.as_bytes());
    assert_eq!(text.matches('/').count(), decoded.iter().filter(|byte| **byte == b'/').count(), "{text:?}");
    assert!(!decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'), "{text:?}");
    assert_eq!(decode(&decoded), decoded, "{text:?} decodes twice");
    for segment in decoded.split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "{text:?}");
    }

    // A rule for a prefix covers a path by whole segments, whichever way the path was written.
    for (at, _) in text.match_indices('/').skip(1) {
        assert!(path.has_prefix(&text[..at]), "{text:?} {at}");
    }
    assert!(path.has_prefix(text));
}

/// What percent signs stand for; a percent sign without digits is itself.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                out.push((digit(*high).unwrap() * 16 + digit(*low).unwrap()) as u8);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
