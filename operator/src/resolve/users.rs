//! The users of Basic locks whose author lists them, port by port.

use postern_config::policy::{Access, Credential, Lock, Policy, PortRef};

use crate::inputs::SealedBundle;
use crate::plan::{BasicSource, PortPlan};
use crate::resolve::ports::show;
use crate::resolve::references::References;

/// Fills the users in. Where they can't be had, those that were published last stay; nobody new gets in.
pub fn fill(
    policy: &mut Policy,
    ports: &[PortPlan],
    references: &References,
    deployed: Option<&SealedBundle>,
) {
    for port in &mut policy.ports {
        let plan = ports.iter().find(|plan| plan.port == port.port);
        let basic = plan.and_then(|plan| plan.access.door()).and_then(|door| door.basic());
        let Some(BasicSource::Users { secret }) = basic.map(|basic| &basic.source) else { continue };
        let Some(users) = users(&mut port.access) else { continue };
        *users = match references.users(secret) {
            Some(listed) => listed
                .iter()
                .map(|user| Credential {
                    id: format!("port/{}/user/{}", show(&port.port), user.username),
                    username: user.username.clone(),
                    verifier: user.verifier.clone(),
                })
                .collect(),
            None => published(deployed, &port.port).unwrap_or_default(),
        };
    }
}

fn users(access: &mut Access) -> Option<&mut Vec<Credential>> {
    let Access::Locked { locks } = access else { return None };
    locks.list.iter_mut().find_map(|lock| match lock {
        Lock::Basic { users, .. } => users.as_mut(),
        _ => None,
    })
}

fn published(deployed: Option<&SealedBundle>, port: &PortRef) -> Option<Vec<Credential>> {
    let mut ports = deployed?.bundle.content.policy.ports.iter().filter(|one| one.port == *port);
    users(&mut ports.next()?.access.clone()).cloned()
}
