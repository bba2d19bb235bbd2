//! Whom a route lets in, as far as the lock accepts it.

use std::collections::BTreeSet;

use postern_config::policy::Caller;
use postern_crds::locks::Accepted;
use postern_crds::{ApiRoute, ConditionType, Reason};

use crate::plan::{BackendPlan, Refusal};
use crate::resolve::ports::show;
use crate::resolve::routes::{Site, accepted};

/// Refuses gateways where the lock accepts none.
pub fn gateways_not_accepted(site: &Site<'_>, route: &ApiRoute) -> Option<Refusal> {
    let refused = !accepts(site, Accepted::Gateways) && !route.spec.gateways.is_empty();
    refused.then(|| {
        let trust = &site.inputs.key.name;
        let message = format!(
            "BackendTrust {trust} accepts no gateways: ask its owner to add Gateways to accepts, or leave gateways out"
        );
        accepted(Reason::NotAcceptedByTrust, message)
    })
}

/// The callers with a name that a route lets in, and what is said of the others. It doesn't close the route for the
/// gateways. `backend`: where the route leads, if that could be resolved.
pub fn callers(
    site: &Site<'_>,
    route: &ApiRoute,
    backend: Option<&BackendPlan>,
) -> (Vec<Caller>, Vec<Refusal>) {
    let wanted: BTreeSet<&String> = route.spec.callers.iter().collect();
    let trust = &site.inputs.key.name;
    if !wanted.is_empty() && !accepts(site, Accepted::Callers) {
        let message = format!(
            "BackendTrust {trust} accepts no callers past the gateways: ask its owner to add Callers to accepts, or leave \
             callers out"
        );
        return (Vec::new(), vec![accepted(Reason::NotAcceptedByTrust, message)]);
    }
    let (mut admitted, mut refusals) = (Vec::new(), Vec::new());
    for name in wanted {
        match (site.callers.callers.get(name), backend) {
            (None, _) => {
                let message = if site.callers.facts.iter().any(|facts| facts.name == *name) {
                    format!(
                        "caller {name} has no certificate that can be told, so it is not let in: see the condition \
                         ResolvedRefs of BackendTrust {trust}"
                    )
                } else {
                    format!(
                        "BackendTrust {trust} has no caller {name}: add it to its callers, or leave it out"
                    )
                };
                refusals.push(Refusal::new(ConditionType::ResolvedRefs, Reason::RefNotFound, message));
            }
            (Some(caller), Some(backend)) if !site.callers.opens(caller, &backend.door) => {
                let message = format!(
                    "caller {name} can't open port {} ({}) with what BackendTrust {trust} knows it by: add the certificates or \
                     credentials that the locks ask for, or another lock beside them in any",
                    show(&backend.port),
                    backend.door
                );
                refusals.push(accepted(Reason::LockNotPossible, message));
            }
            (Some(caller), Some(_)) => admitted.push(caller.clone()),
            (Some(_), None) => {}
        }
    }
    (admitted, refusals)
}

/// Whether the lock accepts this kind; absent, it accepts gateways alone.
fn accepts(site: &Site<'_>, kind: Accepted) -> bool {
    let accepts = site.inputs.trust.iter().flat_map(|trust| &trust.spec.accepts);
    let mut accepts = accepts.peekable();
    if accepts.peek().is_none() { kind == Accepted::Gateways } else { accepts.any(|one| *one == kind) }
}
