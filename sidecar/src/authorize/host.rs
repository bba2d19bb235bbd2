//! The host that a request names, in its one canonical form.
//!
//! The name that TLS was asked for (SNI) takes no part: a port has one lock and one certificate whatever name it is
//! reached by, gateways ask for the backend's name and send their own callers' hosts, and every request is judged by
//! the host that it names itself. A request can therefore not reach a lock that its connection did not open, and
//! there is nothing to answer 421 (RFC 9110 section 15.5.20) to.

use std::borrow::Cow;

use super::denial::{Code, Denial};

/// Characters of a name (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// A canonical host with its port, if one was given: lower-case, without the root's dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// As it is forwarded.
    text: Cow<'a, str>,
    /// Length of the name, without `:port`.
    name: usize,
}

impl<'a> Host<'a> {
    /// From a Host header or `:authority` (RFC 9110 section 7.2): a name, an IPv4 address or a bracketed IPv6
    /// address, and maybe a port; no user information.
    ///
    /// # Errors
    /// [`Code::InvalidHost`], with what is wrong.
    pub fn parse(raw: &'a str) -> Result<Self, Denial> {
        if is_simple(raw.as_bytes()) {
            return Ok(Self { text: Cow::Borrowed(raw), name: raw.len() });
        }
        let (name, port) = split(raw)?;
        if let Some(port) = port
            && (port.is_empty() || port.parse::<u16>().is_err() || !port.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(invalid("its port is no number from 0 to 65535"));
        }
        let trimmed = if let Some(rest) = name.strip_prefix('[') {
            let address = rest.strip_suffix(']').and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok());
            address.ok_or_else(|| invalid("the brackets hold no IPv6 address"))?;
            name
        } else {
            let trimmed = name.strip_suffix('.').unwrap_or(name);
            if trimmed.is_empty() || trimmed.len() > LONGEST {
                return Err(invalid("it is empty or longer than 253 characters"));
            }
            let mut before = b'.';
            for byte in trimmed.bytes() {
                if byte == b'.' && before == b'.' {
                    return Err(invalid("it holds an empty label"));
                }
                if !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_' | b'.') {
                    return Err(invalid("it holds a character that no host name has"));
                }
                before = byte;
            }
            if before == b'.' {
                return Err(invalid("it holds an empty label"));
            }
            trimmed
        };
        let unchanged = trimmed.len() == name.len() && !raw.bytes().any(|b| b.is_ascii_uppercase());
        let text = if unchanged {
            Cow::Borrowed(raw)
        } else {
            let mut text = trimmed.to_ascii_lowercase();
            if let Some(port) = port {
                text.push(':');
                text.push_str(port);
            }
            Cow::Owned(text)
        };
        Ok(Self { text, name: trimmed.len() })
    }

    /// The same host, of which the text lies elsewhere; none if that says another.
    pub fn in_text<'b>(&self, text: &'b str) -> Option<Host<'b>> {
        (text == self.text).then_some(Host { text: Cow::Borrowed(text), name: self.name })
    }

    /// With the port, if one was given: what is forwarded.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without the port: what is matched.
    pub fn name(&self) -> &str {
        self.text.get(..self.name).unwrap_or(&self.text)
    }

    /// Whether `pattern` allows it: an equal name, or `*.` and a suffix after at least one label, as
    /// `hostnames` of an `HTTPRoute`. Patterns are lower-case.
    pub fn matches(&self, pattern: &str) -> bool {
        match pattern.strip_prefix('*') {
            Some(suffix) => {
                suffix.starts_with('.')
                    && self.name().strip_suffix(suffix).is_some_and(|label| !label.is_empty())
            }
            None => self.name() == pattern,
        }
    }
}

/// Whether nothing in it needs a closer look, as in most hosts: it is a canonical name without a port then.
fn is_simple(raw: &[u8]) -> bool {
    // Without an early end, so that many bytes are looked at in one step.
    let is_right = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_simple = raw.iter().fold(true, |all, byte| all & is_right(*byte));
    let ends = [raw.first(), raw.last()];
    is_simple
        && raw.len() <= LONGEST
        && ends.iter().all(|end| end.is_some_and(|byte| *byte != b'.'))
        && !raw.windows(2).any(|pair| pair == b"..")
}

fn invalid(what: &'static str) -> Denial {
    Denial::new(Code::InvalidHost, format!("the host is refused: {what}"))
}

/// Name and port; the name keeps its brackets.
fn split(raw: &str) -> Result<(&str, Option<&str>), Denial> {
    if raw.starts_with('[') {
        let end = raw.find(']').ok_or_else(|| invalid("a bracket is not closed"))? + 1;
        let (name, rest) = raw.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((name, Some(port))),
            None if rest.is_empty() => Ok((name, None)),
            None => Err(invalid("something follows the bracket")),
        };
    }
    Ok(match raw.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (raw, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        for (raw, text, name) in [
            ("api.example.com", "api.example.com", "api.example.com"),
            ("API.Example.com:8443", "api.example.com:8443", "api.example.com"),
            ("api.example.com.", "api.example.com", "api.example.com"),
            ("api.example.com.:80", "api.example.com:80", "api.example.com"),
            ("10.1.2.3:80", "10.1.2.3:80", "10.1.2.3"),
            ("[FD00::1]:80", "[fd00::1]:80", "[fd00::1]"),
            ("[::1]", "[::1]", "[::1]"),
            ("a_b", "a_b", "a_b"),
            ("a-1.b", "a-1.b", "a-1.b"),
        ] {
            let host = Host::parse(raw).unwrap_or_else(|denial| panic!("{raw}: {denial}"));
            assert_eq!((host.as_str(), host.name()), (text, name), "{raw}");
            let elsewhere = text.to_owned();
            assert_eq!(host.in_text(&elsewhere), Some(host.clone()), "{raw}");
            assert_eq!(host.in_text("other"), None, "{raw}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        assert!(Host::parse(&"a".repeat(253)).is_ok());
        for raw in [
            &"a".repeat(254),
            "",
            ".",
            ":80",
            "a..b",
            ".a",
            "a b",
            "a,b",
            "user@a",
            "a:",
            "a:x",
            "a:+1",
            "a:65536",
            "a:1:2",
            "[::1",
            "[x]",
            "[::1]x",
            "[[::1]",
            "[::1]]",
            "[]",
            "[fe80::1%eth0]",
            "::1",
            "é",
            "a/b",
            "a\\b",
            "*.a",
        ] {
            assert_eq!(Host::parse(raw).expect_err(raw).code, Code::InvalidHost, "{raw}");
        }
    }

    #[test]
    fn wildcards_need_a_label() {
        for (pattern, host, expected) in [
            ("api.example.com", "API.example.com.:1", true),
            ("api.example.com", "x.api.example.com", false),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "apiexample.com", false),
            ("*", "anything", false),
        ] {
            assert_eq!(Host::parse(host).unwrap().matches(pattern), expected, "{pattern} {host}");
        }
    }
}
