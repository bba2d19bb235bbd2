//! When credentials are made, staged, handed over and forgotten. Generated ones go by the clock, those of the lock's
//! author by what they wrote.

use jiff::{SignedDuration, Timestamp};

use crate::inputs::{Credentials, KeyCredentials, SecretText};
use crate::plan::{
    BasicSpec, CredentialsPlan, CredentialsReason, CredentialsSpec, CredentialsStep, HeaderSpec,
    OwnCredential,
};
use crate::resolve::leaves::{Clock, Published};
use crate::resolve::stages::{Stage, Step};

#[cfg(test)]
mod tests;

/// What a door asks a gateway for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A credential.
    pub basic: Part<OwnCredential>,
    /// A value in a header of this name.
    pub header: Part<SecretText>,
    /// The header's name.
    pub header_name: String,
}

/// Where a part of it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part<T> {
    /// Not asked for.
    #[default]
    No,
    /// The operator makes it.
    Generated,
    /// The lock's author wrote it.
    Own(T),
    /// The lock's author names what can't be had: what is there stays.
    Unresolved,
}

impl<T> Part<T> {
    const fn is_wanted(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// Asked for, to be had, and not there.
    const fn lacks<U>(&self, there: Option<&U>) -> bool {
        matches!(self, Self::Generated | Self::Own(_)) && there.is_none()
    }
}

/// Decides. `username`: of a generated credential. The second value is when the clock changes the answer.
pub fn decide(
    clock: &Clock<'_>,
    wanted: &Wanted,
    username: &str,
    existing: Option<&KeyCredentials>,
    published: &Published<'_>,
) -> (CredentialsPlan, Option<Timestamp>) {
    let wanting = Wanting { clock, wanted, username };
    let (step, again_at) = wanting.step(existing, published);
    let header = wanted.header.is_wanted().then(|| wanted.header_name.clone());
    (CredentialsPlan { basic: wanted.basic.is_wanted(), header, step }, again_at)
}

struct Wanting<'a> {
    clock: &'a Clock<'a>,
    wanted: &'a Wanted,
    username: &'a str,
}

impl Wanting<'_> {
    fn step(
        &self,
        existing: Option<&KeyCredentials>,
        published: &Published<'_>,
    ) -> (CredentialsStep, Option<Timestamp>) {
        let Self { clock, wanted, .. } = self;
        let none = KeyCredentials::default();
        let KeyCredentials { current, next, previous } = existing.unwrap_or(&none);
        let lacks_basic = wanted.basic.lacks(current.as_ref().and_then(|current| current.basic.as_ref()));
        let lacks_header = wanted.header.lacks(current.as_ref().and_then(|current| current.header.as_ref()));
        if lacks_basic || lacks_header {
            // What opens another lock of the door goes on doing so.
            let revision = current.as_ref().map_or(1, |current| current.revision);
            let spec = CredentialsSpec {
                revision,
                basic: if lacks_basic { self.basic() } else { Some(BasicSpec::Keep) },
                header: if lacks_header { self.header() } else { Some(HeaderSpec::Keep) },
                reason: CredentialsReason::Missing,
            };
            return (CredentialsStep::Issue(spec), Some(clock.now));
        }
        let Some(current) =
            current.as_ref().filter(|_| wanted.basic.is_wanted() || wanted.header.is_wanted())
        else {
            return (CredentialsStep::Keep, None);
        };
        let overlap_end = previous.as_ref().map(|previous| clock.overlap_ends(previous.drop_after));
        let stage = Stage { now: clock.now, overlap: clock.lifetimes.overlap, overlap_end };
        let (step, again_at) = match (next, self.reason(next.as_ref().unwrap_or(current))) {
            (_, Some(reason)) => {
                return (CredentialsStep::StageNext(self.spec(current, reason)), Some(clock.now));
            }
            (Some(next), None) => {
                stage.with_next(published.credentials_everywhere(&next.verifiers()), self.forced(current))
            }
            (None, None) => stage.without_next(self.again_at(current)),
        };
        let step = match step {
            Step::Keep => CredentialsStep::Keep,
            Step::Promote { drop_previous_after } => CredentialsStep::PromoteNext { drop_previous_after },
            Step::DropPrevious => CredentialsStep::DropPrevious,
        };
        (step, Some(again_at))
    }

    /// Why what is there must be replaced, if it must.
    fn reason(&self, held: &Credentials) -> Option<CredentialsReason> {
        let basic = held.basic.as_ref().is_some_and(|basic| match &self.wanted.basic {
            Part::Generated => basic.own,
            Part::Own(own) => basic.username != own.username || basic.password != own.password,
            Part::No | Part::Unresolved => false,
        });
        let header = held.header.as_ref().is_some_and(|header| match &self.wanted.header {
            Part::Generated => header.own,
            Part::Own(own) => header.value != *own,
            Part::No | Part::Unresolved => false,
        });
        let wish = self.clock.requested_at.filter(|at| *at <= self.clock.now);
        if basic || header {
            Some(CredentialsReason::Changed)
        } else if !self.generates() {
            None
        } else if wish.is_some_and(|at| held.issued_at.as_second() < at.as_second()) {
            Some(CredentialsReason::Requested)
        } else if self.renewal_time(held) <= self.clock.now {
            Some(CredentialsReason::Expiring)
        } else {
            None
        }
    }

    fn generates(&self) -> bool {
        self.wanted.basic == Part::Generated || self.wanted.header == Part::Generated
    }

    /// As a certificate's: when a third of the life is left.
    fn renewal_time(&self, held: &Credentials) -> Timestamp {
        after(held.issued_at, self.clock.lifetimes.credential / 3 * 2)
    }

    /// As a certificate's: when a tenth of the life is left.
    fn forced(&self, held: &Credentials) -> Timestamp {
        after(held.issued_at, self.clock.lifetimes.credential / 10 * 9)
    }

    /// When [`Self::reason`] changes by the clock alone.
    fn again_at(&self, held: &Credentials) -> Timestamp {
        let wish = self.clock.requested_at.filter(|at| *at > self.clock.now);
        let renewal = self.renewal_time(held);
        wish.map_or(renewal, |wish| wish.min(renewal))
    }

    fn spec(&self, current: &Credentials, reason: CredentialsReason) -> CredentialsSpec {
        // What the author has not changed is not made anew because of what they have.
        let changed = reason == CredentialsReason::Changed;
        let keep_basic = changed && current.basic.as_ref().is_some_and(|basic| !basic.own);
        let keep_header = changed && current.header.as_ref().is_some_and(|header| !header.own);
        let basic = match self.basic() {
            Some(BasicSpec::Generate { .. }) if keep_basic => Some(BasicSpec::Keep),
            basic => basic,
        };
        let header = match self.header() {
            Some(HeaderSpec::Generate) if keep_header => Some(HeaderSpec::Keep),
            header => header,
        };
        CredentialsSpec { revision: current.revision.saturating_add(1), basic, header, reason }
    }

    fn basic(&self) -> Option<BasicSpec> {
        match &self.wanted.basic {
            Part::No => None,
            Part::Generated => Some(BasicSpec::Generate { username: self.username.to_owned() }),
            Part::Own(own) => Some(BasicSpec::Own(own.clone())),
            Part::Unresolved => Some(BasicSpec::Keep),
        }
    }

    fn header(&self) -> Option<HeaderSpec> {
        match &self.wanted.header {
            Part::No => None,
            Part::Generated => Some(HeaderSpec::Generate),
            Part::Own(own) => Some(HeaderSpec::Own(own.clone())),
            Part::Unresolved => Some(HeaderSpec::Keep),
        }
    }
}

fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}
