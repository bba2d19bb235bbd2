//! The policy of one lock. What "injected" means comes from [`crate::injection`], the same that the webhook
//! writes; here it becomes comparisons with literals.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec,
    Validation, Variable,
};
use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_config::layout;
use serde_json::{Map, Value};

use super::{Guard, cel, selected};
use crate::injection::InjectionSpec;
use crate::injection::containers;
use crate::injection::forbidden::CAPABILITIES;
use crate::injection::shape::Shape;

/// Stands for the trust where a literal depends on it; no name can hold braces. Always at the end of a string.
const TRUST: &str = "{trust}";

/// Fields that other admission controllers and the API server may set or change: quotas, `AlwaysPullImages`,
/// resizing in place. None of them opens anything.
const FREE_FIELDS: [&str; 3] = ["imagePullPolicy", "resizePolicy", "resources"];

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
        trust: TRUST.to_owned(),
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
        variable("listens", &listens(guard)),
        variable("redirect", "variables.init.size() > 0 && !variables.listens ? variables.init[0] : dyn({})"),
        variable(
            "sidecar",
            "variables.listens ? variables.init[0] : variables.init.size() > 1 ? variables.init[1] : dyn({})",
        ),
        // For which lock the sidecar is injected: none or one.
        variable("trusts", &trusts(guard, &spec)),
        // How the pod differs from an injected one.
        variable("defects", &defects(guard, &spec)),
        variable("initBefore", "dyn(oldObject.spec.?initContainers.orValue([]))"),
        variable("ours", &format!("variables.init.filter(container, container.name in {ours})")),
        variable("oursBefore", &format!("variables.initBefore.filter(container, container.name in {ours})")),
        variable("ourVolumes", &volume("variables.volumes")),
        variable("ourVolumesBefore", &volume("dyn(oldObject.spec.?volumes.orValue([]))")),
        // The containers that arrive with this request and are not ours.
        variable("strangers", &strangers(&ours)),
        // What they have that would reach around the lock or into the sidecar.
        variable("offences", &offences(guard)),
    ]
}

fn variable(name: &str, expression: &str) -> Variable {
    Variable { name: name.to_owned(), expression: expression.to_owned() }
}

fn trusts(guard: &Guard, spec: &InjectionSpec) -> String {
    let args = with_trust(&cel::dynamic(&containers::sidecar_args(spec).into()));
    let listener = InjectionSpec { shape: Shape::listener(), ..spec.clone() };
    let listener = with_trust(&cel::dynamic(&containers::sidecar_args(&listener).into()));
    let names = |listens: bool| {
        let fitting = guard.trusts.iter().filter(move |trust| trust.shape.listens() == listens);
        cel::strings(fitting.map(|trust| &trust.name))
    };
    // A sidecar that listens has no redirect before it.
    let filter = |listens: bool, first: &str, args: &str| {
        let names = names(listens);
        format!("{names}.filter(trust,\n  {first}variables.sidecar.?args.orValue(dyn(null)) == {args})")
    };
    match (any(guard, true), any(guard, false)) {
        (false, _) => filter(false, "", &args),
        (true, false) => filter(true, "variables.listens && ", &listener),
        (true, true) => {
            let redirected = filter(false, "!variables.listens && ", &args);
            format!("{redirected}\n+ {}", filter(true, "variables.listens && ", &listener))
        }
    }
}

/// Whether a pod may be injected for a lock with, or without, a listener.
fn any(guard: &Guard, listens: bool) -> bool {
    guard.trusts.iter().any(|trust| trust.shape.listens() == listens)
}

/// That the pod has the sidecar first, where a lock injects it so.
fn listens(guard: &Guard) -> String {
    if !any(guard, true) {
        return "false".to_owned();
    }
    format!(
        "variables.init.size() > 0 && variables.init[0].?name.orValue('') == {}",
        cel::string(layout::SIDECAR_CONTAINER)
    )
}

/// That the redirect's arguments are those of the lock that the sidecar is injected for; if that is none, of any.
fn redirect_args(guard: &Guard) -> String {
    let mut shapes: BTreeMap<&Shape, Vec<&str>> = BTreeMap::new();
    let redirected = || guard.trusts.iter().filter(|trust| !trust.shape.listens());
    for trust in redirected() {
        shapes.entry(&trust.shape).or_default().push(&trust.name);
    }
    let of_shape = |(shape, names): (&Shape, Vec<&str>)| {
        let args = cel::dynamic(&layout::redirect_args(&shape.udp_ports).into());
        let equal = format!("variables.redirect.?args.orValue(dyn(null)) == {args}");
        if names.len() == redirected().count() {
            return equal;
        }
        let names = cel::strings(names);
        format!("({equal} && variables.trusts.all(trust, trust in {names}))")
    };
    let shapes: Vec<_> = shapes.into_iter().map(of_shape).collect();
    format!("({})", shapes.join(" || "))
}

/// A literal in which the trust is the CEL variable `trust`.
fn with_trust(literal: &str) -> String {
    literal.replace(&format!("{TRUST}'"), "' + trust")
}

/// That a container's image is one of `images`.
fn image_in(images: &[String]) -> String {
    format!(".?image.orValue('') in {}", cel::strings(images))
}

/// Whether a policy of ours lets just these images pass.
pub fn accepts(policy: &ValidatingAdmissionPolicy, images: &[String]) -> bool {
    let mut variables = policy.spec.iter().flat_map(|spec| spec.variables.iter().flatten());
    variables.any(|variable| variable.expression.contains(&image_in(images)))
}

fn defects(guard: &Guard, spec: &InjectionSpec) -> String {
    let redirected = any(guard, false);
    let mut parts = Vec::new();
    let mut extra = Vec::new();
    let ours = [
        ("variables.redirect", containers::redirect(spec), "variables.listens || "),
        ("variables.sidecar", containers::sidecar(spec), ""),
    ];
    for (variable, container, unless) in ours {
        let name = container.name.clone();
        if name == layout::REDIRECT_CONTAINER && !redirected {
            continue;
        }
        let unless = if any(guard, true) { unless } else { "" };
        let fields = compared(&container);
        let image = format!("{unless}{variable}{}", image_in(&guard.images));
        parts.push((image, format!("the image of {name}")));
        for (field, value) in &fields {
            let condition =
                format!("{unless}{variable}.?{field}.orValue(dyn(null)) == {}", cel::dynamic(value));
            parts.push((condition, format!("{field} of {name}")));
        }
        let known: BTreeSet<&str> =
            fields.keys().map(String::as_str).chain(FREE_FIELDS).chain(["args", "image", "name"]).collect();
        extra.push(format!(
            "{variable}.filter(field, !(field in {})).map(field, field + {})",
            cel::strings(known),
            cel::string(&format!(" of {name}"))
        ));
    }
    if redirected {
        let unless = if any(guard, true) { "variables.listens || " } else { "" };
        parts.push((format!("{unless}{}", redirect_args(guard)), "args of postern-redirect".to_owned()));
    }
    parts.push(("variables.trusts.size() == 1".to_owned(), "args of postern-sidecar".to_owned()));
    if any(guard, true) {
        parts.push((
            format!("!variables.listens || {}", names_lead_to_sidecar()),
            "names of ports".to_owned(),
        ));
    }
    for volume in spec.volumes() {
        let value = serde_json::to_value(&volume).unwrap_or_default();
        let literal = with_trust(&cel::dynamic(&value));
        parts.push((
            format!("variables.trusts.exists(trust, variables.volumes.exists(volume, volume == {literal}))"),
            format!("volume {}", volume.name),
        ));
    }
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(condition, name)| format!("  {condition} ? '' : {}", cel::string(&name)))
        .collect();
    let named = |variable: &str, name: &str| {
        format!("variables.{variable}.?name.orValue('') == {}", cel::string(name))
    };
    let in_front = match (any(guard, true), redirected) {
        (false, _) => {
            let redirect = named("redirect", layout::REDIRECT_CONTAINER);
            format!("({redirect} && {})", named("sidecar", layout::SIDECAR_CONTAINER))
        }
        (true, false) => "variables.listens".to_owned(),
        (true, true) => {
            let redirect = named("redirect", layout::REDIRECT_CONTAINER);
            format!("(variables.listens || ({redirect} && {}))", named("sidecar", layout::SIDECAR_CONTAINER))
        }
    };
    // Of a pod that was not injected at all, one thing is worth saying.
    format!(
        "!{in_front}\n? ['the first two init containers']\n: [\n{}\n].filter(part, part != '')\n+ {}",
        parts.join(",\n"),
        extra.join("\n+ ")
    )
}

/// No name of a TCP port leads past the sidecar.
fn names_lead_to_sidecar() -> String {
    let (first, last) = (layout::LISTENER_PORT, layout::LISTENER_PORT + layout::LISTENER_PORTS - 1);
    format!(
        "(dyn(object.spec.containers) + variables.init.filter(one, one.?restartPolicy.orValue('') == 'Always'))\n    \
         .all(container, container.?ports.orValue([]).all(port, !has(port.name) || port.name == ''\n    \
         || port.?protocol.orValue('TCP') != 'TCP' || (port.containerPort >= {first} && port.containerPort <= {last})))"
    )
}

/// The fields of an injected container that must be equal; the arguments are judged by `trusts`.
fn compared(container: &Container) -> Map<String, Value> {
    let mut fields = match serde_json::to_value(container) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    fields.retain(|field, _| {
        !["args", "image", "name"].contains(&field.as_str()) && !FREE_FIELDS.contains(&field.as_str())
    });
    fields
}

fn strangers(ours: &str) -> String {
    format!(
        "request.operation == 'CREATE'\n\
         ? dyn(object.spec.containers) + variables.init.filter(container, !(container.name in {ours}))\n\
         : request.?subResource.orValue('') == 'ephemeralcontainers'\n\
         ? dyn(object.spec.?ephemeralContainers.orValue([])).filter(container,\n    \
         !oldObject.spec.?ephemeralContainers.orValue([]).exists(old, old.name == container.name))\n\
         : dyn([])"
    )
}

fn offences(guard: &Guard) -> String {
    let secret = cel::string(&layout::secret_name(&guard.trust));
    let prefix = cel::string(layout::RESERVED_PREFIX);
    let uid = layout::SIDECAR_UID;
    let untrusted = untrusted(guard);
    let containers = [
        (format!("{untrusted}container.?securityContext.?privileged.orValue(false)"), "is privileged"),
        (
            format!(
                "{untrusted}container.?securityContext.?capabilities.?add.orValue([]).exists(capability,\n    \
                 capability.upperAscii().replace('CAP_', '') in {})",
                cel::strings(CAPABILITIES)
            ),
            "adds a capability that could remove the lock",
        ),
        (
            format!("container.?securityContext.?runAsUser.orValue(-1) == {uid}"),
            "runs as user 15100, which is the sidecar's",
        ),
        (format!("container.name.startsWith({prefix})"), "has a name that is kept for Postern"),
        (
            format!("container.?volumeMounts.orValue([]).exists(mount, mount.name.startsWith({prefix}))"),
            "mounts a volume that is the sidecar's",
        ),
        (
            format!(
                "container.?env.orValue([]).exists(one, one.?valueFrom.?secretKeyRef.?name.orValue('') == {secret})\n  \
                 || container.?envFrom.orValue([]).exists(one, one.?secretRef.?name.orValue('') == {secret})"
            ),
            "reads the lock's Secret",
        ),
        (
            format!("container.?targetContainerName.orValue('').startsWith({prefix})"),
            "targets a container that is Postern's",
        ),
    ];
    let mut lists: Vec<String> = containers
        .into_iter()
        .map(|(condition, words)| {
            let words = cel::string(&format!(" {words}"));
            format!(
                "variables.strangers.filter(container,\n  {condition})\n  .map(container, 'container ' + container.name + {words})"
            )
        })
        .collect();
    lists.push(format!("(request.operation == 'CREATE' ? {} : [])", pod_offences(&untrusted, &secret, uid)));
    lists.join("\n+ ")
}

/// The beginning of a condition that holds for no pod of a lock that says `trustedWorkload: true`.
fn untrusted(guard: &Guard) -> String {
    let mut trusted = guard.trusts.iter().filter(|trust| trust.trusted).map(|trust| &trust.name).peekable();
    match trusted.peek() {
        None => String::new(),
        Some(_) => format!("!variables.trusts.exists(trust, trust in {}) && ", cel::strings(trusted)),
    }
}

/// What the pod as a whole must not have; only looked at when it is created, since none of it can change.
fn pod_offences(untrusted: &str, secret: &str, uid: i64) -> String {
    let set = |unless: &str, field: &str| {
        format!("{unless}object.spec.?{field}.orValue(false) ? 'the pod sets {field}' : ''")
    };
    let volumes = |condition: &str, words: &str| {
        format!(
            "variables.volumes.filter(volume, {condition})\n  .map(volume, 'volume ' + volume.name + {})",
            cel::string(&format!(" {words}"))
        )
    };
    let single = [
        set("", "hostNetwork"),
        set(untrusted, "hostPID"),
        set(untrusted, "shareProcessNamespace"),
        format!(
            "object.spec.?securityContext.?runAsUser.orValue(-1) == {uid} \
             ? 'the pod runs as user {uid}, which is the sidecar\\'s' : ''"
        ),
        "object.spec.?os.?name.orValue('') == 'windows' ? 'the pod is for Windows' : ''".to_owned(),
    ];
    let expected = cel::strings([
        layout::CONFIG_VOLUME,
        layout::RECORD_VOLUME,
        layout::STATE_VOLUME,
        layout::NO_TOKEN_VOLUME,
    ]);
    let named = format!("volume in variables.ourVolumes && !(volume.name in {expected})");
    let reads = format!(
        "volume.name != {} && (volume.?secret.?secretName.orValue('') == {secret}\n    \
         || volume.?projected.?sources.orValue([]).exists(source, source.?secret.?name.orValue('') == {secret}))",
        cel::string(layout::CONFIG_VOLUME)
    );
    format!(
        "[\n  {}\n].filter(offence, offence != '')\n+ {}\n+ {}",
        single.join(",\n  "),
        volumes(&named, "has a name that is kept for Postern"),
        volumes(&reads, "reads the lock's Secret")
    )
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
