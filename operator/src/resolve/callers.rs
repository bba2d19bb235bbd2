//! Callers with a name, and the tenant that they belong to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_config::dn::DistinguishedName;
use postern_config::policy::{Caller, CertificateMatch, Credential, Mode, Require, SanKind};
use postern_crds::authorities::DataKeyRef;
use postern_crds::callers::{CallerCertificate, NamedCaller, SanType};
use postern_crds::{BackendTrust, ConditionType, Reason};

use crate::inputs::Inputs;
use crate::pki::foreign;
use crate::plan::{BasicSource, CallerFacts, Door, DoorLock, OwnCredential, Refusal};
use crate::resolve::authorities::Authorities;
use crate::resolve::references::References;
use crate::resolve::routes::earliest;
use crate::resolve::{documents, revoked};

/// `spec.callers` and `spec.tenant`, judged.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// Those that can be told, by name, as the policy has them ([`policy_name`]).
    pub callers: BTreeMap<String, Caller>,
    /// By the policy's name: credentials of which the verifier is yet to be made.
    pub credentials: BTreeMap<String, OwnCredential>,
    /// All of them, for status.
    pub facts: Vec<CallerFacts>,
    /// The tenant's certificates.
    pub tenant: Vec<CertificateMatch>,
    /// What is wrong.
    pub refusals: Vec<Refusal>,
}

/// The references in `spec.callers` and `spec.tenant`.
pub fn named(trust: &BackendTrust) -> impl Iterator<Item = &DataKeyRef> {
    let callers = trust.spec.callers.iter().flat_map(|caller| &caller.certificates);
    let tenant = trust.spec.tenant.iter().flat_map(|tenant| &tenant.certificates);
    callers.chain(tenant).filter_map(|one| one.certificate_ref.as_ref())
}

/// A caller as the policy names it.
pub fn policy_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The name of the caller that the policy names so, if it is one with a name.
pub fn name_of(policy_name: &str) -> Option<&str> {
    policy_name.strip_prefix(PREFIX)
}

const PREFIX: &str = "caller/";

/// Judges `spec.callers` and `spec.tenant`.
pub fn resolve(
    inputs: &Inputs,
    trust: &BackendTrust,
    authorities: &Authorities,
    references: &References,
) -> Callers {
    let mut judged = Callers::default();
    let mut users: BTreeMap<String, &str> = BTreeMap::new();
    for caller in &trust.spec.callers {
        if !judged.facts.iter().any(|known| known.name == caller.name) {
            judged.add(inputs, authorities, references, caller, &mut users);
        }
    }
    for certificate in trust.spec.tenant.iter().flat_map(|tenant| &tenant.certificates) {
        match read(inputs, authorities, certificate, "tenant") {
            Ok((matcher, _)) => judged.tenant.push(matcher),
            Err(refusal) => judged.refusals.push(refusal),
        }
    }
    judged
}

impl Callers {
    fn add<'a>(
        &mut self,
        inputs: &Inputs,
        authorities: &Authorities,
        references: &References,
        caller: &'a NamedCaller,
        users: &mut BTreeMap<String, &'a str>,
    ) {
        let place = format!("callers has {}", caller.name);
        let (mut certificates, mut not_after) = (Vec::new(), None);
        for certificate in &caller.certificates {
            match read(inputs, authorities, certificate, &place) {
                Ok((matcher, end)) => {
                    certificates.push(matcher);
                    not_after = earliest(not_after, end);
                }
                Err(refusal) => self.refusals.push(refusal),
            }
        }
        let fingerprints = certificates.iter().filter_map(|certificate| match certificate {
            CertificateMatch::Fingerprint { sha256 } => Some(sha256.clone()),
            _ => None,
        });
        let mut sha256: Vec<String> = fingerprints.collect();
        sha256.sort();
        sha256.dedup();
        self.facts.push(CallerFacts { name: caller.name.clone(), sha256, not_after });
        // Without the certificates that it has, a caller would be one whom the tenant's does for.
        if certificates.is_empty() && !caller.certificates.is_empty() {
            return;
        }
        let name = policy_name(&caller.name);
        let mut credentials = Vec::new();
        if let Some(reference) = &caller.credentials_ref {
            match references.credential(&reference.name) {
                None => credentials = published(inputs, &name),
                Some(own) => {
                    // One name of two people would be one person with two passwords.
                    if let Some(other) = users.get(&own.username) {
                        self.refusals.push(Refusal::new(
                            ConditionType::ResolvedRefs,
                            Reason::InvalidSecret,
                            format!(
                                "{place}, with the user name in Secret {}/{}, which caller {other} has too, so its \
                                 credentials let nobody in: give each caller a user name of its own",
                                inputs.key.namespace, reference.name
                            ),
                        ));
                    } else {
                        users.insert(own.username.clone(), caller.name.as_str());
                        self.credentials.insert(name.clone(), own.clone());
                    }
                }
            }
        }
        let policy = Caller { name, certificates, credentials, header_values: Vec::new() };
        self.callers.insert(caller.name.clone(), policy);
    }

    /// Whether a caller has what opens a door.
    pub fn opens(&self, caller: &Caller, door: &Door) -> bool {
        let certificate = !caller.certificates.is_empty();
        let credentials = !caller.credentials.is_empty() || self.credentials.contains_key(&caller.name);
        let opens = |lock: &DoorLock| match lock {
            DoorLock::MutualTLS => certificate,
            DoorLock::Basic(basic) => credentials || matches!(basic.source, BasicSource::Users { .. }),
            DoorLock::Header(_) => false,
            DoorLock::Caller(plan) => {
                certificate || (credentials && (plan.mode == Mode::Default || !self.tenant.is_empty()))
            }
        };
        match door.require {
            Require::All => door.locks.iter().all(opens),
            Require::Any => door.locks.iter().any(opens),
        }
    }
}

/// What a caller's credentials were before; of a Secret that can't be had, they stay.
fn published(inputs: &Inputs, policy_name: &str) -> Vec<Credential> {
    let routes = inputs.published().into_iter().flat_map(|content| &content.policy.routes);
    let mut callers = routes.flat_map(|route| &route.callers);
    callers
        .find(|caller| caller.name == policy_name)
        .map(|caller| caller.credentials.clone())
        .unwrap_or_default()
}

/// A certificate as the policy has it, and when it ends, if that can be known.
fn read(
    inputs: &Inputs,
    authorities: &Authorities,
    certificate: &CallerCertificate,
    place: &str,
) -> Result<(CertificateMatch, Option<Timestamp>), Refusal> {
    let refusal = |reason, message| Refusal::new(ConditionType::ResolvedRefs, reason, message);
    let invalid = |message| refusal(Reason::InvalidCertificate, message);
    if let Some(sha256) = &certificate.sha256 {
        return Ok((CertificateMatch::Fingerprint { sha256: revoked::fingerprint(sha256) }, None));
    }
    if let Some(reference) = &certificate.certificate_ref {
        let bytes = documents::read(inputs, reference, place, "this certificate lets nobody in")?;
        let object = || format!("{place}: {} in {}", reference.key, documents::name(inputs, reference));
        let read = foreign::certificate(bytes).map_err(|why| {
            invalid(format!(
                "{} {why}; until then it lets nobody in, and a change is noticed within a minute",
                object()
            ))
        })?;
        if read.not_after <= inputs.now {
            let message = format!("{} ended at {}: write the caller's present one", object(), read.not_after);
            return Err(invalid(message));
        }
        return Ok((CertificateMatch::Fingerprint { sha256: read.sha256 }, Some(read.not_after)));
    }
    let authority = certificate.authority.clone().unwrap_or_default();
    if !authorities.has(&authority) {
        let message = format!(
            "{place}, with a certificate of authority {authority:?}, which doesn't vouch for callers of this lock, so it lets \
             nobody in: add it to clientAuthorities, put right what is said of it there, or correct the name"
        );
        return Err(refusal(Reason::RefNotFound, message));
    }
    if let Some(subject) = &certificate.subject {
        DistinguishedName::parse(subject)
            .map_err(|error| invalid(format!("{place}, with a subject that is none by RFC 4514: {error}")))?;
        return Ok((CertificateMatch::Subject { authority, subject: subject.clone() }, None));
    }
    let san = certificate.san.as_ref().ok_or_else(|| {
        invalid(format!(
            "{place}, with a certificate of which nothing is known: write sha256, certificateRef, subject or san"
        ))
    })?;
    let kind = match san.type_ {
        SanType::DNS => SanKind::DNS,
        SanType::URI => SanKind::URI,
        SanType::Email => SanKind::Email,
    };
    if !kind.can_hold(&san.value) {
        let message =
            format!("{place}, with {:?}, which no certificate can hold as its {kind:?} name", san.value);
        return Err(invalid(format!("{message}: correct it")));
    }
    Ok((CertificateMatch::San { authority, kind, value: san.value.clone() }, None))
}

#[cfg(test)]
mod tests;
