use serde_json::json;

use super::*;
use crate::webhook::inject::tests::{injector, locks};
use crate::webhook::select::Lock;

const OPERATOR: &str = "system:serviceaccount:postern-system:postern-operator";

pub(crate) struct Fixed(pub(crate) Option<Vec<Lock>>);

impl Locks for Fixed {
    fn in_namespace(&self, namespace: &str) -> Option<Vec<Lock>> {
        self.0.clone().map(|locks| if namespace == "shop" { locks } else { Vec::new() })
    }
}

pub(crate) fn reviewer() -> Reviewer<Fixed> {
    Reviewer::new(Arc::new(Fixed(Some(locks()))), injector(1), OPERATOR.to_owned())
}

pub(crate) fn request(app: &str, user: &str, dry_run: bool, operation: &str) -> Value {
    json!({
        "uid": "u1", "operation": operation, "dryRun": dry_run, "namespace": "shop", "name": "",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": user},
        "object": {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-", "labels": {"app": app}},
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        },
    })
}

fn answer(reviewer: &Reviewer<Fixed>, request: Value) -> Result<(AdmissionResponse, Verdict), NoAnswer> {
    reviewer.answer(&serde_json::from_value(request).unwrap())
}

#[test]
fn each_request_gets_its_verdict() {
    let someone = "system:serviceaccount:kube-system:replicaset-controller";
    let mut privileged = request("orders", someone, false, "CREATE");
    privileged["object"]["spec"]["hostPID"] = json!(true);
    let mut status = request("orders", someone, false, "CREATE");
    status["subResource"] = json!("binding");
    let mut elsewhere = request("orders", someone, false, "CREATE");
    elsewhere["namespace"] = json!("other");
    for (case, request, verdict, allowed, patched) in [
        ("selected", request("orders", someone, false, "CREATE"), Verdict::Injected, true, true),
        ("someone's dry run", request("orders", someone, true, "CREATE"), Verdict::Injected, true, true),
        ("our dry run", request("orders", OPERATOR, true, "CREATE"), Verdict::OwnDryRun, true, false),
        ("our pod, no dry run", request("orders", OPERATOR, false, "CREATE"), Verdict::Injected, true, true),
        ("not selected", request("carts", someone, false, "CREATE"), Verdict::LeftAlone, true, false),
        ("namespace without locks", elsewhere, Verdict::LeftAlone, true, false),
        ("update", request("orders", someone, false, "UPDATE"), Verdict::LeftAlone, true, false),
        ("subresource", status, Verdict::LeftAlone, true, false),
        ("host pids", privileged, Verdict::Refused, false, false),
    ] {
        let (answer, actual) = answer(&reviewer(), request).unwrap();
        assert_eq!((actual, answer.allowed, answer.patch.is_some()), (verdict, allowed, patched), "{case}");
    }
}

#[test]
fn a_refusal_says_why() {
    let mut request = request("orders", "someone", false, "CREATE");
    request["object"]["spec"]["hostPID"] = json!(true);
    let (answer, _) = answer(&reviewer(), request).unwrap();
    let expected = "BackendTrust shop/orders selects this pod, but the pod sets hostPID, \
                    by which its containers reach the sidecar's process: leave it out, or let the lock say trustedWorkload: true";
    assert_eq!(answer.result.message, expected);
}

#[test]
fn nothing_is_answered_before_the_locks_are_known() {
    let reviewer = Reviewer::new(Arc::new(Fixed(None)), injector(1), OPERATOR.to_owned());
    let outcome = answer(&reviewer, request("carts", "someone", false, "CREATE"));
    assert!(matches!(outcome, Err(NoAnswer::NotReady)), "{outcome:?}");
}

#[test]
fn two_pods_get_two_tokens() {
    let path = |answer: AdmissionResponse| answer.patch.unwrap();
    let mut request = request("orders", "someone", false, "CREATE");
    request["object"]["spec"]["containers"][0]["livenessProbe"] = json!({"tcpSocket": {"port": 80}});
    let one = path(answer(&reviewer(), request.clone()).unwrap().0);
    assert_ne!(one, path(answer(&reviewer(), request).unwrap().0));
}
