//! The path in its one canonical form: what is matched is what is forwarded.
//!
//! RFC 3986 section 6.2.2 (case and percent-encoding normalisation, dot segments), and beyond it a refusal of
//! everything that a server behind might read as another path.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::denial::{Code, Denial};

/// A canonical path. It begins with `/`, holds no dot segments, no encoded slash, backslash, `#` or control
/// character and no double encoding; unreserved characters are plain, all other encodings upper-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a>(Cow<'a, str>);

impl<'a> Path<'a> {
    /// From the path of a request target, without its query.
    ///
    /// # Errors
    /// [`Code::AmbiguousPath`], with what is wrong.
    pub fn parse(raw: &'a str) -> Result<Self, Denial> {
        if !raw.starts_with('/') {
            return Err(ambiguous("it does not begin with a slash"));
        }
        if is_simple(raw.as_bytes()) {
            return Ok(Self(Cow::Borrowed(raw)));
        }
        let encoded = if raw.bytes().all(is_plain) { Cow::Borrowed(raw) } else { Cow::Owned(recode(raw)?) };
        refuse_double_encoding(&encoded)?;
        if encoded.split('/').any(is_dotted) {
            return Ok(Self(Cow::Owned(without_dots(&encoded)?)));
        }
        Ok(Self(encoded))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the path was canonical as it came.
    pub fn is_unchanged(&self) -> bool {
        matches!(self.0, Cow::Borrowed(_))
    }

    /// Whether `prefix` (canonical, without a slash at its end) covers this path by whole segments.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whether nothing in it needs a closer look, as in most paths: it is canonical then.
fn is_simple(path: &[u8]) -> bool {
    let (mut is_simple, mut before) = (true, 0);
    for byte in path {
        is_simple &= byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
        // No segment begins with a dot.
        is_simple &= (before, *byte) != (b'/', b'.');
        before = *byte;
    }
    is_simple
}

fn ambiguous(what: &'static str) -> Denial {
    Denial::new(Code::AmbiguousPath, format!("the path is refused: {what}"))
}

/// Characters that stand for themselves: unreserved, sub-delims, `:`, `@` and the slash (RFC 3986).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn recode(raw: &str) -> Result<String, Denial> {
    let mut out = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let decoded = bytes
                    .next()
                    .zip(bytes.next())
                    .and_then(|(high, low)| Some(hex_digit(high)? << 4 | hex_digit(low)?))
                    .ok_or_else(|| ambiguous("a percent sign is not followed by two hex digits"))?;
                match decoded {
                    b'/' => return Err(ambiguous("it holds an encoded slash (%2F)")),
                    b'\\' => return Err(ambiguous("it holds an encoded backslash (%5C)")),
                    b'#' => return Err(ambiguous("it holds an encoded fragment sign (%23)")),
                    0..=0x1f | 0x7f => return Err(ambiguous("it holds an encoded control character")),
                    _ if is_unreserved(decoded) => out.push(char::from(decoded)),
                    _ => encode(&mut out, decoded),
                }
            }
            b'\\' => return Err(ambiguous("it holds a backslash")),
            b'#' => return Err(ambiguous("it holds a fragment")),
            0..=0x20 | 0x7f.. => {
                return Err(ambiguous("it holds a space, a control character or a byte beyond ASCII"));
            }
            _ if is_plain(byte) => out.push(char::from(byte)),
            // Quotes, braces and their like, which some clients leave as they are.
            _ => encode(&mut out, byte),
        }
    }
    Ok(out)
}

fn encode(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `%25` before two hex digits would be another character to a server that decodes twice.
fn refuse_double_encoding(path: &str) -> Result<(), Denial> {
    let doubled = path.match_indices("%25").any(|(at, sign)| {
        let mut rest = path.bytes().skip(at + sign.len());
        let is_hex = |byte: Option<u8>| byte.and_then(hex_digit).is_some();
        is_hex(rest.next()) && is_hex(rest.next())
    });
    if doubled { Err(ambiguous("it is encoded twice (%25 before two hex digits)")) } else { Ok(()) }
}

/// A segment that is, or that some servers take for, `.` or `..` (they cut parameters such as `;x` first, before
/// or after they decode it).
fn is_dotted(segment: &str) -> bool {
    let name = segment.split(';').next().and_then(|rest| rest.split("%3B").next());
    matches!(name, Some("." | ".."))
}

fn without_dots(path: &str) -> Result<String, Denial> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop().ok_or_else(|| ambiguous("its dot segments lead above the root"))?;
            }
            _ if is_dotted(segment) => return Err(ambiguous("a dot segment carries parameters (..;)")),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        // `/a/..` and `/a/.` name what ends with a slash.
        if is_last {
            kept.push("");
        }
    }
    Ok(kept.iter().fold(String::with_capacity(path.len()), |out, segment| out + "/" + segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/orders/7", "/orders/7"),
            ("/orders/", "/orders/"),
            ("/a//b", "/a//b"),
            ("/%6Frders/%7e", "/orders/~"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E/b", "/a/b"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/a%3bv=1/..b%3B", "/a%3Bv=1/..b%3B"),
            ("/..a/b..", "/..a/b.."),
            ("/{id}|", "/%7Bid%7D%7C"),
            ("/100%25", "/100%25"),
            ("/100%25/x", "/100%25/x"),
            ("/a%3Fb", "/a%3Fb"),
            ("//", "//"),
            ("/a//../b", "/a/b"),
        ] {
            let path = Path::parse(raw).unwrap_or_else(|denial| panic!("{raw}: {denial}"));
            assert_eq!(path.as_str(), canonical, "{raw}");
            assert_eq!(path.is_unchanged(), raw == canonical && !raw.contains('%'), "{raw}");
            let again = Path::parse(canonical).unwrap();
            assert_eq!(again.as_str(), canonical, "canonical form of {raw} is stable");
        }
    }

    #[test]
    fn what_can_be_read_twice_is_refused() {
        for raw in [
            "",
            "*",
            "orders",
            "http://x/",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00b",
            "/a%0d%0ab",
            "/a%7f",
            "/a#b",
            "/a%23b",
            "/%252e%252e/b",
            "/%25%32%65",
            "/%25%2541",
            "/a%",
            "/a%2",
            "/a%zz",
            "/..",
            "/a/../..",
            "/%2e%2e/b",
            "/a/..;/b",
            "/a/.;x/b",
            "/a/%2e%2e;x/b",
            "/a/..%3B/b",
            "/a/.%3bx/b",
            "/a/%2e%2e%3b%3bx;y",
            "/a b",
            "/é",
        ] {
            let denial = Path::parse(raw).expect_err(raw);
            assert_eq!(denial.code, Code::AmbiguousPath, "{raw}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        for (prefix, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a", "/", false),
            ("/a", "/A", false),
            ("/a/b", "/a", false),
            ("", "/anything", true),
            ("", "/", true),
        ] {
            assert_eq!(Path::parse(path).unwrap().has_prefix(prefix), expected, "{prefix} {path}");
        }
    }
}
