//! The fields of a message's head, in the order in which they came (RFC 9110 section 5).
//!
//! A list and not a map: a head has few of them, each rule looks at all of them once, and those that rules are about are
//! told apart when they are read.

mod name;

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

pub use self::name::{Name, Names};

/// Fields that are passed on.
pub(crate) trait Passed {
    /// Tells each, in their order.
    fn each(&self, tell: impl FnMut(Field<'_>));
}

impl Passed for Fields {
    fn each(&self, tell: impl FnMut(Field<'_>)) {
        self.iter().for_each(tell);
    }
}

/// The fields of one head.
#[derive(Debug)]
pub struct Fields {
    /// What is pointed to. Nothing is taken out of it before the end.
    text: Vec<u8>,
    list: Vec<Entry>,
    /// Which are there, or were.
    names: Names,
    /// Whether some name has an underscore in it, which servers that make variables of names take for a hyphen.
    has_underscores: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    known: Option<Name>,
    name: Range<usize>,
    value: Range<usize>,
}

impl Entry {
    /// What it points to.
    fn field<'a>(&self, text: &'a [u8]) -> Field<'a> {
        let part = |place: &Range<usize>| text.get(place.clone()).unwrap_or_default();
        Field { known: self.known, name: part(&self.name), value: part(&self.value) }
    }
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What it is, if some rule is about it.
    pub known: Option<Name>,
    /// A token (RFC 9110 section 5.6.2) in lower case.
    pub name: &'a [u8],
    /// Without white space around it, and without control characters but tabs (RFC 9110 section 5.5).
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// With a known name.
    pub(crate) const fn of(name: Name, value: &'a [u8]) -> Self {
        Self { known: Some(name), name: name.as_str().as_bytes(), value }
    }

    /// Whether it is one of these.
    pub fn is_one_of(&self, names: Names) -> bool {
        self.known.is_some_and(|name| names.contains(name))
    }
}

/// A name or a value that no header can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field's name or value is none")]
pub struct Invalid;

/// A field that must be there once at most is there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header is there more than once")]
pub struct Repeated;

thread_local! {
    /// Room of heads that are done with.
    static SPARE: RefCell<Vec<(Vec<u8>, Vec<Entry>)>> = const { RefCell::new(Vec::new()) };
}

/// Heads for which room is kept by each thread.
const SPARES: usize = 32;
/// Most room that is kept of one head, in bytes of text and in fields.
const KEPT: (usize, usize) = (4 << 10, 64);

impl Default for Fields {
    fn default() -> Self {
        Self::new()
    }
}

impl Fields {
    /// None.
    pub fn new() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let (mut text, list) = spare.unwrap_or_default();
        text.clear();
        Self { text, list, names: Names::default(), has_underscores: false }
    }

    /// Those that are passed on.
    pub(crate) fn of(passed: &impl Passed) -> Self {
        let mut fields = Self::new();
        passed.each(|field| fields.push(field.name, field.value));
        fields
    }

    /// None yet, of a head with this text. Its fields are told by [`Fields::note`].
    pub(crate) fn of_text(text: &[u8]) -> Self {
        let mut fields = Self::new();
        fields.text.extend_from_slice(text);
        fields
    }

    /// A part of the head's text.
    pub(crate) fn text(&self, place: &Range<usize>) -> &[u8] {
        self.text.get(place.clone()).unwrap_or_default()
    }

    /// Adds text that is no field.
    pub(crate) fn add_text(&mut self, text: &[u8]) -> Range<usize> {
        let begin = self.text.len();
        self.text.extend_from_slice(text);
        begin..self.text.len()
    }

    /// There is a field in the head's text. It is told what it is, and whether its name has an underscore.
    pub(crate) fn note(&mut self, name: Range<usize>, value: Range<usize>) -> (Option<Name>, bool) {
        let text = self.text.get_mut(name.clone()).unwrap_or_default();
        text.make_ascii_lowercase();
        let has_underscore = text.contains(&b'_');
        let known = Name::of(text);
        if let Some(name) = known {
            self.names = self.names.with(name);
        }
        self.has_underscores |= has_underscore;
        self.list.push(Entry { known, name, value });
        (known, has_underscore)
    }

    /// Adds one at the end.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: &[u8]) {
        let (name, value) = (self.add_text(name.as_ref()), self.add_text(value));
        self.note(name, value);
    }

    /// Adds one with a known name at the end.
    pub fn add(&mut self, name: Name, value: &[u8]) {
        self.push(name.as_str(), value);
    }

    /// Puts one in the place of all of its name.
    pub fn set(&mut self, name: Name, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.list.iter().map(|entry| entry.field(&self.text))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one of these may be there.
    pub(crate) fn may_have(&self, names: Names) -> bool {
        self.names.meets(names)
    }

    /// Whether some name has an underscore in it.
    pub(crate) fn has_underscores(&self) -> bool {
        self.has_underscores
    }

    /// Whether it is there.
    pub fn contains(&self, name: Name) -> bool {
        self.names.contains(name) && self.list.iter().any(|entry| entry.known == Some(name))
    }

    /// Values of all with this name.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let list = if self.names.contains(name) { &self.list[..] } else { &[] };
        list.iter().filter(move |entry| entry.known == Some(name)).map(|entry| self.text(&entry.value))
    }

    /// The value of the first with this name.
    pub fn first(&self, name: Name) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The value of the only one with this name.
    ///
    /// # Errors
    /// [`Repeated`].
    pub fn only(&self, name: Name) -> Result<Option<&[u8]>, Repeated> {
        only(self.values(name))
    }

    /// The same for a name, in lower case, that isn't known beforehand.
    ///
    /// # Errors
    /// [`Repeated`].
    pub fn only_named(&self, name: &str) -> Result<Option<&[u8]>, Repeated> {
        only(self.iter().filter(|field| field.name == name.as_bytes()).map(|field| field.value))
    }

    /// Takes out all with this name.
    pub fn remove(&mut self, name: Name) {
        if self.names.contains(name) {
            self.list.retain(|entry| entry.known != Some(name));
        }
    }

    /// Takes out all for which it isn't so.
    pub fn retain(&mut self, mut is_kept: impl FnMut(Field<'_>) -> bool) {
        let Self { text, list, .. } = self;
        list.retain(|entry| is_kept(entry.field(text)));
    }

    /// Of a map, as HTTP/2's engine has them.
    pub fn of_map(map: &HeaderMap) -> Self {
        let mut fields = Self::new();
        fields.list.reserve(map.len());
        for (name, value) in map {
            fields.push(name.as_str(), value.as_bytes());
        }
        fields
    }

    /// A map, as HTTP/2's engine wants them.
    ///
    /// # Errors
    /// [`Invalid`] for what can't stand in one.
    pub fn into_map(self) -> Result<HeaderMap, Invalid> {
        // A copy, so that the room stays with the thread and values hold no more than themselves.
        let text = Bytes::copy_from_slice(&self.text);
        let mut map = HeaderMap::with_capacity(self.list.len());
        for Entry { name, value, .. } in &self.list {
            let name =
                text.get(name.clone()).and_then(|name| HeaderName::from_bytes(name).ok()).ok_or(Invalid)?;
            let value = text.get(value.clone()).map(|value| text.slice_ref(value)).ok_or(Invalid)?;
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| Invalid)?;
            map.try_append(name, value).map_err(|_| Invalid)?;
        }
        Ok(map)
    }
}

fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a [u8]>, Repeated> {
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Repeated),
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        let (mut text, mut list) = (std::mem::take(&mut self.text), std::mem::take(&mut self.list));
        if text.capacity() > KEPT.0 || list.capacity() > KEPT.1 {
            return;
        }
        // Credentials may have stood in it, and room that is kept is kept for long.
        text.fill(0);
        list.clear();
        // A thread that ends keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push((text, list));
            }
        });
    }
}

#[cfg(test)]
mod tests;
