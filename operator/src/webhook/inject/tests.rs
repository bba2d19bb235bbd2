use std::path::Path;

use postern_config::record::ProbeAction;
use serde_json::json;

use super::*;
use crate::injection::shape::Shape;
use crate::injection::tests::{golden, with};
use crate::resolve::selectors::Selector;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn signer(seed: u8) -> Signer {
    // RFC 8410: PKCS#8 of an Ed25519 key is this head and the seed.
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    Signer::from_pkcs8(&[&head[..], &[seed; 32]].concat()).unwrap()
}

pub(crate) fn injector(seed: u8) -> Injector {
    let signer = signer(seed);
    let verify_keys = vec![signer.verify_key()];
    let spec = crate::injection::tests::spec("orders");
    Injector {
        signer,
        verify_keys,
        image: InjectedImage::new(&spec.image),
        pull_policy: spec.pull_policy,
        resources: spec.resources,
    }
}

pub(crate) fn locks() -> Vec<Lock> {
    let lock = |name: &str, created: &str, key: &str, value: &str| Lock {
        name: name.to_owned(),
        created: created.parse().unwrap(),
        selector: Selector::from_labels(&BTreeMap::from([(key.to_owned(), value.to_owned())])),
        shape: Shape::default(),
        trusted: false,
        resources: None,
    };
    let listening = lock("listening", "2026-02-01T00:00:00Z", "app", "listening");
    vec![
        Lock { shape: Shape::listener(), ..listening },
        lock("orders", "2026-02-01T00:00:00Z", "app", "orders"),
        lock("tier", "2026-01-01T00:00:00Z", "tier", "api"),
    ]
}

fn run(pod: &Value) -> Result<Injected, Refusal> {
    injector(1).inject(pod, "shop", &locks(), TOKEN)
}

fn guarded(pod: &Value) -> Value {
    match run(pod) {
        Ok(Injected::Guarded { pod, .. }) => pod,
        other => panic!("{other:?}"),
    }
}

fn record(pod: &Value) -> PodRecord {
    let annotation = pod.pointer("/metadata/annotations/postern.dev~1pod-record").unwrap();
    PodRecord::open(annotation.as_str().unwrap(), &injector(1).verify_keys).unwrap()
}

fn input(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testdata/webhook").join(name);
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The outcome as a golden file shows it: the record in clear instead of its signed form.
fn shown(outcome: &Result<Injected, Refusal>) -> Value {
    match outcome {
        Err(refusal) => json!({"refused": refusal.to_string()}),
        Ok(Injected::NotSelected) => json!({"notSelected": true}),
        Ok(Injected::Guarded { trust, pod }) => {
            let annotation = "/metadata/annotations/postern.dev~1pod-record";
            let shown = with(pod.clone(), annotation, json!("(signed; see record)"));
            json!({"guardedBy": trust, "pod": shown, "record": record(pod)})
        }
    }
}

#[test]
fn each_golden_case_comes_out_as_written_and_a_second_run_changes_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testdata/webhook");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(case) = name.strip_suffix(".in.yaml") else { continue };
        let pod = input(&name);
        let outcome = run(&pod);
        let actual = serde_yaml::to_string(&shown(&outcome)).unwrap();
        golden(&format!("src/testdata/webhook/{case}.out.yaml"), &actual);
        if let Ok(Injected::Guarded { pod: once, .. }) = outcome {
            let again = injector(1).inject(&once, "shop", &locks(), "another-token-that-must-not-be-used");
            assert_eq!(again.unwrap(), run(&pod).unwrap(), "{case}: the second run");
            let patch = json_patch::diff(&pod, &once);
            let mut patched = pod.clone();
            json_patch::patch(&mut patched, &patch).unwrap();
            assert_eq!(patched, once, "{case}: the patch");
        }
        cases += 1;
    }
    assert!(cases >= 12, "only {cases} cases were found");
}

#[test]
fn a_port_of_the_listeners_own_is_refused_and_an_added_name_is_taken_over_too() {
    let pod = input("listener.in.yaml");
    let taken = with(pod.clone(), "/spec/containers/0/ports/-", json!({"containerPort": 15263}));
    assert!(matches!(run(&taken), Err(Refusal::Forbidden { .. })));
    let once = guarded(&pod);
    let late = json!({"name": "late", "image": "late", "ports": [{"name": "late", "containerPort": 7000}]});
    let twice = guarded(&with(once.clone(), "/spec/containers/-", late));
    let (before, after) = (record(&once).listeners.unwrap(), record(&twice).listeners.unwrap());
    assert_eq!(after.values().copied().collect::<Vec<_>>(), [8080, 9090, 7000, 9100]);
    assert_eq!(before.values().copied().collect::<Vec<_>>(), [8080, 9090, 9100]);
    let last = twice.pointer("/spec/containers/2/ports/0/containerPort").unwrap();
    assert_eq!(after[&u16::try_from(last.as_u64().unwrap()).unwrap()], 7000);
}

#[test]
fn what_was_added_after_the_first_run_is_led_through_too() {
    let once = guarded(&input("deployment-pod.in.yaml"));
    let late = json!({"name": "late", "image": "late", "livenessProbe": {"tcpSocket": {"port": 7000}}});
    let first = json!({"name": "first", "image": "first"});
    let mut pod = with(once.clone(), "/spec/containers/-", late);
    pod["spec"]["initContainers"].as_array_mut().unwrap().insert(0, first);
    let twice = guarded(&pod);
    let names: Vec<_> = twice["spec"]["initContainers"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(names, ["postern-redirect", "postern-sidecar", "first", "migrate"], "ours are in front again");
    let (before, after) = (record(&once), record(&twice));
    assert_eq!(after.token, before.token);
    assert_eq!(after.probes[..3], before.probes, "the originals, not what they were rewritten to");
    assert_eq!(
        after.probes[3].action,
        ProbeAction::TCPSocket { port: postern_config::policy::PortRef::Number(7000), host: None }
    );
    let path = twice.pointer("/spec/containers/1/livenessProbe/httpGet/path").unwrap();
    assert_eq!(path.as_str().unwrap(), after.probe_path("late", postern_config::record::ProbeKind::Liveness));
}

#[test]
fn a_changed_probe_replaces_what_the_record_said() {
    let once = guarded(&input("deployment-pod.in.yaml"));
    let probe = json!({"tcpSocket": {"port": 1234}, "timeoutSeconds": 7});
    let twice = guarded(&with(once, "/spec/containers/0/livenessProbe", probe));
    let changed = &record(&twice).probes[0];
    assert_eq!(
        changed.action,
        ProbeAction::TCPSocket { port: postern_config::policy::PortRef::Number(1234), host: None }
    );
    assert_eq!(changed.timeout_seconds, 7);
}

#[test]
fn only_a_record_of_ours_for_this_very_pod_restores_probes() {
    let once = guarded(&input("deployment-pod.in.yaml"));
    let refused = |outcome: Result<Injected, Refusal>| matches!(outcome, Err(Refusal::ReservedPort { .. }));
    let annotation = "/metadata/annotations/postern.dev~1pod-record";
    let renamed = with(once.clone(), "/metadata/generateName", json!("other-"));
    assert!(refused(run(&renamed)), "the record of another pod");
    assert!(refused(run(&with(once.clone(), annotation, Value::Null))), "no record");
    assert!(refused(injector(2).inject(&once, "shop", &locks(), TOKEN)), "signed by another key");
    assert!(refused(injector(1).inject(&once, "other", &locks(), TOKEN)), "of another namespace");
    let path = "/spec/containers/0/livenessProbe/httpGet/path";
    assert!(refused(run(&with(once.clone(), path, json!("/readyz")))), "a path of our own");
    let metrics = "/spec/containers/0/livenessProbe/httpGet/port";
    let wrong = run(&with(once, metrics, json!(15120)));
    assert!(refused(wrong), "another port of ours");
}

#[test]
fn changes_of_other_admission_controllers_to_our_containers_stay() {
    let once = guarded(&input("job-pod.in.yaml"));
    let other = with(once, "/spec/initContainers/1/resources", json!({"limits": {"cpu": "2"}}));
    let other = with(other, "/spec/initContainers/0/imagePullPolicy", json!("Always"));
    assert_eq!(guarded(&other), other);
    let open = with(other.clone(), "/spec/initContainers/1/env", json!([{"name": "X", "value": "y"}]));
    assert!(
        guarded(&open)["spec"]["initContainers"][1].get("env").is_none(),
        "but an environment is removed"
    );
}

#[test]
fn the_image_is_the_one_of_the_moment() {
    let injector = injector(1);
    let pod =
        json!({"metadata": {"generateName": "a-", "labels": {"app": "orders"}}, "spec": {"containers": []}});
    let mut images = Vec::new();
    for image in ["one", "two"] {
        injector.image.set(image);
        match injector.inject(&pod, "shop", &locks(), TOKEN) {
            Ok(Injected::Guarded { pod, .. }) => {
                for index in 0..2 {
                    images.push(pod["spec"]["initContainers"][index]["image"].clone());
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(images, ["one", "one", "two", "two"]);
}
