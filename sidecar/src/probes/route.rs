//! What a request to the probe port asks for. Pure.

use http::Method;
use postern_config::record::{PodRecord, Probe, ProbeKind};
use subtle::ConstantTimeEq as _;

/// A path of the probe port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/startz`
    Started,
    /// `/readyz`
    Ready,
    /// `/probe/<token>/<container>/<kind>`, as [`PodRecord::probe_path`] writes it.
    Probe {
        /// Proves that the caller knows this pod's paths.
        token: &'a str,
        /// Name of a container.
        container: &'a str,
        /// Which of its probes or hooks.
        kind: ProbeKind,
    },
}

impl<'a> Route<'a> {
    /// Reads method and path; `None` is 404.
    pub(super) fn parse(method: &Method, path: &'a str) -> Option<Self> {
        if method != Method::GET {
            return None;
        }
        match path {
            "/startz" => return Some(Self::Started),
            "/readyz" => return Some(Self::Ready),
            _ => {}
        }
        let mut segments = path.strip_prefix("/probe/")?.split('/');
        let (token, container, kind) = (segments.next()?, segments.next()?, segments.next()?);
        let kind = ProbeKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        segments.next().is_none().then_some(Self::Probe { token, container, kind })
    }
}

/// The recorded probe behind a path, if the token is this pod's. The time that it takes tells nothing about
/// the token.
pub(super) fn find<'a>(
    record: &'a PodRecord,
    token: &str,
    container: &str,
    kind: ProbeKind,
) -> Option<&'a Probe> {
    // An empty token would open the paths of a record that has none.
    let known = !record.token.is_empty() && bool::from(record.token.as_bytes().ct_eq(token.as_bytes()));
    known
        .then(|| record.probes.iter().find(|probe| probe.container == container && probe.kind == kind))
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postern_config::policy::PortRef;
    use postern_config::record::ProbeAction;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn record(token: &str) -> PodRecord {
        let action = ProbeAction::TCPSocket { port: PortRef::Number(8080), host: None };
        PodRecord {
            namespace: "shop".to_owned(),
            trust: "orders".to_owned(),
            pod: "orders-0".to_owned(),
            generated: false,
            token: token.to_owned(),
            ports: BTreeMap::new(),
            probes: vec![Probe {
                container: "app".to_owned(),
                kind: ProbeKind::Liveness,
                action,
                timeout_seconds: 1,
            }],
            listeners: None,
        }
    }

    #[test]
    fn paths_are_read_whole_or_not_at_all() {
        let probe = |kind| Some(Route::Probe { token: TOKEN, container: "app", kind });
        for (method, path, expected) in [
            (Method::GET, "/startz".to_owned(), Some(Route::Started)),
            (Method::GET, "/readyz".to_owned(), Some(Route::Ready)),
            (Method::GET, record(TOKEN).probe_path("app", ProbeKind::Startup), probe(ProbeKind::Startup)),
            (Method::GET, format!("/probe/{TOKEN}/app/readiness"), probe(ProbeKind::Readiness)),
            (Method::GET, record(TOKEN).probe_path("app", ProbeKind::PostStart), probe(ProbeKind::PostStart)),
            (Method::GET, format!("/probe/{TOKEN}/app/prestop"), probe(ProbeKind::PreStop)),
            (Method::POST, format!("/probe/{TOKEN}/app/readiness"), None),
            (Method::HEAD, "/readyz".to_owned(), None),
            (Method::GET, format!("/probe/{TOKEN}/app/readiness/"), None),
            (Method::GET, format!("/probe/{TOKEN}/app/Readiness"), None),
            (Method::GET, format!("/probe/{TOKEN}/app"), None),
            (Method::GET, format!("//probe/{TOKEN}/app/readiness"), None),
            (Method::GET, "/readyz/".to_owned(), None),
            (Method::GET, "/".to_owned(), None),
            (Method::GET, String::new(), None),
        ] {
            assert_eq!(Route::parse(&method, &path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_probe_is_found_by_this_pods_token_alone() {
        use ProbeKind::{Liveness, Readiness};
        for (case, record_token, token, container, kind, found) in [
            ("the probe", TOKEN, TOKEN, "app", Liveness, true),
            ("another kind", TOKEN, TOKEN, "app", Readiness, false),
            ("another container", TOKEN, TOKEN, "side", Liveness, false),
            ("another token", TOKEN, "0123456789abcdef0123456789abcdee", "app", Liveness, false),
            ("part of the token", TOKEN, "0123", "app", Liveness, false),
            ("no token", TOKEN, "", "app", Liveness, false),
            ("a record without a token", "", "", "app", Liveness, false),
        ] {
            assert_eq!(find(&record(record_token), token, container, kind).is_some(), found, "{case}");
        }
    }
}
