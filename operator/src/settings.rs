//! The operator's settings, validated: what `config` yields and every decision relies on.
//!
//! A value of these types makes sense by itself; [`Settings::problems`] tells what doesn't, so that the
//! operator can refuse to start with all of it named at once.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;
use postern_config::signed::VerifyKey;

use crate::resolve::selectors::Selector;

mod floor;

pub use floor::{Floor, LockKind, Permission};

/// What the platform's administrator has set, and what the operator has learnt at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace that the operator runs in: its CAs, its webhook, and the outputs for external gateways.
    pub namespace: String,
    /// SPIFFE trust domain of every client identity; by default `<uid of kube-system>.<cluster domain>`.
    pub trust_domain: String,
    /// DNS domain of the cluster's Services, `cluster.local` by default.
    pub cluster_domain: String,
    /// The gateways that the administrator declared, by name.
    pub gateways: BTreeMap<String, Gateway>,
    /// The sidecar images that admission lets pass.
    pub images: Images,
    /// Keys that check the operator's signatures, the current one first; the previous one follows while the
    /// signing key rotates. Never empty.
    pub verify_keys: Vec<VerifyKey>,
    /// How long what is issued lives.
    pub lifetimes: Lifetimes,
    /// What the administrator demands of every lock.
    pub floor: Floor,
}

/// The sidecar's image, and the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Injected into new pods, as soon as every policy lets it pass (`images`).
    pub current: String,
    /// Of pods that ran before the last upgrade; still accepted.
    pub previous: Option<String>,
}

impl Images {
    /// All of them, the current one first.
    pub fn accepted(&self) -> Vec<String> {
        std::iter::once(&self.current).chain(&self.previous).cloned().collect()
    }
}

/// Lifetimes of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// From issue to expiry of a leaf; at least 30 days (SECURITY 16).
    pub certificate: SignedDuration,
    /// How long a generated credential or header value lives.
    pub credential: SignedDuration,
    /// How long the key of a replaced client leaf is still accepted, so that a gateway may reload late.
    pub overlap: SignedDuration,
}

impl Lifetimes {
    /// The shortest certificate lifetime that is accepted: 30 days.
    pub const MIN_CERTIFICATE: SignedDuration = SignedDuration::from_hours(720);
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            certificate: SignedDuration::from_hours(720),
            credential: SignedDuration::from_hours(720),
            overlap: SignedDuration::from_hours(24),
        }
    }
}

/// A gateway, as the administrator declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name: a DNS label.
    pub name: String,
    /// What it is, so which configuration it gets.
    pub flavour: Flavour,
    /// Where its Secrets and configurations go; absent: it is outside the cluster, and they are kept in the
    /// operator's own namespace.
    pub namespace: Option<String>,
    /// Which namespaces may route through it.
    pub allowed: AllowedNamespaces,
    /// Which host names a namespace may claim: exact names or `*.` and a suffix, by namespace. Empty: every
    /// namespace may claim any. Otherwise a namespace that is not listed may claim none.
    pub hostnames: BTreeMap<String, Vec<String>>,
}

impl Gateway {
    /// The namespace of its outputs.
    pub fn output_namespace<'a>(&'a self, operator_namespace: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(operator_namespace)
    }
}

/// The kind of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// NGINX, from version 1.22.
    Nginx,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "NGINX",
        })
    }
}

/// Which namespaces may route through a gateway (`allowedRoutes.namespaces`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedNamespaces {
    /// None: also what absence means.
    None,
    /// Every namespace.
    All,
    /// Those whose labels fit.
    Selector(Selector),
}

impl AllowedNamespaces {
    /// Whether a namespace with these labels may use the gateway.
    pub fn allows(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Selector(selector) => selector.matches(labels),
        }
    }
}

impl Settings {
    /// Namespaces in which no lock may be: Postern's own and the API server's, which admission leaves alone.
    pub fn is_reserved_namespace(&self, namespace: &str) -> bool {
        namespace == self.namespace || namespace == "kube-system"
    }

    /// Everything about these settings that can't work, each in one sentence with its remedy. Empty: all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !is_trust_domain(&self.trust_domain) {
            problems.push(format!(
                "trustDomain {:?} is no SPIFFE trust domain: use lower-case letters, digits, `.`, `-` and `_`, \
                 at most 255 characters",
                self.trust_domain
            ));
        }
        if !is_dns_name(&self.cluster_domain) {
            problems.push(format!(
                "clusterDomain {:?} is no DNS name: write the domain of the cluster's Services, for example \
                 cluster.local",
                self.cluster_domain
            ));
        }
        if self.images.current.is_empty() {
            problems.push("sidecarImage is empty: name the image that is injected".to_owned());
        }
        if self.verify_keys.is_empty() {
            problems.push("there is no key to verify the operator's signatures with".to_owned());
        }
        if self.lifetimes.certificate < Lifetimes::MIN_CERTIFICATE {
            problems.push(
                "certificateLifetime is below 720h: a shorter one could end before a rotation does"
                    .to_owned(),
            );
        }
        if self.lifetimes.overlap.is_negative() || self.lifetimes.overlap > self.lifetimes.certificate / 3 {
            problems.push(
                "the overlap of two client certificates must not exceed a third of certificateLifetime"
                    .to_owned(),
            );
        }
        for (name, gateway) in &self.gateways {
            if name != &gateway.name || !is_dns_label(name) {
                problems.push(format!(
                    "gateway {name:?}: its name is no DNS label; use at most 63 lower-case letters, digits and `-`"
                ));
            }
            for hostname in gateway.hostnames.values().flatten() {
                if !is_hostname_pattern(hostname) {
                    problems.push(format!(
                        "gateway {name}: hostnames has {hostname:?}, which is neither a DNS name nor `*.` and one"
                    ));
                }
            }
        }
        problems
    }
}

fn is_trust_domain(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b))
}

/// RFC 1123 label, lower case.
pub(crate) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 name, lower case, without a dot at its end, and no address: its last label begins with a letter.
pub(crate) fn is_dns_name(text: &str) -> bool {
    let top_level = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(is_dns_label)
        && top_level.starts_with(|first: char| first.is_ascii_lowercase())
}

/// A DNS name, or `*.` and one.
pub(crate) fn is_hostname_pattern(text: &str) -> bool {
    is_dns_name(text.strip_prefix("*.").unwrap_or(text))
}
