use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::forbidden::{self, Forbidden};
use super::structure::{Accepted, Defect, Guarded};
use super::*;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(crate) fn spec(trust: &str) -> InjectionSpec {
    InjectionSpec {
        namespace: "shop".to_owned(),
        trust: trust.to_owned(),
        verify_keys: vec![KEY.to_owned()],
        image: "postern/sidecar:2".to_owned(),
        pull_policy: Some("IfNotPresent".to_owned()),
        resources: serde_json::from_value(json!({
            "requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"},
        }))
        .unwrap(),
        shape: Shape::default(),
    }
}

pub(crate) fn accepted() -> Accepted {
    Accepted {
        current_image: "postern/sidecar:2".to_owned(),
        previous_image: Some("postern/sidecar:1".to_owned()),
        verify_keys: vec![KEY.to_owned()],
    }
}

/// A pod as it comes out of the API server after injection for `trust`.
pub(crate) fn guarded_pod(trust: &str) -> Value {
    let spec = spec(trust);
    let mut init = serde_json::to_value(spec.containers()).unwrap();
    init.as_array_mut().unwrap().push(json!({"name": "migrate", "image": "app"}));
    let mut volumes = serde_json::to_value(spec.volumes()).unwrap();
    volumes.as_array_mut().unwrap().push(json!({"name": "data", "emptyDir": {}}));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "orders-1", "namespace": "shop", "labels": {"app": "orders"}},
        "spec": {
            "initContainers": init,
            "containers": [{"name": "app", "image": "app", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": volumes,
        },
    })
}

/// `pod` with the value at a JSON pointer set, or removed where it is `null`; parents must exist.
pub(crate) fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = &key.replace("~1", "/");
    match pod.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}: no parent")) {
        Value::Object(map) if value.is_null() => drop(map.remove(key)),
        Value::Object(map) => drop(map.insert(key.to_owned(), value)),
        Value::Array(list) if value.is_null() => drop(list.remove(key.parse().unwrap())),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer}: no parent"),
    }
    pod
}

fn judge(pod: Value) -> Result<Guarded, Defect> {
    accepted().guarded_by(&serde_json::from_value::<Pod>(pod).unwrap())
}

#[test]
fn what_is_injected_is_as_in_the_golden_file() {
    let spec = spec("orders");
    let actual =
        serde_yaml::to_string(&json!({"initContainers": spec.containers(), "volumes": spec.volumes()}))
            .unwrap();
    golden("src/testdata/injection/injected.yaml", &actual);
}

/// Compares with a file of the crate; `UPDATE_GOLDEN=1` writes it.
pub(crate) fn golden(path: &str, actual: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(expected.as_str(), actual);
    assert!(
        expected == actual,
        "{} differs; UPDATE_GOLDEN=1 writes it anew:\n{}",
        path.display(),
        diff.unified_diff()
    );
}

#[test]
fn an_injected_pod_is_guarded_by_its_trust() {
    let guarded =
        |current_image| Ok(Guarded { trust: "orders".to_owned(), current_image, shape: Shape::default() });
    assert_eq!(judge(guarded_pod("orders")), guarded(true));
    let mut pod = guarded_pod("orders");
    for (case, pointer, value, current) in [
        (
            "quota changed resources",
            "/spec/initContainers/1/resources",
            json!({"limits": {"cpu": "2"}}),
            true,
        ),
        ("pull policy", "/spec/initContainers/0/imagePullPolicy", json!("Always"), true),
        ("resize policy", "/spec/initContainers/1/resizePolicy", json!([]), true),
        ("previous redirect", "/spec/initContainers/0/image", json!("postern/sidecar:1"), false),
        ("previous sidecar", "/spec/initContainers/1/image", json!("postern/sidecar:1"), false),
    ] {
        pod = with(pod, pointer, value);
        assert_eq!(judge(pod.clone()), guarded(current), "{case}");
    }
}

/// As [`guarded_pod`], without a redirect.
fn listening_pod() -> Value {
    let pod = with(guarded_pod("orders"), "/spec/initContainers/0", Value::Null);
    let pod = with(pod, "/spec/initContainers/0/args/-", json!("--listener"));
    with(
        pod,
        "/spec/containers/0/ports",
        json!([{"name": "http", "containerPort": 15200}, {"containerPort": 8080}]),
    )
}

#[test]
fn a_pod_without_a_redirect_is_guarded_if_its_sidecar_listens_and_all_names_lead_there() {
    let shape = judge(listening_pod()).unwrap().shape;
    assert_eq!(shape, Shape::listener());
    let name = json!({"name": "http", "containerPort": 8080});
    assert_eq!(judge(with(listening_pod(), "/spec/containers/0/ports/0", name)), Err(Defect::Names));
    let udp = json!({"name": "dns", "containerPort": 53, "protocol": "UDP"});
    assert!(judge(with(listening_pod(), "/spec/containers/0/ports/-", udp)).is_ok());
    let args = Defect::Container { container: layout::SIDECAR_CONTAINER, field: "args" };
    let without = with(listening_pod(), "/spec/initContainers/0/args/4", Value::Null);
    assert_eq!(judge(without), Err(args.clone()), "a redirect that is missing");
    let redirected = with(guarded_pod("orders"), "/spec/initContainers/1/args/-", json!("--listener"));
    assert_eq!(judge(redirected), Err(args), "a redirect, and a sidecar that nothing is redirected to");
}

#[test]
fn a_pod_of_another_shape_is_guarded_and_its_shape_told() {
    let args = "/spec/initContainers/0/args";
    for (ports, told) in [
        (json!(["redirect", "--udp-port=53"]), Some(vec![53])),
        (json!(["redirect", "--udp-port=53", "--udp-port=514"]), Some(vec![53, 514])),
        (json!(["redirect", "--udp-port=514", "--udp-port=53"]), None),
        (json!(["redirect", "--udp-port=53", "--udp-port=x"]), None),
        (json!(["redirect", "--udp-port=053"]), None),
        (json!(["redirect", "--other"]), None),
    ] {
        let judged = judge(with(guarded_pod("orders"), args, ports.clone()));
        let ports_told = judged.ok().map(|guarded| guarded.shape.udp_ports.into_iter().collect::<Vec<_>>());
        assert_eq!(ports_told, told, "{ports}");
    }
}

#[test]
#[allow(clippy::too_many_lines)] // one table
fn any_other_structure_is_not_guarded() {
    let differs = |container, field| Defect::Container { container, field };
    let image = |container| Defect::Image { container, image: "evil".to_owned() };
    let (redirect, sidecar) = (layout::REDIRECT_CONTAINER, layout::SIDECAR_CONTAINER);
    let (r, s) = ("/spec/initContainers/0", "/spec/initContainers/1");
    let mut swapped = guarded_pod("orders");
    swapped["spec"]["initContainers"].as_array_mut().unwrap().swap(0, 1);
    let mut late = guarded_pod("orders");
    late["spec"]["initContainers"].as_array_mut().unwrap().rotate_right(1);
    let other_key = json!(["guard", "--namespace=shop", "--trust=orders", "--verify-key=B"]);
    let twice =
        json!(["guard", "--namespace=shop", "--trust=orders", format!("--verify-key={KEY}"), "--trust=weak"]);
    for (case, pod, expected) in [
        ("swapped", swapped, Defect::NotInjected),
        ("behind another", late, Defect::NotInjected),
        ("plain", with(guarded_pod("orders"), "/spec/initContainers", Value::Null), Defect::NotInjected),
        (
            "redirect's image",
            with(guarded_pod("orders"), &format!("{r}/image"), json!("evil")),
            image(redirect),
        ),
        (
            "sidecar's image",
            with(guarded_pod("orders"), &format!("{s}/image"), json!("evil")),
            image(sidecar),
        ),
        (
            "command",
            with(guarded_pod("orders"), &format!("{s}/command"), json!(["sh"])),
            differs(sidecar, "command"),
        ),
        (
            "no redirect",
            with(guarded_pod("orders"), &format!("{r}/args"), json!(["help"])),
            differs(redirect, "args"),
        ),
        (
            "foreign key",
            with(guarded_pod("orders"), &format!("{s}/args"), other_key),
            differs(sidecar, "args"),
        ),
        (
            "argument added",
            with(guarded_pod("orders"), &format!("{s}/args"), twice),
            differs(sidecar, "args"),
        ),
        (
            "other namespace",
            with(guarded_pod("orders"), "/metadata/namespace", json!("other")),
            differs(sidecar, "args"),
        ),
        (
            "redirect that never ends",
            with(guarded_pod("orders"), &format!("{r}/restartPolicy"), json!("Always")),
            differs(redirect, "restartPolicy"),
        ),
        (
            "sidecar that ends",
            with(guarded_pod("orders"), &format!("{s}/restartPolicy"), Value::Null),
            differs(sidecar, "restartPolicy"),
        ),
        (
            "environment",
            with(guarded_pod("orders"), &format!("{s}/env"), json!([{"name": "RUST_LOG", "value": "off"}])),
            differs(sidecar, "env"),
        ),
        (
            "addresses invented",
            with(guarded_pod("orders"), &format!("{r}/env/0"), json!({"name": "POD_IPS", "value": "::"})),
            differs(redirect, "env"),
        ),
        (
            "environment from elsewhere",
            with(guarded_pod("orders"), &format!("{s}/envFrom"), json!([{"configMapRef": {"name": "x"}}])),
            differs(sidecar, "envFrom"),
        ),
        (
            "hook",
            with(
                guarded_pod("orders"),
                &format!("{s}/lifecycle"),
                json!({"postStart": {"exec": {"command": ["x"]}}}),
            ),
            differs(sidecar, "lifecycle"),
        ),
        (
            "probe that runs a command",
            with(guarded_pod("orders"), &format!("{s}/livenessProbe"), json!({"exec": {"command": ["x"]}})),
            differs(sidecar, "livenessProbe"),
        ),
        (
            "root",
            with(guarded_pod("orders"), &format!("{s}/securityContext/runAsUser"), json!(0)),
            differs(sidecar, "securityContext"),
        ),
        (
            "capability",
            with(
                guarded_pod("orders"),
                &format!("{s}/securityContext/capabilities/add"),
                json!(["NET_ADMIN"]),
            ),
            differs(sidecar, "securityContext"),
        ),
        (
            "no state",
            with(guarded_pod("orders"), &format!("{s}/volumeMounts/2"), Value::Null),
            differs(sidecar, "volumeMounts"),
        ),
        (
            "other Secret",
            with(guarded_pod("orders"), "/spec/volumes/0/secret/secretName", json!("postern-weak")),
            Defect::Volume("postern-config".to_owned()),
        ),
        (
            "record from another annotation",
            with(
                guarded_pod("orders"),
                "/spec/volumes/1/downwardAPI/items/0/fieldRef/fieldPath",
                json!("metadata.name"),
            ),
            Defect::Volume("postern-pod".to_owned()),
        ),
        ("host network", with(guarded_pod("orders"), "/spec/hostNetwork", json!(true)), Defect::HostNetwork),
    ] {
        assert_eq!(judge(pod), Err(expected), "{case}");
    }
}

#[test]
fn what_would_reach_around_the_lock_is_forbidden() {
    let app = "/spec/containers/0";
    let context = |value: Value| (format!("{app}/securityContext"), value);
    let named = |name: &str| name.to_owned();
    let capability =
        |capability: &str| Forbidden::Capability { container: named("app"), capability: named(capability) };
    let secret =
        |reader: &str| Forbidden::LockSecret { reader: named(reader), secret: named("postern-orders") };
    let reads = |name: &str| json!([{"secretRef": {"name": name}}]);
    let ephemeral = |more: Value| {
        let mut container = json!({"name": "debug", "image": "debug"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([container])
    };
    let at = |pointer: &str, value: Value| (pointer.to_owned(), value);
    for ((pointer, value), expected) in [
        (at("/spec/hostNetwork", json!(true)), Forbidden::Shares("hostNetwork")),
        (at("/spec/hostPID", json!(true)), Forbidden::SharesProcesses("hostPID")),
        (at("/spec/shareProcessNamespace", json!(true)), Forbidden::SharesProcesses("shareProcessNamespace")),
        (at("/spec/os", json!({"name": "windows"})), Forbidden::Windows),
        (at("/metadata/annotations", json!({"kubernetes.io/config.mirror": "x"})), Forbidden::Mirror),
        (at("/spec/securityContext", json!({"runAsUser": 15100})), Forbidden::User(named("the pod"))),
        (context(json!({"runAsUser": 15100})), Forbidden::User(named("container app"))),
        (context(json!({"privileged": true})), Forbidden::Privileged(named("app"))),
        (context(json!({"capabilities": {"add": ["NET_ADMIN"]}})), capability("NET_ADMIN")),
        (
            context(json!({"capabilities": {"add": ["CHOWN", "cap_sys_ptrace"]}})),
            capability("cap_sys_ptrace"),
        ),
        (context(json!({"capabilities": {"add": ["all"]}})), capability("all")),
        (
            at("/spec/initContainers/2/securityContext", json!({"privileged": true})),
            Forbidden::Privileged(named("migrate")),
        ),
        (
            at(&format!("{app}/volumeMounts/-"), json!({"name": "postern-config", "mountPath": "/x"})),
            Forbidden::Mount { container: named("app"), volume: named("postern-config") },
        ),
        (
            at("/spec/volumes/-", json!({"name": "postern-x", "emptyDir": {}})),
            Forbidden::ReservedName { kind: "volume", name: named("postern-x") },
        ),
        (
            at("/spec/containers/-", json!({"name": "postern-sidecar"})),
            Forbidden::ReservedName { kind: "container", name: named("postern-sidecar") },
        ),
        (
            at("/spec/volumes/-", json!({"name": "x", "secret": {"secretName": "postern-orders"}})),
            secret("volume x"),
        ),
        (
            at(
                "/spec/volumes/-",
                json!({"name": "x", "projected": {"sources": [{"secret": {"name": "postern-orders"}}]}}),
            ),
            secret("volume x"),
        ),
        (at(&format!("{app}/envFrom"), reads("postern-orders")), secret("container app")),
        (
            at(
                &format!("{app}/env"),
                json!([{"name": "K", "valueFrom": {"secretKeyRef": {"name": "postern-orders", "key": "tls.key"}}}]),
            ),
            secret("container app"),
        ),
        (at("/spec/ephemeralContainers", ephemeral(json!({"securityContext": {"privileged": true}}))), {
            Forbidden::Privileged(named("debug"))
        }),
        (
            at("/spec/ephemeralContainers", ephemeral(json!({"targetContainerName": "postern-sidecar"}))),
            Forbidden::Target { container: named("debug"), target: named("postern-sidecar") },
        ),
        (
            at(&format!("{app}/ports"), json!([{"containerPort": 15110}])),
            Forbidden::Port { container: named("app"), port: 15110 },
        ),
    ] {
        let pod: Pod = serde_json::from_value(with(guarded_pod("orders"), &pointer, value)).unwrap();
        let lifted = matches!(
            expected,
            Forbidden::SharesProcesses(_) | Forbidden::Privileged(_) | Forbidden::Capability { .. }
        );
        assert_eq!(forbidden::check(&pod, "orders", false), Err(expected), "{pointer}");
        assert_eq!(forbidden::check(&pod, "orders", true).is_ok(), lifted, "{pointer} of a trusted workload");
    }
}

#[test]
fn an_ordinary_pod_has_nothing_forbidden() {
    let app = "/spec/containers/0";
    for (pointer, value) in [
        ("/spec/hostNetwork".to_owned(), json!(false)),
        (
            format!("{app}/securityContext"),
            json!({"runAsUser": 1000, "capabilities": {"add": ["NET_BIND_SERVICE"]}}),
        ),
        (format!("{app}/envFrom"), json!([{"secretRef": {"name": "orders"}}])),
        ("/spec/volumes/-".to_owned(), json!({"name": "x", "secret": {"secretName": "orders"}})),
        (format!("{app}/ports"), json!([{"containerPort": 8080}])),
        (
            "/spec/ephemeralContainers".to_owned(),
            json!([{"name": "debug", "image": "debug", "targetContainerName": "app"}]),
        ),
    ] {
        let pod: Pod = serde_json::from_value(with(guarded_pod("orders"), &pointer, value)).unwrap();
        assert_eq!(forbidden::check(&pod, "orders", false), Ok(()), "{pointer}");
    }
}
