//! Callers' text in log lines and documents.

/// The start of a text, at most `limit` bytes of it, never half a character.
pub(crate) fn clip(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn characters_stay_whole() {
        for (text, limit, expected) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é", 1, ""), ("", 0, "")]
        {
            assert_eq!(clip(text, limit), expected, "{text} {limit}");
        }
    }
}
