//! What a route allows: hosts, methods and paths.

use http::Method;
use postern_config::policy::{self as config, ForwardedCertificate, PathMatchKind};

use super::compile::PolicyError;
use super::host::Host;
use super::path::Path;

/// What a route allows.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: Box<str>,
    pub(super) forwarded: ForwardedCertificate,
    /// Lower-case; empty: any.
    hostnames: Vec<Box<str>>,
    /// Any of these; `None`: everything.
    matches: Option<Vec<Match>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Match {
    method: Option<Box<str>>,
    path: Option<PathRule>,
}

#[derive(Debug, PartialEq, Eq)]
enum PathRule {
    Exact(Box<str>),
    /// Canonical, without a slash at its end.
    Prefix(Box<str>),
}

impl Route {
    pub(super) fn compile(written: &config::Route) -> Result<Self, PolicyError> {
        let mut matches = Vec::new();
        for rule in &written.rules {
            if rule.matches.is_empty() {
                matches.push(Match { method: None, path: None });
            }
            for entry in &rule.matches {
                let path =
                    entry.path.as_ref().map(|path| PathRule::compile(&written.name, path)).transpose()?;
                matches.push(Match { method: entry.method.as_deref().map(Into::into), path });
            }
        }
        Ok(Self {
            name: written.name.as_str().into(),
            forwarded: written.forwarded_certificate,
            hostnames: written.hostnames.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
            matches: (!written.rules.is_empty()).then_some(matches),
        })
    }

    pub(super) fn allows_host(&self, host: &Host<'_>) -> bool {
        self.hostnames.is_empty() || self.hostnames.iter().any(|pattern| host.matches(pattern))
    }

    pub(super) fn allows(&self, method: &Method, path: &Path<'_>) -> bool {
        let holds = |entry: &Match| {
            entry.method.as_ref().is_none_or(|allowed| method.as_str() == &**allowed)
                && entry.path.as_ref().is_none_or(|rule| rule.matches(path))
        };
        self.matches.as_ref().is_none_or(|matches| matches.iter().any(holds))
    }

    /// Whether it surely allows all that `other` does. Names and matches are compared one by one, so what only
    /// several of them cover together counts as not covered.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let hosts = self.hostnames.is_empty()
            || (!other.hostnames.is_empty()
                && other.hostnames.iter().all(|name| self.hostnames.contains(name)));
        hosts
            && match (&self.matches, &other.matches) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(ours), Some(theirs)) => {
                    theirs.iter().all(|their| ours.iter().any(|our| our.covers(their)))
                }
            }
    }
}

impl Match {
    fn covers(&self, other: &Self) -> bool {
        (self.method.is_none() || self.method == other.method)
            && (self.path.is_none() || self.path == other.path)
    }
}

impl PathRule {
    fn compile(route: &str, written: &config::PathMatch) -> Result<Self, PolicyError> {
        let impossible = |reason| PolicyError::ImpossiblePath {
            what: format!("route {route}"),
            path: written.value.clone(),
            reason,
        };
        let path = Path::parse(&written.value).map_err(impossible)?;
        Ok(match written.kind {
            PathMatchKind::Exact => Self::Exact(path.as_str().into()),
            PathMatchKind::PathPrefix => Self::Prefix(path.as_str().trim_end_matches('/').into()),
        })
    }

    fn matches(&self, path: &Path<'_>) -> bool {
        match self {
            Self::Exact(value) => path.as_str() == &**value,
            Self::Prefix(value) => path.has_prefix(value),
        }
    }
}
