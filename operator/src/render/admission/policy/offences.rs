//! What would reach around the lock or into the sidecar, in CEL. [`crate::injection::forbidden`] judges the same.

use postern_config::layout;

use super::super::{Guard, cel};
use crate::injection::forbidden::CAPABILITIES;

/// The containers that arrive with a request and are not ours.
pub(super) fn strangers(ours: &str) -> String {
    format!(
        "request.operation == 'CREATE'\n\
         ? dyn(object.spec.containers) + variables.init.filter(container, !(container.name in {ours}))\n\
         : request.?subResource.orValue('') == 'ephemeralcontainers'\n\
         ? dyn(object.spec.?ephemeralContainers.orValue([])).filter(container,\n    \
         !oldObject.spec.?ephemeralContainers.orValue([]).exists(old, old.name == container.name))\n\
         : dyn([])"
    )
}

/// A list of what they and the pod have.
pub(super) fn offences(guard: &Guard) -> String {
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
