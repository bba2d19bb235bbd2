//! What a connection is let in by, and whether that still holds under a new configuration.

use std::rc::Rc;
use std::sync::Arc;

use postern_config::policy::{Enforcement, Transport};
use rustls_pki_types::UnixTime;

use super::{Connection, Entry};
use crate::authorize::door::{ClientCertificate, Door, Locked};
use crate::authorize::policy::Policy;
use crate::authorize::{Certificate, Permit, Proof, Shown, Standing};
use crate::generation::Generation;
use crate::tls::Admission as _;
use crate::worker::Worker;

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

    /// The locks that it came in by, if a configuration has such a door for it still.
    pub(super) fn door<'a>(&self, generation: &'a Generation) -> Option<&'a Locked> {
        let locked = generation.gate.policy.locked(self.target.port)?;
        let is_taken = match self.entry {
            Entry::Tls => locked.takes_tls(),
            Entry::Plaintext => locked.takes_plaintext(),
            Entry::Bytes | Entry::Paths => false,
        };
        let has_shown = match locked.client_certificate() {
            ClientCertificate::Demanded => self.caller.is_some(),
            // What was shown and not accepted would be refused now.
            ClientCertificate::Requested => self.unverified.is_none(),
            ClientCertificate::Recorded | ClientCertificate::Unwanted => true,
        };
        (is_taken && has_shown && locked.protocol.is_http() == self.is_http()).then_some(locked)
    }

    /// Whether a configuration still lets this connection be.
    pub(crate) fn is_allowed_by(&self, generation: &Arc<Generation>, now: UnixTime) -> bool {
        let gate = &generation.gate;
        match (self.entry, gate.policy.door(self.target.port)) {
            (Entry::Bytes, door) => return door == Some(Door::Open),
            (Entry::Paths, door) => return matches!(door, Some(Door::Paths(_))),
            (Entry::Tls | Entry::Plaintext, _) => {}
        }
        let Some(locked) = self.door(generation) else { return false };
        let Some(caller) = &self.caller else { return true };
        if self.authorities.get() == *gate.authorities.digest() {
            if gate.check(caller).is_err() {
                return false;
            }
        } else {
            // What it was identified by is told to the application, so it must be the same.
            match gate.admit(&caller.chain, now) {
                Ok(again) if again.authorities == caller.authorities => {}
                _ => return false,
            }
            self.authorities.set(*gate.authorities.digest());
        }
        let needs_route =
            locked.client_certificate() == ClientCertificate::Demanded && !locked.looks_at_headers();
        !(needs_route && self.standing(generation).is_nobodys())
    }

    /// Whether something that is being answered was let in by what a configuration doesn't surely allow any more.
    pub(crate) fn is_undermined_by(&self, generation: &Arc<Generation>, before: Option<&Policy>) -> bool {
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
