//! The only way for a text into NGINX's configuration: words of characters that mean nothing there. What has any
//! other character is refused, never escaped (SECURITY 28).

use std::fmt;

/// A text that may stand in NGINX's configuration as one argument or in a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(String);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that can't stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {text} holds {culprit:?}, which must not get into a gateway's configuration: use letters, digits, \
     `.`, `-`, `_`, `/` and `:` alone"
)]
pub struct Refused {
    /// What the text is.
    pub what: &'static str,
    /// The text, quoted; empty if it is secret.
    pub text: String,
    /// Its first character that is refused; empty: the text is.
    pub culprit: String,
}

/// Encodes one argument.
///
/// # Errors
/// [`Refused`], with the first character that may not be there.
pub fn word(what: &'static str, text: &str) -> Result<Word, Refused> {
    let harmless =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '[' | ']');
    let refused = |culprit: String| Refused { what, text: format!("{text:?}"), culprit };
    match text.chars().find(|c| !harmless(*c)) {
        Some(culprit) => Err(refused(culprit.to_string())),
        None if text.is_empty() => Err(refused(String::new())),
        None => Ok(Word(text.to_owned())),
    }
}

/// A secret text in double quotes, as one argument. NGINX reads `$`, `\\` and `"` in it as something else, so they are
/// refused, and whatever is not visible ASCII or a space.
///
/// # Errors
/// [`Refused`], which doesn't quote it.
pub fn secret(what: &'static str, text: &str) -> Result<Word, Refused> {
    let harmless =
        |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\'' | '\\' | '$' | '`');
    match text.chars().find(|c| !harmless(*c)) {
        Some(_) => Err(Refused { what, text: String::new(), culprit: "a character".to_owned() }),
        None => Ok(Word(format!("\"{text}\""))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_stays_in_its_quotes_and_is_never_quoted_in_an_error() {
        assert_eq!(secret("the value", "Basic YTpi+/==").unwrap().to_string(), "\"Basic YTpi+/==\"");
        for text in ["a\"; return 200; #", "a$host", "a\\", "a\nb", "a'b", "a`b", "é", "a\0"] {
            let refused = secret("the value", &format!("hunter2{text}")).unwrap_err().to_string();
            assert!(!refused.contains("hunter2") && refused.contains("the value"), "{refused}");
        }
    }

    use super::*;

    #[test]
    fn what_is_harmless_stays_as_it_is() {
        for text in [
            "orders.shop.svc",
            "/etc/postern/edge.shop.orders/tls.crt",
            "[fd00::1]:443",
            "10.0.0.1:80",
            "a_b-c",
        ] {
            assert_eq!(word("the text", text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn every_way_out_of_a_word_is_refused() {
        for text in [
            "",
            " ",
            "a b",
            "a\tb",
            "a\nb",
            "a\rb",
            "a;b",
            "a;} location / { return 200; }",
            "a{b",
            "a}b",
            "a\"b",
            "a'b",
            "a`b",
            "a$b",
            "$host",
            "${host}",
            "a\\b",
            "a#b",
            "a\0b",
            "a\x07b",
            "a\x7fb",
            "a\u{85}b",
            "a\u{a0}b",
            "a\u{2028}b",
            "é",
            "a；b",
            "a%0ab",
            "a*b",
            "~a",
            "a|b",
            "a&b",
            "a<b",
            "a(b",
            "a,b",
            "a=b",
            "a@b",
            "a!b",
            "a?b",
            "a^b",
            "a+b",
        ] {
            assert!(word("the text", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn of_all_characters_only_the_listed_ones_pass() {
        let passing: String = (0..=0x2_ffff_u32)
            .filter_map(char::from_u32)
            .filter(|c| word("the text", &c.to_string()).is_ok())
            .collect();
        assert_eq!(passing, "-./0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz");
    }
}
