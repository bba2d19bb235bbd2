//! Callers' text in log lines and documents.

use std::fmt::Write as _;

/// The start of a text, at most `limit` bytes of it, never half a character.
pub(crate) fn clip(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The text with every byte in hex, after a percent sign, that isn't plain. What is not ASCII never is.
pub(crate) fn percent_encoded(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() && is_plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_written_in_hex() {
        assert_eq!(percent_encoded("a b\né%", |byte| byte != b' '), "a%20b\n%C3%A9%");
    }

    #[test]
    fn characters_stay_whole() {
        for (text, limit, expected) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é", 1, ""), ("", 0, "")]
        {
            assert_eq!(clip(text, limit), expected, "{text} {limit}");
        }
    }
}
