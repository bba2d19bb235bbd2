//! How a case is written: a `World` document, then Kubernetes objects as one would apply them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_config::loaded::Loaded;
use postern_crds::{ApiRoute, BackendTrust};
use postern_operator::settings::Floor;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The first document. Everything has a default that fits the smallest lock and key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Setting {
    /// Always `World`.
    #[serde(rename = "kind")]
    _kind: String,
    /// When the first step happens.
    #[serde(default = "start")]
    pub(crate) now: Timestamp,
    #[serde(default = "shop")]
    pub(crate) namespace: String,
    #[serde(default = "orders")]
    pub(crate) trust: String,
    #[serde(default)]
    pub(crate) namespace_labels: BTreeMap<String, String>,
    /// Absent: `edge` in namespace `gateways`, for all.
    pub(crate) gateways: Option<Vec<GatewaySetting>>,
    /// Somebody else's objects: `Secret/shop/postern-orders`, `Admission`.
    #[serde(default)]
    pub(crate) foreign: Vec<String>,
    pub(crate) armed_since: Option<Timestamp>,
    /// What the administrator demands.
    #[serde(default)]
    pub(crate) floor: Floor,
    /// Print the objects and statuses too, not only conditions and policy.
    #[serde(default)]
    pub(crate) objects: bool,
    /// Print the statuses too.
    #[serde(default)]
    pub(crate) status: bool,
    /// Absent: one step.
    #[serde(default = "one_step")]
    steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewaySetting {
    pub(crate) name: String,
    /// Absent: an external gateway.
    pub(crate) namespace: Option<String>,
    /// Absent: all namespaces.
    pub(crate) selector: Option<LabelSelector>,
    /// No namespace at all.
    #[serde(default)]
    pub(crate) closed: bool,
    #[serde(default)]
    pub(crate) hostnames: BTreeMap<String, Vec<String>>,
}

/// What happens before the operator looks again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Step {
    /// In words.
    pub(crate) what: String,
    /// Time goes by.
    #[serde(default)]
    pub(crate) after: SignedDuration,
    /// These pods do not load what is written, nor do they answer.
    #[serde(default)]
    pub(crate) silent: Vec<String>,
    /// Objects that are gone: `ApiRoute/orders`.
    #[serde(default)]
    pub(crate) delete: Vec<String>,
    /// `spec.rotation.requestedAt` of the trust.
    pub(crate) requested_at: Option<Timestamp>,
    /// What changes in objects from now on, by name (`BackendTrust/orders`), as a JSON merge patch.
    #[serde(default)]
    pub(crate) change: BTreeMap<String, serde_json::Value>,
    /// From now on these Secrets of the lock's author hold other texts.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// In this step these `ConfigMaps` hold other texts.
    #[serde(default)]
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// When the pods last saw a credential, by id, in seconds after the start of the world.
    #[serde(default)]
    pub(crate) seen: BTreeMap<String, i64>,
    /// What every pod that answers says from now on, beside its configuration.
    pub(crate) says: Option<Loaded>,
    /// Namespaces of gateways that can't be read.
    #[serde(default)]
    pub(crate) unreadable: Vec<String>,
    /// The operator signs with a new key.
    #[serde(default)]
    pub(crate) new_signing_key: bool,
}

/// A case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) setting: Setting,
    pub(crate) steps: Vec<Step>,
    pub(crate) trusts: Vec<BackendTrust>,
    pub(crate) routes: Vec<ApiRoute>,
    pub(crate) services: Vec<Service>,
    pub(crate) pods: Vec<Pod>,
    /// With `stringData`.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) config_maps: Vec<ConfigMap>,
}

fn start() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

fn shop() -> String {
    "shop".to_owned()
}

fn orders() -> String {
    "orders".to_owned()
}

fn one_step() -> Vec<Step> {
    vec![Step { what: "the operator looks".to_owned(), ..Step::default() }]
}

impl Case {
    pub(crate) fn parse(text: &str) -> Self {
        let mut documents = serde_yaml::Deserializer::from_str(text)
            .map(|document| serde_yaml::Value::deserialize(document).unwrap())
            .filter(|document| !document.is_null());
        let setting: Setting = serde_yaml::from_value(documents.next().unwrap()).unwrap();
        let mut case = Self {
            steps: setting.steps.clone(),
            setting,
            trusts: Vec::new(),
            routes: Vec::new(),
            services: Vec::new(),
            pods: Vec::new(),
            secrets: Vec::new(),
            config_maps: Vec::new(),
        };
        for document in documents {
            let kind = document.get("kind").and_then(serde_yaml::Value::as_str).unwrap().to_owned();
            match kind.as_str() {
                "BackendTrust" => case.trusts.push(object(document)),
                "ApiRoute" => case.routes.push(object(document)),
                "Service" => case.services.push(object(document)),
                "Secret" => case.secrets.push(object(document)),
                "ConfigMap" => case.config_maps.push(object(document)),
                "Pod" => case.pods.push(object(document)),
                other => panic!("a case holds no {other}"),
            }
        }
        case
    }
}

fn object<T: DeserializeOwned>(document: serde_yaml::Value) -> T {
    serde_yaml::from_value(document).unwrap()
}
