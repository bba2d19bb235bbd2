//! How a pod differs from an injected one, in CEL. [`crate::injection::structure`] judges the same.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::Container;
use postern_config::layout;
use serde_json::{Map, Value};

use super::super::{Guard, cel};
use crate::injection::InjectionSpec;
use crate::injection::containers;
use crate::injection::shape::Shape;

/// Stands for the trust where a literal depends on it; no name can hold braces. Always at the end of a string.
pub(super) const TRUST: &str = "{trust}";

/// Fields that other admission controllers and the API server may set or change: quotas, `AlwaysPullImages`,
/// resizing in place. None of them opens anything.
const FREE_FIELDS: [&str; 3] = ["imagePullPolicy", "resizePolicy", "resources"];

/// For which lock the sidecar is injected: a list of none or one.
pub(super) fn trusts(guard: &Guard, spec: &InjectionSpec) -> String {
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
pub(super) fn listens(guard: &Guard) -> String {
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

/// A list of the parts that differ.
pub(super) fn defects(guard: &Guard, spec: &InjectionSpec) -> String {
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
