//! A length of time, as the Gateway API writes it.

use std::fmt;
use std::time::Duration as Std;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time in whole seconds: numbers with a unit of `h`, `m` or `s`, such as `24h`, `1h30m` or `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub Std);

impl Duration {
    /// Reads one; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut seconds: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at_checked(end)?;
            let (unit, after) = after.split_at_checked(1)?;
            let of_unit = match unit {
                "h" => 3600,
                "m" => 60,
                "s" => 1,
                _ => return None,
            };
            seconds = number.parse::<u64>().ok()?.checked_mul(of_unit)?.checked_add(seconds)?;
            rest = after;
        }
        (!text.is_empty()).then(|| Self(Std::from_secs(seconds)))
    }

    /// Whole seconds.
    pub fn seconds(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        if seconds == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is no time such as 24h, 30m or 0s")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (text, seconds, shown) in [
            ("0s", Some(0), "0s"),
            ("24h", Some(86_400), "24h"),
            ("1h30m", Some(5_400), "1h30m"),
            ("90s", Some(90), "1m30s"),
            ("720h", Some(2_592_000), "720h"),
            ("", None, ""),
            ("24", None, ""),
            ("h", None, ""),
            ("1d", None, ""),
            ("-1h", None, ""),
            ("99999999999999999999h", None, ""),
            ("9999999999999999999h", None, ""),
        ] {
            let read = Duration::parse(text);
            assert_eq!(read.map(Duration::seconds), seconds, "{text:?}");
            assert_eq!(read.map(|read| read.to_string()).unwrap_or_default(), shown, "{text:?}");
        }
    }
}
