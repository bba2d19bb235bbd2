//! The operator's configuration file: YAML that the chart writes from its values.
//!
//! Parsing yields either a [`Config`] in which everything makes sense, or all that doesn't, each with the place
//! in the file and what to write instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_config::signed::VerifyKey;
use serde::Deserialize;

use crate::resolve::selectors::Selector;
use crate::settings::{AllowedNamespaces, Flavour, Floor, Gateway, Images, Lifetimes, Settings};

#[cfg(test)]
mod tests;

/// Why the operator cannot start with this file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}; give its path with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML, or a field is unknown or of the wrong type.
    #[error("the configuration file is malformed: {0}")]
    Malformed(#[from] serde_yaml::Error),
    /// It reads well but makes no sense.
    #[error("the configuration makes no sense:\n- {}", .0.join("\n- "))]
    Invalid(Vec<String>),
}

/// What the administrator has set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace that the operator runs in.
    pub namespace: String,
    /// SPIFFE trust domain; absent: made from the cluster's own id.
    pub trust_domain: Option<String>,
    /// DNS domain of the cluster's Services.
    pub cluster_domain: String,
    /// What is injected.
    pub sidecar: Sidecar,
    /// The gateways, by name.
    pub gateways: BTreeMap<String, Gateway>,
    /// How the API server reaches the webhook.
    pub webhook: Webhook,
    /// How long what is issued lives.
    pub lifetimes: Lifetimes,
    /// What is demanded of every lock.
    pub floor: Floor,
}

/// What is injected into pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// Image of both of Postern's containers.
    pub image: String,
    /// `Always`, `IfNotPresent` (if nothing is said) or `Never`.
    pub image_pull_policy: String,
    /// Requests and limits of both of Postern's containers.
    pub resources: ResourceRequirements,
}

/// How the API server reaches the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The Service in front of the operator's replicas.
    pub service_name: String,
    /// The port on which this process listens for it.
    pub port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    namespace: String,
    trust_domain: Option<String>,
    cluster_domain: Option<String>,
    sidecar_image: String,
    image_pull_policy: Option<String>,
    sidecar_resources: Option<ResourceRequirements>,
    #[serde(default)]
    gateways: Vec<GatewayEntry>,
    webhook: Option<WebhookEntry>,
    certificate_lifetime: Option<SignedDuration>,
    certificate_overlap: Option<SignedDuration>,
    #[serde(default)]
    floor: Floor,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookEntry {
    service_name: Option<String>,
    port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GatewayEntry {
    name: String,
    flavour: FlavourEntry,
    namespace: Option<String>,
    allowed_routes: Option<AllowedRoutes>,
    #[serde(default)]
    hostnames: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
enum FlavourEntry {
    #[serde(rename = "NGINX")]
    Nginx,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowedRoutes {
    namespaces: AllowedEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowedEntry {
    from: From,
    selector: Option<LabelSelector>,
}

#[derive(Deserialize)]
enum From {
    None,
    All,
    Selector,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Checks a file's text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = serde_yaml::from_str(text)?;
        let mut problems = Vec::new();
        let defaults = Lifetimes::default();
        let config = Self {
            sidecar: sidecar(&file, &mut problems),
            gateways: gateways(file.gateways, &mut problems),
            floor: file.floor,
            namespace: file.namespace,
            trust_domain: file.trust_domain,
            cluster_domain: file.cluster_domain.unwrap_or_else(|| "cluster.local".to_owned()),
            webhook: webhook(file.webhook, &mut problems),
            lifetimes: Lifetimes {
                certificate: file.certificate_lifetime.unwrap_or(defaults.certificate),
                overlap: file.certificate_overlap.unwrap_or(defaults.overlap),
                ..defaults
            },
        };
        if !crate::settings::is_dns_label(&config.namespace) {
            problems
                .push(format!("namespace: {:?} is no namespace; write the operator's own", config.namespace));
        }
        // What is only learnt in the cluster stands in for itself, so that the rest is checked before that.
        let placeholder = "A".repeat(43).parse::<VerifyKey>().into_iter().collect();
        let trial = config.settings("placeholder", None, placeholder);
        problems.extend(trial.problems());
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
    }

    /// The settings by which decisions are made, completed by what the operator has learnt at its start.
    ///
    /// `cluster_id`: uid of the namespace `kube-system`, from which the default trust domain is made.
    pub fn settings(
        &self,
        cluster_id: &str,
        previous_image: Option<String>,
        verify_keys: Vec<VerifyKey>,
    ) -> Settings {
        let trust_domain = self.trust_domain.clone();
        Settings {
            namespace: self.namespace.clone(),
            trust_domain: trust_domain.unwrap_or_else(|| format!("{cluster_id}.{}", self.cluster_domain)),
            cluster_domain: self.cluster_domain.clone(),
            gateways: self.gateways.clone(),
            images: Images { current: self.sidecar.image.clone(), previous: previous_image },
            verify_keys,
            lifetimes: self.lifetimes,
            floor: self.floor.clone(),
        }
    }
}

fn sidecar(file: &File, problems: &mut Vec<String>) -> Sidecar {
    if let Some(policy) = &file.image_pull_policy
        && !["Always", "IfNotPresent", "Never"].contains(&policy.as_str())
    {
        problems.push(format!("imagePullPolicy: {policy:?} is none; write Always, IfNotPresent or Never"));
    }
    let resources = file.sidecar_resources.clone().unwrap_or_default();
    for (list, name) in [(&resources.requests, "requests"), (&resources.limits, "limits")] {
        for needed in ["cpu", "memory"] {
            if !list.as_ref().is_some_and(|list| list.contains_key(needed)) {
                problems.push(format!(
                    "sidecarResources.{name}.{needed}: is missing; a namespace with a quota refuses pods \
                     whose containers don't all say it"
                ));
            }
        }
    }
    Sidecar {
        image: file.sidecar_image.clone(),
        image_pull_policy: file.image_pull_policy.clone().unwrap_or_else(|| "IfNotPresent".to_owned()),
        resources,
    }
}

fn webhook(entry: Option<WebhookEntry>, problems: &mut Vec<String>) -> Webhook {
    let WebhookEntry { service_name, port } =
        entry.unwrap_or(WebhookEntry { service_name: None, port: None });
    let webhook = Webhook {
        service_name: service_name.unwrap_or_else(|| "postern-webhook".to_owned()),
        port: port.unwrap_or(9443),
    };
    if !crate::settings::is_dns_label(&webhook.service_name) {
        problems.push(format!(
            "webhook.serviceName: {:?} is no name of a Service; write lower-case letters, digits and `-`",
            webhook.service_name
        ));
    }
    webhook
}

fn gateways(entries: Vec<GatewayEntry>, problems: &mut Vec<String>) -> BTreeMap<String, Gateway> {
    let mut gateways = BTreeMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let place = format!("gateways[{index}]");
        let gateway = Gateway {
            flavour: match entry.flavour {
                FlavourEntry::Nginx => Flavour::Nginx,
            },
            allowed: allowed(entry.allowed_routes, &place, problems),
            namespace: entry.namespace,
            hostnames: entry.hostnames,
            name: entry.name,
        };
        if let Some(namespace) = &gateway.namespace
            && !crate::settings::is_dns_label(namespace)
        {
            problems.push(format!("{place}.namespace: {namespace:?} is no namespace"));
        }
        if let Some(twice) = gateways.insert(gateway.name.clone(), gateway) {
            problems.push(format!("{place}.name: {:?} is declared twice; keep one of the two", twice.name));
        }
    }
    gateways
}

fn allowed(entry: Option<AllowedRoutes>, place: &str, problems: &mut Vec<String>) -> AllowedNamespaces {
    let place = format!("{place}.allowedRoutes.namespaces");
    let Some(AllowedRoutes { namespaces: AllowedEntry { from, selector } }) = entry else {
        return AllowedNamespaces::None;
    };
    match (from, selector) {
        (From::None, None) => AllowedNamespaces::None,
        (From::All, None) => AllowedNamespaces::All,
        (From::Selector, Some(selector)) => match Selector::from_label_selector(&selector) {
            Ok(selector) => AllowedNamespaces::Selector(selector),
            Err(error) => {
                problems.push(format!("{place}.selector: {error}"));
                AllowedNamespaces::None
            }
        },
        (From::Selector, None) => {
            problems
                .push(format!("{place}.selector: is missing; write which labels the namespaces must have"));
            AllowedNamespaces::None
        }
        (From::None | From::All, Some(_)) => {
            problems
                .push(format!("{place}.selector: has a meaning only with `from: Selector`; leave it out"));
            AllowedNamespaces::None
        }
    }
}
