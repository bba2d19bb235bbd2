//! What a connection is let in by, and whether that still holds under a new configuration.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use postern_config::policy::{Enforcement, Transport};
use rustls_pki_types::UnixTime;

use super::{Connection, Entry};
use crate::authorize::door::{ClientCertificate, Door, Locked};
use crate::authorize::policy::Policy;
use crate::authorize::{Certificate, Permit, Proof, Shown, Standing};
use crate::generation::Generation;
use crate::identify::Caller;
use crate::tls::Admission as _;
use crate::worker::Worker;

/// A configuration that takes over, on its way through the open connections.
pub(crate) struct Sweep<'a> {
    generation: &'a Arc<Generation>,
    before: Option<&'a Policy>,
    now: UnixTime,
    /// Found out once for all connections with the same terms.
    verdicts: HashMap<Key, Option<Rc<Standing>>>,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(generation: &'a Arc<Generation>, before: Option<&'a Policy>, now: UnixTime) -> Self {
        Self { generation, before, now, verdicts: HashMap::new() }
    }

    /// Why a connection may not go on; nothing if the configuration surely lets it be as it is.
    pub(crate) fn objection(&mut self, connection: &Connection) -> Option<&'static str> {
        if !self.allows(connection) {
            return Some("connection closed: the new configuration does not let this caller in");
        }
        connection.is_undermined_by(self.generation, self.before).then_some(
            "connection closed: the new configuration allows this caller less, and a request was in flight",
        )
    }

    fn allows(&mut self, connection: &Connection) -> bool {
        let (terms, generation) = (connection.terms(), self.generation);
        let verdict =
            self.verdicts.entry(terms.key()).or_insert_with(|| terms.standing(generation, self.now));
        let Some(standing) = verdict else { return false };
        if terms.caller.is_some() {
            connection.authorities.set(*generation.gate.authorities.digest());
            connection.standing.replace(Some((Arc::downgrade(generation), Rc::clone(standing))));
        }
        true
    }
}

/// All that the verdict on an open connection depends on, but for what is in flight.
#[derive(Clone, Copy)]
struct Terms<'a> {
    port: u16,
    entry: Entry,
    is_http: bool,
    caller: Option<&'a Caller>,
    /// It has shown a certificate that was not accepted.
    is_unverified: bool,
    /// Under which the caller was identified.
    authorities: [u8; 32],
}

/// [`Terms`] that are told apart; callers by where they lie.
type Key = (u16, Entry, bool, Option<*const Caller>, bool, [u8; 32]);

impl Terms<'_> {
    fn key(&self) -> Key {
        let Self { port, entry, is_http, caller, is_unverified, authorities } = *self;
        (port, entry, is_http, caller.map(std::ptr::from_ref), is_unverified, authorities)
    }

    /// The locks behind which this goes on, if a policy has such a door still.
    fn door<'a>(&self, policy: &'a Policy) -> Option<&'a Locked> {
        let locked = policy.locked(self.port)?;
        let is_taken = match self.entry {
            Entry::Tls => locked.takes_tls(),
            Entry::Plaintext => locked.takes_plaintext(),
            Entry::Bytes | Entry::Paths => false,
        };
        let has_shown = match locked.client_certificate() {
            ClientCertificate::Demanded => self.caller.is_some(),
            // What was shown and not accepted would be refused now.
            ClientCertificate::Requested => !self.is_unverified,
            ClientCertificate::Recorded | ClientCertificate::Unwanted => true,
        };
        (is_taken && has_shown && locked.protocol.is_http() == self.is_http).then_some(locked)
    }

    /// Whose the certificate is under a configuration; nothing if that doesn't let this be.
    fn standing(&self, generation: &Generation, now: UnixTime) -> Option<Rc<Standing>> {
        let gate = &generation.gate;
        match (self.entry, gate.policy.door(self.port)) {
            (Entry::Bytes, door) => return (door == Some(Door::Open)).then(Rc::default),
            (Entry::Paths, door) => return matches!(door, Some(Door::Paths(_))).then(Rc::default),
            (Entry::Tls | Entry::Plaintext, _) => {}
        }
        let locked = self.door(&gate.policy)?;
        let Some(caller) = self.caller else { return Some(Rc::default()) };
        if self.authorities == *gate.authorities.digest() {
            gate.check(caller).ok()?;
        } else {
            // What it was identified by is told to the application, so it must be the same.
            let again = gate.admit(&caller.chain, now).ok()?;
            if again.authorities != caller.authorities {
                return None;
            }
        }
        let standing = gate.policy.standing(self.port, caller);
        let needs_route =
            locked.client_certificate() == ClientCertificate::Demanded && !locked.looks_at_headers();
        (!needs_route || !standing.is_nobodys()).then(|| Rc::new(standing))
    }
}

impl Connection {
    /// Whose its certificate is under a configuration; found out once for each.
    pub(crate) fn standing(&self, generation: &Arc<Generation>) -> Rc<Standing> {
        if let Some((known, standing)) = &*self.standing.borrow()
            && known.as_ptr() == Arc::as_ptr(generation)
        {
            return Rc::clone(standing);
        }
        let policy = &generation.gate.policy;
        let standing = self.caller.as_ref().map(|caller| policy.standing(self.target.port, caller));
        let standing = Rc::new(standing.unwrap_or_default());
        self.standing.replace(Some((Arc::downgrade(generation), Rc::clone(&standing))));
        standing
    }

    /// What it shows of its caller, with what a request shows beside.
    pub(crate) fn shown<'a>(&'a self, standing: &'a Standing, proofs: &'a [Proof]) -> Shown<'a> {
        let certificate = self.certificate(standing);
        let refused = self.unverified.as_ref().map(|refusal| &refusal.denial);
        let transport = if self.entry == Entry::Tls { Transport::TLS } else { Transport::Plaintext };
        Shown { transport, certificate, refused, proofs }
    }

    fn certificate<'a>(&'a self, standing: &'a Standing) -> Option<Certificate<'a>> {
        let caller = self.caller.as_deref()?;
        Some(Certificate { identity: &caller.identity, key: &caller.key, standing })
    }

    /// Notes that something was let in, and by what.
    pub(crate) fn admitted(&self, worker: &Worker, generation: &Generation, permit: &Permit<'_>) {
        if self.routeless.replace(false)
            && let Some(ticket) = &mut *self.ticket.borrow_mut()
        {
            ticket.proven();
        }
        let now = worker.wall();
        for entry in permit.uses() {
            generation.seen.mark(entry, now);
        }
        if permit.would_deny().is_some() {
            return self.spared.set(true);
        }
        let mut grounds = self.grounds.borrow_mut();
        if !grounds.iter().any(|ground| permit.rests_on(ground)) {
            // Those of requests that have ended need not hold any more.
            if self.in_flight.get() <= 1 {
                grounds.clear();
            }
            grounds.extend(permit.ground());
        }
    }

    /// On what terms it came in.
    fn terms(&self) -> Terms<'_> {
        Terms {
            port: self.target.port,
            entry: self.entry,
            is_http: self.is_http(),
            caller: self.caller.as_deref(),
            is_unverified: self.unverified.is_some(),
            authorities: self.authorities.get(),
        }
    }

    /// The locks that it came in by, if a configuration has such a door for it still.
    pub(super) fn door<'a>(&self, generation: &'a Generation) -> Option<&'a Locked> {
        self.terms().door(&generation.gate.policy)
    }

    /// Whether something that is being answered was let in by what a configuration doesn't surely allow any more.
    fn is_undermined_by(&self, generation: &Arc<Generation>, before: Option<&Policy>) -> bool {
        if self.in_flight.get() == 0 {
            self.grounds.borrow_mut().clear();
            self.spared.set(false);
            return false;
        }
        let (policy, port) = (&generation.gate.policy, self.target.port);
        if self.entry == Entry::Paths {
            return !before.is_some_and(|before| policy.keeps_open(before, port));
        }
        let enforces = policy.locked(port).is_some_and(|it| it.enforcement == Enforcement::Enforce);
        if self.spared.get() && enforces {
            return true;
        }
        let standing = self.standing(generation);
        let certificate = self.certificate(&standing);
        enforces && !self.grounds.borrow().iter().all(|ground| ground.holds(policy, port, certificate))
    }

    /// Notes that the key of its certificate is in use still.
    pub(crate) fn mark_use(&self, generation: &Arc<Generation>, now: i64) {
        if let Some(caller) = &self.caller {
            let standing = self.standing(generation);
            let policy = &generation.gate.policy;
            for entry in policy.uses_of_key(self.target.port, &standing, &caller.key) {
                generation.seen.mark(entry, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn terms_that_differ_in_anything_have_verdicts_of_their_own() {
        let terms = Terms {
            port: 1,
            entry: Entry::Tls,
            is_http: true,
            caller: None,
            is_unverified: false,
            authorities: [0; 32],
        };
        let all = [
            terms,
            Terms { port: 2, ..terms },
            Terms { entry: Entry::Plaintext, ..terms },
            Terms { is_http: false, ..terms },
            Terms { is_unverified: true, ..terms },
            Terms { authorities: [1; 32], ..terms },
        ];
        assert_eq!(all.iter().map(Terms::key).collect::<HashSet<_>>().len(), all.len());
    }
}
