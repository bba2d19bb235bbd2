//! Distinguished names as text (RFC 4514): what a caller's certificate is bound to by its subject.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Bytes that the text may have.
pub const BYTES: usize = 2048;

/// A name, read. Two of them are equal if they have the same RDNs in the same order; within an RDN of several
/// attributes the order means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName {
    rdns: Vec<Rdn>,
}

/// A relative distinguished name: attribute types as dotted OIDs, each with its value.
pub type Rdn = BTreeMap<String, Value>;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Unescaped. It is equal to a value of any string type with the same characters, in the same case.
    Text(String),
    /// `#` and hex: equal to the value with exactly this encoding (BER, with tag and length).
    Encoded(Vec<u8>),
}

/// A text that is no name. Positions count bytes from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnError {
    /// It would fit certificates without a subject.
    #[error("the subject is empty; write it as `openssl x509 -noout -subject -nameopt RFC2253` does")]
    Empty,
    /// Longer than [`BYTES`].
    #[error("the subject has more than {BYTES} bytes; bind the certificate by its SHA-256 instead")]
    TooLong,
    /// `/C=DE/O=Acme`.
    #[error(
        "the subject begins with a slash; write it in the form of RFC 4514, as `openssl x509 -noout -subject -nameopt \
         RFC2253` does: CN=acme,O=Acme"
    )]
    Slashes,
    /// No `=`.
    #[error("at byte {0} of the subject: no attribute and value; write attribute=value")]
    NoAttribute(usize),
    /// Neither a known keyword nor an OID.
    #[error("at byte {at} of the subject: the attribute {name:?} is not known; write its dotted OID")]
    UnknownAttribute {
        /// Where.
        at: usize,
        /// As written.
        name: String,
    },
    /// Nothing after the `=`.
    #[error("at byte {0} of the subject: the attribute has no value")]
    NoValue(usize),
    /// `#` without hex.
    #[error(
        "at byte {0} of the subject: after # come pairs of hex digits; write \\# for the character itself"
    )]
    BadHex(usize),
    /// A backslash before something that isn't escaped.
    #[error(
        "at byte {0} of the subject: after a backslash comes one of the characters \" + , ; < > = # \\ or a space, or \
         two hex digits"
    )]
    BadEscape(usize),
    /// A character that would mean something else.
    #[error("at byte {at} of the subject: {found:?} must have a backslash before it")]
    Unescaped {
        /// Where.
        at: usize,
        /// Which.
        found: char,
    },
    /// Escaped bytes.
    #[error("at byte {0} of the subject: the escaped bytes of the value are not UTF-8")]
    NotUtf8(usize),
    /// `CN=a+CN=b`.
    #[error("at byte {0} of the subject: the attribute is there twice in one RDN")]
    Twice(usize),
}

/// Keywords, upper-case: those of RFC 4514 section 3, and others that tools write.
const KEYWORDS: &[(&str, &str)] = &[
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SN", "2.5.4.4"),
    ("SURNAME", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("TITLE", "2.5.4.12"),
    ("BUSINESSCATEGORY", "2.5.4.15"),
    ("POSTALCODE", "2.5.4.17"),
    ("GN", "2.5.4.42"),
    ("GIVENNAME", "2.5.4.42"),
    ("INITIALS", "2.5.4.43"),
    ("GENERATIONQUALIFIER", "2.5.4.44"),
    ("DNQUALIFIER", "2.5.4.46"),
    ("PSEUDONYM", "2.5.4.65"),
    ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
    ("UNSTRUCTUREDNAME", "1.2.840.113549.1.9.2"),
];

impl DistinguishedName {
    /// Reads a name. Attribute types are keywords in any case, or dotted OIDs; spaces around `,`, `+` and `=` mean
    /// nothing, as RFC 2253 has it (a value's own must be escaped).
    ///
    /// # Errors
    /// [`DnError`].
    pub fn parse(text: &str) -> Result<Self, DnError> {
        if text.len() > BYTES {
            return Err(DnError::TooLong);
        }
        if text.starts_with('/') {
            return Err(DnError::Slashes);
        }
        if text.trim_matches(' ').is_empty() {
            return Err(DnError::Empty);
        }
        let (mut rdns, mut rdn) = (Vec::new(), Rdn::new());
        let mut rest = Rest { text, at: 0 };
        loop {
            rest.skip_spaces();
            let start = rest.position();
            let oid = rest.attribute()?;
            let value = rest.value()?;
            if rdn.insert(oid, value).is_some() {
                return Err(DnError::Twice(start));
            }
            match rest.take() {
                Some('+') => {}
                Some(',') => rdns.push(std::mem::take(&mut rdn)),
                // A value ends nowhere else.
                _ => break,
            }
        }
        rdns.push(rdn);
        Ok(Self { rdns })
    }

    /// Of RDNs in the order of the text, as a certificate has them, reversed.
    pub fn of(rdns: Vec<Rdn>) -> Self {
        Self { rdns }
    }

    /// Its RDNs, in the order of the text.
    pub fn rdns(&self) -> &[Rdn] {
        &self.rdns
    }
}

impl FromStr for DistinguishedName {
    type Err = DnError;

    fn from_str(text: &str) -> Result<Self, DnError> {
        Self::parse(text)
    }
}

/// What is still to be read.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.left().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        Some(found)
    }

    /// As errors count it.
    fn position(&self) -> usize {
        self.at + 1
    }

    fn skip_spaces(&mut self) {
        let left = self.left();
        self.at += left.len() - left.trim_start_matches(' ').len();
    }

    /// The attribute's type with the `=` after it.
    fn attribute(&mut self) -> Result<String, DnError> {
        let start = self.position();
        let (name, _) = self.left().split_once('=').ok_or(DnError::NoAttribute(start))?;
        self.at += name.len() + 1;
        let name = name.trim_end_matches(' ');
        let known = |(keyword, _): &&(&str, &str)| keyword.eq_ignore_ascii_case(name);
        if let Some((_, oid)) = KEYWORDS.iter().find(known) {
            return Ok((*oid).to_owned());
        }
        let oid = name.strip_prefix("OID.").or_else(|| name.strip_prefix("oid.")).unwrap_or(name);
        if is_oid(oid) {
            return Ok(oid.to_owned());
        }
        let is_name = !name.is_empty() && name.len() <= 64 && !name.contains([',', '+', '\\', '"', ';']);
        if is_name {
            return Err(DnError::UnknownAttribute { at: start, name: name.to_owned() });
        }
        Err(DnError::NoAttribute(start))
    }

    fn value(&mut self) -> Result<Value, DnError> {
        self.skip_spaces();
        let start = self.position();
        if self.peek() == Some('#') {
            let end = self.left().find([',', '+']).unwrap_or(self.left().len());
            let digits = self.left().get(1..end).unwrap_or_default().trim_end_matches(' ');
            let bytes = hex::decode(digits).ok().filter(|bytes| !bytes.is_empty());
            self.at += end;
            return bytes.map(Value::Encoded).ok_or(DnError::BadHex(start));
        }
        let mut bytes = Vec::new();
        // Up to where the value goes: spaces at its end count only if they are escaped.
        let mut end = 0;
        while let Some(found) = self.peek() {
            let at = self.position();
            match found {
                ',' | '+' => break,
                '\\' => {
                    self.take();
                    bytes.push(self.escaped(at)?);
                    end = bytes.len();
                }
                '"' | ';' | '<' | '>' | '\0' => return Err(DnError::Unescaped { at, found }),
                _ => {
                    self.take();
                    bytes.extend(found.encode_utf8(&mut [0; 4]).as_bytes());
                    if found != ' ' {
                        end = bytes.len();
                    }
                }
            }
        }
        bytes.truncate(end);
        if bytes.is_empty() {
            return Err(DnError::NoValue(start));
        }
        String::from_utf8(bytes).map(Value::Text).map_err(|_| DnError::NotUtf8(start))
    }

    /// What stands after a backslash.
    fn escaped(&mut self, at: usize) -> Result<u8, DnError> {
        let left = self.left().as_bytes();
        match left {
            [special, ..] if b"\"+,;<>=#\\ ".contains(special) => {
                self.at += 1;
                Ok(*special)
            }
            [high, low, ..] => {
                let mut byte = [0];
                hex::decode_to_slice([*high, *low], &mut byte).map_err(|_| DnError::BadEscape(at))?;
                self.at += 2;
                let [byte] = byte;
                Ok(byte)
            }
            _ => Err(DnError::BadEscape(at)),
        }
    }
}

/// Dotted decimal (RFC 4512 section 1.4): at least two arcs, no leading zeros.
fn is_oid(text: &str) -> bool {
    let is_arc = |arc: &str| {
        !arc.is_empty() && arc.bytes().all(|it| it.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
    };
    text.contains('.') && text.split('.').all(is_arc)
}

/// Canonical: keywords where there are any, nothing escaped that needn't be.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rdn) in self.rdns.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            let written: BTreeSet<String> = rdn.iter().map(|(oid, value)| attribute(oid, value)).collect();
            for (at, attribute) in written.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { "+" })?;
                f.write_str(attribute)?;
            }
        }
        Ok(())
    }
}

fn attribute(oid: &str, value: &Value) -> String {
    let name = KEYWORDS.iter().find(|(_, known)| *known == oid).map_or(oid, |(keyword, _)| keyword);
    let text = match value {
        Value::Encoded(bytes) => return format!("{name}=#{}", hex::encode(bytes)),
        Value::Text(text) => text,
    };
    let mut written = format!("{name}=");
    let last = text.chars().count().saturating_sub(1);
    for (at, character) in text.chars().enumerate() {
        let is_special = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if character == '\0' {
            written.push_str("\\00");
            continue;
        }
        if is_special {
            written.push('\\');
        }
        written.push(character);
    }
    written
}

#[cfg(test)]
mod tests;
