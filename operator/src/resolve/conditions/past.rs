//! Who gets in past the gateways.

use postern_crds::{ConditionType, Reason};

use super::Verdict;
use crate::plan::{Plan, RoutePlan};
use crate::resolve::backend::some_of;
use crate::resolve::callers;

/// Who gets in past the gateways because a route and the lock say so.
pub(super) fn bypassable(plan: &Plan) -> Option<Verdict> {
    let routes = plan.routes.iter().filter(|route| route.holds() && !route.callers.is_empty());
    let routes: Vec<_> =
        routes.map(|route| format!("ApiRoute {} lets in {}", route.name, names_of(route))).collect();
    (!routes.is_empty()).then(|| {
        let message = format!(
            "callers with a name hold keys of their own and get in past the gateways: {}; if that is not meant, take them out \
             of callers there, or Callers out of accepts",
            some_of(&routes)
        );
        Verdict::new(ConditionType::Bypassable, Some(true), Reason::KeyHeldByCallers, message)
    })
}

/// The callers with a name that a route lets in.
pub(super) fn names_of(route: &RoutePlan) -> String {
    let names: Vec<_> = route.callers.iter().filter_map(|caller| callers::name_of(&caller.name)).collect();
    names.join(", ")
}
