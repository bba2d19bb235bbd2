use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicySpec;

use super::*;
use crate::injection::tests::{accepted, golden};

pub(crate) fn guard() -> Guard {
    let accepted = accepted();
    Guard {
        namespace: "shop".to_owned(),
        trust: "orders".to_owned(),
        selector: LabelSelector {
            match_labels: Some([("app".to_owned(), "orders".to_owned())].into()),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "canary".to_owned(),
                operator: "DoesNotExist".to_owned(),
                values: None,
            }]),
        },
        creations: true,
        trusts: vec![Admitted::plain("orders"), Admitted::plain("tier")],
        images: [accepted.current_image].into_iter().chain(accepted.previous_image).collect(),
        verify_keys: accepted.verify_keys,
        labels: [("app.kubernetes.io/managed-by".to_owned(), "postern".to_owned())].into(),
    }
}

#[test]
fn policy_and_binding_are_as_in_the_golden_file() {
    let documents = [
        serde_yaml::to_string(&guard().policy()).unwrap(),
        serde_yaml::to_string(&guard().binding()).unwrap(),
    ];
    golden("src/testdata/admission/policy.yaml", &documents.join("---\n"));
}

#[test]
fn the_policy_of_a_lock_without_a_redirect_is_as_in_the_golden_file() {
    let shape = crate::injection::shape::Shape::listener();
    let orders = Admitted { shape, ..Admitted::plain("orders") };
    let policy = Guard { trusts: vec![orders.clone()], ..guard() }.policy();
    golden("src/testdata/admission/policy-of-listener.yaml", &serde_yaml::to_string(&policy).unwrap());
    // Beside an older lock with one, both shapes are let in.
    let both = Guard { trusts: vec![orders, Admitted::plain("tier")], ..guard() }.policy();
    let variables = both.spec.unwrap().variables.unwrap();
    let defects = variables.iter().find(|variable| variable.name == "defects").unwrap();
    assert!(defects.expression.contains("args of postern-redirect"), "{}", defects.expression);
}

#[test]
fn the_policy_of_a_deleted_lock_is_as_in_the_golden_file() {
    let policy = Guard { creations: false, ..guard() }.policy();
    let spec = policy.spec.unwrap();
    assert_eq!(spec.variables, guard().policy().spec.unwrap().variables);
    let spec = ValidatingAdmissionPolicySpec { variables: None, ..spec };
    golden("src/testdata/admission/policy-of-deleted-lock.yaml", &serde_yaml::to_string(&spec).unwrap());
}

#[test]
fn the_webhooks_configuration_is_as_in_the_golden_file() {
    let endpoint = webhook::Endpoint {
        namespace: "postern-system".to_owned(),
        service: "postern-webhook".to_owned(),
        ca_pem: "-----BEGIN CERTIFICATE-----\n".to_owned(),
    };
    let locked = ["shop".to_owned(), "carts".to_owned()].into();
    let configuration = webhook::configuration(&endpoint, &locked, guard().labels);
    golden("src/testdata/admission/webhook.yaml", &serde_yaml::to_string(&configuration).unwrap());
    let none = webhook::configuration(&endpoint, &BTreeSet::new(), guard().labels);
    assert_eq!(none.webhooks, None, "without a lock no pod of the cluster is shown");
}
