//! The policy of one lock. What "injected" means comes from [`crate::injection`], the same that the webhook
//! writes; here it becomes comparisons with literals.

mod defects;
mod offences;

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicySpec, Validation, Variable,
};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_config::layout;

pub use defects::accepts;

use super::{Guard, cel, selected};
use crate::injection::InjectionSpec;
use crate::injection::shape::Shape;

/// What the policy demands, and of which requests.
pub(super) fn spec(guard: &Guard) -> ValidatingAdmissionPolicySpec {
    ValidatingAdmissionPolicySpec {
        failure_policy: Some("Fail".to_owned()),
        match_constraints: Some(MatchResources {
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            resource_rules: Some(
                guard
                    .creations
                    .then(|| rule("CREATE", &["pods"]))
                    .into_iter()
                    .chain([rule(
                        "UPDATE",
                        &["pods", "pods/status", "pods/ephemeralcontainers", "pods/resize"],
                    )])
                    .collect(),
            ),
            ..MatchResources::default()
        }),
        variables: Some(variables(guard)),
        validations: Some(validations(guard)),
        ..ValidatingAdmissionPolicySpec::default()
    }
}

fn rule(operation: &str, resources: &[&str]) -> NamedRuleWithOperations {
    NamedRuleWithOperations {
        api_groups: Some(vec![String::new()]),
        api_versions: Some(vec!["v1".to_owned()]),
        operations: Some(vec![operation.to_owned()]),
        resources: Some(resources.iter().map(|&resource| resource.to_owned()).collect()),
        scope: Some("*".to_owned()),
        ..NamedRuleWithOperations::default()
    }
}

fn variables(guard: &Guard) -> Vec<Variable> {
    let spec = InjectionSpec {
        namespace: guard.namespace.clone(),
        trust: defects::TRUST.to_owned(),
        verify_keys: guard.verify_keys.clone(),
        image: String::new(),
        pull_policy: None,
        resources: ResourceRequirements::default(),
        shape: Shape::default(),
    };
    let ours = cel::strings([layout::REDIRECT_CONTAINER, layout::SIDECAR_CONTAINER]);
    let reserved = format!("name.startsWith({})", cel::string(layout::RESERVED_PREFIX));
    let volume = |name: &str| format!("{name}.filter(volume, volume.{reserved})");
    vec![
        variable("init", "dyn(object.spec.?initContainers.orValue([]))"),
        variable("volumes", "dyn(object.spec.?volumes.orValue([]))"),
        // A pod of a lock without redirect begins with the sidecar.
        variable("listens", &defects::listens(guard)),
        variable("redirect", "variables.init.size() > 0 && !variables.listens ? variables.init[0] : dyn({})"),
        variable(
            "sidecar",
            "variables.listens ? variables.init[0] : variables.init.size() > 1 ? variables.init[1] : dyn({})",
        ),
        // For which lock the sidecar is injected: none or one.
        variable("trusts", &defects::trusts(guard, &spec)),
        // How the pod differs from an injected one.
        variable("defects", &defects::defects(guard, &spec)),
        variable("initBefore", "dyn(oldObject.spec.?initContainers.orValue([]))"),
        variable("ours", &format!("variables.init.filter(container, container.name in {ours})")),
        variable("oursBefore", &format!("variables.initBefore.filter(container, container.name in {ours})")),
        variable("ourVolumes", &volume("variables.volumes")),
        variable("ourVolumesBefore", &volume("dyn(oldObject.spec.?volumes.orValue([]))")),
        // The containers that arrive with this request and are not ours.
        variable("strangers", &offences::strangers(&ours)),
        // What they have that would reach around the lock or into the sidecar.
        variable("offences", &offences::offences(guard)),
    ]
}

fn variable(name: &str, expression: &str) -> Variable {
    Variable { name: name.to_owned(), expression: expression.to_owned() }
}

/// Once new pods start without the lock, some that the Binding selects have nothing of ours, and are let alone.
fn validations(guard: &Guard) -> Vec<Validation> {
    let if_behind = if guard.creations { "" } else { "variables.ours.size() == 0\n|| " };
    let lock = format!("BackendTrust {}/{}", guard.namespace, guard.trust);
    let record = cel::string(layout::RECORD_ANNOTATION);
    let annotation = |object: &str| format!("{object}.metadata.?annotations[?{record}]");
    let mut all = vec![
        validation(
            &format!("{if_behind}variables.offences.size() == 0"),
            &format!("{lock} guards this pod, and it has what would reach around the lock"),
            Some(&format!(
                "{} + variables.offences.join('; ') + {}",
                cel::string(&format!(
                    "{lock} guards this pod, and what would reach around the lock is refused: "
                )),
                cel::string(". Leave it out")
            )),
        ),
        // Structure proves little of a pod that exists: before the lock looked at it, images may have been others
        // and rules of the firewall may have gone.
        validation(
            &format!(
                "{if_behind}request.operation != 'UPDATE'\n|| ({})",
                selected::selects(&guard.selector, "oldObject")
            ),
            &format!(
                "pods come under {lock} only when they are created, never by a change of their labels; leave this \
                 pod's labels as they are, and create a pod with the labels that the lock selects"
            ),
            None,
        ),
        validation(
            "request.operation != 'UPDATE'\n\
             || (variables.ours == variables.oursBefore && variables.ourVolumes == variables.ourVolumesBefore\n  \
             && (variables.ours.size() == 0\n    \
             || variables.init.map(container, container.name) == variables.initBefore.map(container, container.name)))",
            &format!(
                "postern-redirect, postern-sidecar and their volumes belong to {lock} and cannot change in a \
                 pod that exists; delete the pod and let its workload create it again"
            ),
            None,
        ),
        validation(
            &format!(
                "request.operation != 'UPDATE' || {} == {}",
                annotation("object"),
                annotation("oldObject")
            ),
            &format!(
                "the annotation {} is signed for this pod and cannot change; delete the pod and let its workload \
                 create it again",
                layout::RECORD_ANNOTATION
            ),
            None,
        ),
    ];
    if guard.creations {
        all.insert(0, injected(&lock));
        all.insert(3, keeps_labels(guard, &lock));
    }
    all
}

fn injected(lock: &str) -> Validation {
    validation(
        "request.operation != 'CREATE' || variables.defects.size() == 0",
        &format!("{lock} guards this pod, but it was not injected"),
        Some(&format!(
            "{} + variables.defects.join(', ') + {}",
            cel::string(&format!(
                "{lock} guards this pod, but it was not injected as it should be (what differs: "
            )),
            cel::string(
                "). Postern's webhook does that when the pod is created: see whether the operator runs, and \
                 create the pod again without parts of Postern's in it"
            )
        )),
    )
}

fn keeps_labels(guard: &Guard, lock: &str) -> Validation {
    validation(
        &format!(
            "request.operation != 'UPDATE'\n\
             || {}.all(key, object.metadata.?labels[?key] == oldObject.metadata.?labels[?key])\n\
             || variables.defects.size() == 0",
            cel::strings(selector_keys(&guard.selector))
        ),
        &format!(
            "this pod was not injected for {lock}, so the labels by which the lock selects cannot change; \
             delete the pod and let its workload create it again"
        ),
        None,
    )
}

fn validation(expression: &str, message: &str, message_expression: Option<&str>) -> Validation {
    Validation {
        expression: expression.to_owned(),
        message: Some(message.to_owned()),
        message_expression: message_expression.map(str::to_owned),
        reason: Some("Forbidden".to_owned()),
    }
}

/// The labels that the selector reads. As long as they stay, so does what it selects; other labels are the
/// workload's own affair, and changing them must work (a database says by one which replica leads).
fn selector_keys(selector: &LabelSelector) -> BTreeSet<&str> {
    let labels = selector.match_labels.iter().flat_map(|labels| labels.keys().map(String::as_str));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| expression.key.as_str());
    labels.chain(expressions).collect()
}
