//! One test: its own namespaces, its turn beside the others, and what is shown when it fails.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::RwLock;

use futures::FutureExt as _;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use postern_crds::{ApiRoute, BackendTrust};
use serde_json::{Value, json};

use crate::cluster::{Cluster, is_ready, why_not_ready};
use crate::install;

/// Tests that disturb what all share run alone.
static TURN: RwLock<()> = RwLock::new(());

/// Label of every namespace that a test makes, so that the next run can clear what a killed one left.
pub const LABEL: &str = "tests.postern.dev/run";

/// Whether a test may run beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It touches its own namespaces alone.
    Shared,
    /// It stops, upgrades or restarts what all tests use.
    Alone,
}

/// What a test has to work with.
pub struct Test {
    /// The administrator's connection.
    pub cluster: Cluster,
    /// The test's main namespace.
    pub namespace: String,
    namespaces: RefCell<Vec<String>>,
    objects: RefCell<Vec<Value>>,
}

/// Runs one test to its end, clears up after it, and shows the state of its namespaces if it failed.
pub fn run(sharing: Sharing, test: impl AsyncFnOnce(&Test)) {
    let _turn = match sharing {
        // A poisoned lock only says that another test has failed.
        Sharing::Shared => (Some(TURN.read().unwrap_or_else(std::sync::PoisonError::into_inner)), None),
        Sharing::Alone => (None, Some(TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner))),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let cluster = Cluster::connect().await;
        install::once(&cluster).await;
        let context = Test {
            cluster,
            namespace: random_name("t"),
            namespaces: RefCell::default(),
            objects: RefCell::default(),
        };
        context.cluster.create_namespace(&context.namespace, &json!({LABEL: "true"})).await;
        context.namespaces.borrow_mut().push(context.namespace.clone());
        let result = AssertUnwindSafe(test(&context)).catch_unwind().await;
        if result.is_err() {
            context.explain().await;
        }
        for object in context.objects.take() {
            // By now it may be another's, of the same name.
            let _ = context.cluster.try_delete(&object).await;
        }
        for namespace in context.namespaces.take() {
            context.cluster.delete_namespace(&namespace).await;
        }
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

/// `<prefix>-` and eight hex digits that no other test has.
pub fn random_name(prefix: &str) -> String {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
    format!("{prefix}-{}", hex::encode(bytes))
}

impl Test {
    /// One more namespace, deleted with the test.
    pub async fn another_namespace(&self, labels: Value) -> String {
        let name = random_name("t");
        let mut labels = labels;
        labels[LABEL] = json!("true");
        self.cluster.create_namespace(&name, &labels).await;
        self.namespaces.borrow_mut().push(name.clone());
        name
    }

    /// Deletes this object with the test; for those in namespaces that all tests share.
    pub fn clear_up(&self, object: Value) {
        self.objects.borrow_mut().push(object);
    }

    /// Prints what somebody would look at first.
    async fn explain(&self) {
        let namespaces = self.namespaces.borrow().clone();
        for namespace in namespaces {
            eprintln!("---- namespace {namespace}");
            self.explain_namespace(&namespace).await;
        }
        for pod in self.cluster.pods(install::NAMESPACE, "").await {
            let log = self.cluster.logs(install::NAMESPACE, &pod.name_any(), "operator").await;
            eprintln!("---- the operator's log, {}, last lines\n{}", pod.name_any(), tail(&log, 25));
        }
    }

    async fn explain_namespace(&self, namespace: &str) {
        let trusts: Api<BackendTrust> = self.cluster.api(namespace);
        let routes: Api<ApiRoute> = self.cluster.api(namespace);
        for trust in trusts.list(&ListParams::default()).await.into_iter().flatten() {
            eprintln!("BackendTrust {}: {}", trust.name_any(), json!(trust.status));
        }
        for route in routes.list(&ListParams::default()).await.into_iter().flatten() {
            eprintln!("ApiRoute {}: {}", route.name_any(), json!(route.status));
        }
        for event in self.cluster.events(namespace).await {
            eprintln!("Event {event}");
        }
        for pod in self.cluster.pods(namespace, "").await {
            let state =
                if is_ready(&pod) { format!("pod {} is Ready", pod.name_any()) } else { why_not_ready(&pod) };
            eprintln!("{state}");
            let spec = pod.spec.clone().unwrap_or_default();
            for container in spec.init_containers.into_iter().flatten().chain(spec.containers) {
                let log = self.cluster.logs(namespace, &pod.name_any(), &container.name).await;
                if !log.is_empty() {
                    eprintln!("log of {}/{}, last lines\n{}", pod.name_any(), container.name, tail(&log, 15));
                }
            }
        }
    }
}

fn tail(log: &str, lines: usize) -> String {
    let all: Vec<_> = log.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
