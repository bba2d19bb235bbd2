//! The users of one lock.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use postern_config::htpasswd::NAME_BYTES;
use postern_config::policy::Credential;
use postern_config::verifier::{Slow, Verifier, Work, work_of};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::CredentialError;
use super::slow::is_right;

/// Everybody who may open one lock with a password.
#[derive(Debug, Default)]
pub struct Users {
    by_name: HashMap<Box<[u8]>, u32>,
    people: Vec<Person>,
    /// What every check does.
    work: BTreeMap<Work, usize>,
    ids: Vec<Arc<str>>,
}

/// All entries with one name.
#[derive(Debug, Default)]
struct Person {
    /// SHA-256 of passwords.
    quick: Vec<([u8; 32], Vec<u32>)>,
    slow: Vec<(Slow, Vec<u32>)>,
    /// Over the name and the slow verifiers in their order.
    digest: [u8; 32],
}

/// Whose password it was: entries of one [`Users`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    person: u32,
    /// One bit for each different verifier: the quick ones, then the slow ones.
    verifiers: u64,
}

impl Users {
    /// From the credentials of everybody who may open the lock.
    ///
    /// # Errors
    /// [`CredentialError`], from the first that is wrong.
    pub fn compile<'a>(list: impl IntoIterator<Item = &'a Credential>) -> Result<Self, CredentialError> {
        let list: Vec<&Credential> = list.into_iter().collect();
        let mut users = Self::default();
        let mut texts = Vec::<Vec<&str>>::new();
        for (position, credential) in (0..).zip(&list) {
            let name = credential.username.as_str();
            if name.is_empty()
                || name.len() > NAME_BYTES
                || name.contains(|it: char| it == ':' || it.is_ascii_control())
            {
                return Err(CredentialError::Name(credential.id.clone()));
            }
            let verifier = Verifier::parse(&credential.verifier)
                .map_err(|error| CredentialError::Verifier { id: credential.id.clone(), error })?;
            let next = u32::try_from(users.people.len()).unwrap_or(u32::MAX);
            let person = *users.by_name.entry(name.as_bytes().into()).or_insert(next);
            if person == next {
                users.people.push(Person::default());
                texts.push(Vec::new());
            }
            let at = usize::try_from(person).unwrap_or(usize::MAX);
            if let (Some(person), Some(texts)) = (users.people.get_mut(at), texts.get_mut(at))
                && person.add(verifier, position)
            {
                texts.push(&credential.verifier);
            }
            users.ids.push(credential.id.as_str().into());
        }
        // Last, so that a faulty verifier is told by its id.
        users.work = work_of(list.iter().map(|it| (it.username.as_str(), it.verifier.as_str())))?;
        for (name, person) in &users.by_name {
            let at = usize::try_from(*person).unwrap_or(usize::MAX);
            if let (Some(person), Some(texts)) = (users.people.get_mut(at), texts.get(at)) {
                person.digest = digest(name, texts);
            }
        }
        Ok(users)
    }

    /// Whether there is a slow hash among the verifiers.
    pub fn is_slow(&self) -> bool {
        !self.work.is_empty()
    }

    /// Positions in the compiled list.
    pub fn indexes(&self, matched: Matched) -> impl Iterator<Item = usize> + '_ {
        let person = self.person(Some(matched.person));
        let all = person.into_iter().flat_map(Person::positions);
        let chosen = (0_u32..64).zip(all).filter(move |(bit, _)| matched.verifiers & (1_u64 << bit) != 0);
        chosen.flat_map(|(_, positions)| positions.iter().filter_map(|it| usize::try_from(*it).ok()))
    }

    /// [`Credential::id`] of a position.
    pub fn id(&self, position: usize) -> Option<&Arc<str>> {
        self.ids.get(position)
    }

    /// Number of the person with this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// What stands for a name and all its slow verifiers; none if nothing is to be remembered for it.
    pub(super) fn digest(&self, person: Option<u32>) -> Option<&[u8; 32]> {
        self.person(person).filter(|person| !person.slow.is_empty()).map(|person| &person.digest)
    }

    /// Compares with what can be compared at once. `digest`: SHA-256 of the password.
    pub(super) fn check_quick(&self, person: Option<u32>, digest: &[u8; 32]) -> Option<Matched> {
        let quick = self.person(person).map_or(&[][..], |person| &person.quick);
        let mut verifiers = 0_u64;
        for (bit, (known, _)) in (0_u32..64).zip(quick) {
            let bit = u64::conditional_select(&0, &(1_u64 << bit), known.ct_eq(digest));
            verifiers |= bit;
        }
        Matched::some(person, verifiers)
    }

    /// Compares with the slow hashes: the same work for every name, known or not. What fits, as bits in the order
    /// of [`Self::digest`].
    pub(super) fn check_slow(&self, person: Option<u32>, password: &[u8]) -> u64 {
        let nobody = Person::default();
        let who = self.person(person).unwrap_or(&nobody);
        let mut fitting = 0;
        for (work, count) in &self.work {
            let own = (0_u32..64).zip(&who.slow).filter(|(_, (slow, _))| slow.work() == *work);
            let mut done = 0;
            for (bit, (slow, _)) in own {
                done += 1;
                if is_right(slow, password) {
                    fitting |= 1_u64 << bit;
                }
            }
            if done < *count {
                let dummy = work.dummy();
                for _ in done..*count {
                    black_box(is_right(&dummy, black_box(password)));
                }
            }
        }
        fitting
    }

    /// What bits of [`Self::check_slow`] mean.
    pub(super) fn matched(&self, person: Option<u32>, fitting: u64) -> Option<Matched> {
        let quick = u32::try_from(self.person(person)?.quick.len()).ok()?;
        Matched::some(person, fitting.checked_shl(quick).unwrap_or(0))
    }

    fn person(&self, number: Option<u32>) -> Option<&Person> {
        self.people.get(usize::try_from(number?).ok()?)
    }
}

impl Person {
    /// Whether it is a slow verifier that wasn't there.
    fn add(&mut self, verifier: Verifier, position: u32) -> bool {
        match verifier {
            Verifier::Sha256(digest) => {
                match self.quick.iter_mut().find(|(known, _)| *known == digest) {
                    Some((_, positions)) => positions.push(position),
                    None => self.quick.push((digest, vec![position])),
                }
                false
            }
            Verifier::Slow(slow) => {
                if let Some((_, positions)) = self.slow.iter_mut().find(|(known, _)| *known == slow) {
                    positions.push(position);
                    return false;
                }
                self.slow.push((slow, vec![position]));
                true
            }
        }
    }

    fn positions(&self) -> impl Iterator<Item = &Vec<u32>> {
        self.quick.iter().map(|(_, it)| it).chain(self.slow.iter().map(|(_, it)| it))
    }
}

impl Matched {
    fn some(person: Option<u32>, verifiers: u64) -> Option<Self> {
        person.filter(|_| verifiers != 0).map(|person| Self { person, verifiers })
    }
}

/// Each part with its length before it, so that no two lists of parts are one.
fn digest(name: &[u8], verifiers: &[&str]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in std::iter::once(name).chain(verifiers.iter().map(|it| it.as_bytes())) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}
