//! Names of fields that some rule is about.

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The name of a field that some rule is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl Name {
            /// In lower case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        const KNOWN: &[(&str, Name)] = &[$(($text, Name::$name),)*];
    };
}

names! {
    Allow = "allow",
    Authorization = "authorization",
    CacheControl = "cache-control",
    ClientCert = "client-cert",
    ClientCertChain = "client-cert-chain",
    Connection = "connection",
    ContentEncoding = "content-encoding",
    ContentLength = "content-length",
    ContentRange = "content-range",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Expect = "expect",
    GrpcTimeout = "grpc-timeout",
    Host = "host",
    KeepAlive = "keep-alive",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    SecWebSocketAccept = "sec-websocket-accept",
    SecWebSocketKey = "sec-websocket-key",
    Te = "te",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    WwwAuthenticate = "www-authenticate",
    XForwardedClientCert = "x-forwarded-client-cert",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XRequestId = "x-request-id",
}

impl Name {
    /// `None` for a name that no rule is about, and for one that isn't in lower case.
    pub fn of(text: &[u8]) -> Option<Self> {
        // Few have the same length and the same first and last letter.
        let (first, last) = (*text.first()?, *text.last()?);
        let slot = SLOTS.get(slot(text.len(), first, last))?;
        let (known, name) = KNOWN.get(usize::from(*slot))?;
        (known.as_bytes() == text).then_some(*name)
    }

    /// The same however it is spelt: in any case, and with `_` for `-`, as servers read it that make variables of names.
    pub fn of_spelling(text: &[u8]) -> Option<Self> {
        let mut folded = [0; LONGEST];
        let room = folded.get_mut(..text.len())?;
        for (to, from) in room.iter_mut().zip(text) {
            *to = if *from == b'_' { b'-' } else { from.to_ascii_lowercase() };
        }
        Self::of(room)
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// By [`slot`], the place of a name in the list of all; no two share one.
static SLOTS: [u8; SLOTS_LENGTH] = {
    let mut slots = [u8::MAX; SLOTS_LENGTH];
    let mut at = 0;
    while at < KNOWN.len() {
        #[allow(
            clippy::indexing_slicing,
            clippy::cast_possible_truncation,
            reason = "evaluated when it is compiled"
        )]
        {
            let text = KNOWN[at].0.as_bytes();
            let slot = slot(text.len(), text[0], text[text.len() - 1]);
            assert!(slots[slot] == u8::MAX, "two names share a slot: change `slot`");
            slots[slot] = at as u8;
        }
        at += 1;
    }
    slots
};

const SLOTS_LENGTH: usize = 128;

/// Found by trying.
const fn slot(length: usize, first: u8, last: u8) -> usize {
    (length ^ first as usize ^ (last as usize * 5)) & (SLOTS_LENGTH - 1)
}

/// The longest of all names.
const LONGEST: usize = {
    let (mut longest, mut rest) = (0, KNOWN);
    while let [(text, _), after @ ..] = rest {
        longest = if text.len() > longest { text.len() } else { longest };
        rest = after;
    }
    longest
};

/// Some known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names(u64);

impl Names {
    /// These.
    pub const fn of(names: &[Name]) -> Self {
        let (mut bits, mut rest) = (0, names);
        while let [first, after @ ..] = rest {
            bits |= first.bit();
            rest = after;
        }
        Self(bits)
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These, and one more.
    #[must_use]
    pub const fn with(self, name: Name) -> Self {
        Self(self.0 | name.bit())
    }

    /// These, and one more if `condition` holds.
    #[must_use]
    pub const fn with_if(self, name: Name, condition: bool) -> Self {
        if condition { self.with(name) } else { self }
    }

    /// Whether it is one of them.
    pub const fn contains(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }

    /// Whether one of them is one of the others.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_told_apart() {
        for (text, name) in KNOWN {
            assert_eq!((Name::of(text.as_bytes()), name.as_str()), (Some(*name), *text));
            // The same length, first and last letter.
            let other = format!("{}~{}", &text[..1], &text[2..]);
            assert_eq!(Name::of(other.as_bytes()), None, "{other}");
            assert_eq!(Name::of(text.to_uppercase().as_bytes()), None);
        }
        for other in ["", "x", "hosts", "accept", "user-agent"] {
            assert_eq!(Name::of(other.as_bytes()), None, "{other}");
        }
        for spelling in ["Content-Length", "content_length", "CONTENT_length"] {
            assert_eq!(Name::of_spelling(spelling.as_bytes()), Some(Name::ContentLength));
        }
        for other in ["content~length", "", "x-forwarded-client-certificates"] {
            assert_eq!(Name::of_spelling(other.as_bytes()), None, "{other}");
        }
        assert!(KNOWN.len() <= 64, "a bit for each");
    }
}
