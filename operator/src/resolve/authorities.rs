//! Who vouches for the certificates of callers.

use postern_config::policy::{Authority, AuthorityKind, Policy};
use postern_crds::authorities::{AuthorityType, ClientAuthority, DataKeyRef};
use postern_crds::{BackendTrust, ConditionType, Reason};

use crate::inputs::Inputs;
use crate::pki::foreign;
use crate::plan::Refusal;
use crate::resolve::policy::AUTHORITY;
use crate::resolve::{documents, revoked};
use crate::settings::{Floor, Permission};

/// `spec.clientAuthorities`, judged.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// For the policy. Postern's own is always there, for the admin endpoint at least.
    pub list: Vec<Authority>,
    /// What is wrong; those authorities vouch for whom they vouched before, or for nobody.
    pub refusals: Vec<Refusal>,
}

impl Authorities {
    /// Whether the gateways' keys count.
    pub fn believes_postern(&self) -> bool {
        self.has(AUTHORITY)
    }

    /// Whether there is an authority of this name that callers' certificates may be bound to.
    pub fn has(&self, name: &str) -> bool {
        self.list.iter().any(|one| one.name == name && !one.admin_only)
    }
}

/// The references in `spec.clientAuthorities`.
pub fn named(trust: &BackendTrust) -> impl Iterator<Item = &DataKeyRef> {
    trust.spec.client_authorities.iter().filter_map(|one| one.bundle_ref.as_ref())
}

/// Judges `spec.clientAuthorities`.
pub fn resolve(inputs: &Inputs, trust: &BackendTrust, floor: &Floor) -> Authorities {
    let wanted = &trust.spec.client_authorities;
    let previous = inputs.published().map(|content| &content.policy);
    let believed = wanted.is_empty() || wanted.iter().any(|one| one.type_ == AuthorityType::Postern);
    let mut list = vec![postern(inputs, !believed)];
    let mut refusals = Vec::new();
    for authority in wanted.iter().filter(|one| one.type_ != AuthorityType::Postern) {
        if floor.foreign_authorities == Permission::Deny {
            let message = format!(
                "clientAuthorities has {}, and the platform's administrator forbids authorities beside Postern's \
                 (floor.foreignAuthorities in the chart's values), so it vouches for nobody: take it out",
                authority.name
            );
            refusals.push(Refusal::new(ConditionType::Accepted, Reason::BelowFloor, message));
            continue;
        }
        match foreign(inputs, authority) {
            Ok(one) => list.push(one),
            Err(refusal) => {
                refusals.push(refusal);
                list.extend(known(previous, &authority.name));
            }
        }
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Authorities { list, refusals }
}

/// Postern's own client CA.
pub fn postern(inputs: &Inputs, admin_only: bool) -> Authority {
    Authority {
        name: AUTHORITY.to_owned(),
        kind: AuthorityKind::Postern,
        roots: inputs.authorities.client_roots_pem.clone(),
        admin_only,
        ..Authority::default()
    }
}

/// What an authority was before, of the same kind.
fn known(previous: Option<&Policy>, name: &str) -> Option<Authority> {
    let mut all = previous.into_iter().flat_map(|policy| &policy.authorities);
    all.find(|one| one.name == name && one.kind == AuthorityKind::Bundle).cloned()
}

fn foreign(inputs: &Inputs, authority: &ClientAuthority) -> Result<Authority, Refusal> {
    let name = authority.name.clone();
    if let Some(pin) = &authority.pin {
        let mut pins: Vec<_> = pin.sha256.iter().map(|text| revoked::fingerprint(text)).collect();
        pins.sort();
        pins.dedup();
        return Ok(Authority { name, kind: AuthorityKind::Pin, pins, ..Authority::default() });
    }
    let place = format!("clientAuthorities has {name}");
    let otherwise = "whom it vouched for before, it still does, and for nobody else";
    let Some(reference) = &authority.bundle_ref else {
        let message = format!("{place} without bundleRef, so it vouches for nobody: add it");
        return Err(Refusal::new(ConditionType::ResolvedRefs, Reason::RefNotFound, message));
    };
    let bytes = documents::read(inputs, reference, &place, otherwise)?;
    let roots = foreign::roots(bytes, inputs.now).map_err(|why| {
        let object = documents::name(inputs, reference);
        let message = format!(
            "{place}: {} in {object} {why}; {otherwise}, and a change is noticed within a minute",
            reference.key
        );
        Refusal::new(ConditionType::ResolvedRefs, Reason::InvalidBundle, message)
    })?;
    Ok(Authority { name, kind: AuthorityKind::Bundle, roots, ..Authority::default() })
}
