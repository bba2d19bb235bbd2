use super::*;
use crate::settings::{LockKind, Permission};
use postern_config::policy::Mode;

const WHOLE: &str = "
namespace: postern-system
trustDomain: example.org
clusterDomain: corp.local
sidecarImage: registry.example/postern-sidecar:1.2.3
imagePullPolicy: IfNotPresent
sidecarResources:
  requests: {cpu: 10m, memory: 16Mi}
  limits: {cpu: 500m, memory: 64Mi}
gateways:
  - name: edge
    flavour: NGINX
    namespace: gateways
    allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {edge: 'true'}}}}
    hostnames: {shop: ['*.example.com']}
  - {name: outside, flavour: NGINX, allowedRoutes: {namespaces: {from: All}}}
  - {name: nobody, flavour: NGINX}
webhook: {serviceName: hook, port: 8443}
certificateLifetime: 1000h
certificateOverlap: 12h
floor: {plaintext: Deny, audit: Deny, foreignAuthorities: Deny, modes: [Force], lockTypes: [Caller]}
";

const SMALLEST: &str = "
namespace: postern-system
sidecarImage: postern-sidecar:1
sidecarResources:
  requests: {cpu: 10m, memory: 16Mi}
  limits: {cpu: 500m, memory: 64Mi}
";

fn faults(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

#[test]
fn everything_that_can_be_said_is_understood() {
    let config = Config::parse(WHOLE).unwrap();
    let labels = |value: &str| [("edge".to_owned(), value.to_owned())].into();
    assert_eq!(config.gateways["edge"].namespace.as_deref(), Some("gateways"));
    assert!(config.gateways["edge"].allowed.allows(&labels("true")));
    assert!(!config.gateways["edge"].allowed.allows(&labels("false")));
    assert_eq!(config.gateways["edge"].hostnames["shop"], ["*.example.com"]);
    assert!(config.gateways["outside"].allowed.allows(&labels("false")));
    assert!(!config.gateways["nobody"].allowed.allows(&labels("true")));
    let floor = Floor {
        plaintext: Permission::Deny,
        audit: Permission::Deny,
        foreign_authorities: Permission::Deny,
        modes: vec![Mode::Force],
        lock_types: vec![LockKind::Caller],
    };
    assert_eq!(config.floor, floor);
    assert_eq!(config.lifetimes.certificate, SignedDuration::from_hours(1000));
    assert_eq!(config.lifetimes.overlap, SignedDuration::from_hours(12));
    assert_eq!(config.webhook, Webhook { service_name: "hook".to_owned(), port: 8443 });
    let settings = config.settings("uid", None, Vec::new());
    assert_eq!(
        (settings.trust_domain.as_str(), settings.cluster_domain.as_str()),
        ("example.org", "corp.local")
    );
}

#[test]
fn what_is_absent_is_the_strict_or_usual_choice() {
    let config = Config::parse(SMALLEST).unwrap();
    assert!(config.gateways.is_empty());
    assert_eq!(config.webhook, Webhook { service_name: "postern-webhook".to_owned(), port: 9443 });
    assert_eq!(config.sidecar.image_pull_policy, "IfNotPresent");
    let settings = config.settings("0f8fad5b", Some("old:1".to_owned()), Vec::new());
    assert_eq!(settings.trust_domain, "0f8fad5b.cluster.local");
    assert_eq!(settings.images.previous.as_deref(), Some("old:1"));
}

#[test]
fn all_that_makes_no_sense_is_named_at_once() {
    let text = "
namespace: Postern
sidecarImage: ''
imagePullPolicy: Sometimes
sidecarResources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 1}}
gateways:
  - {name: edge, flavour: NGINX, allowedRoutes: {namespaces: {from: Selector}}}
  - {name: edge, flavour: NGINX, allowedRoutes: {namespaces: {from: All, selector: {}}}}
  - {name: a.b, flavour: NGINX, namespace: A}
  - name: other
    flavour: NGINX
    allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: a, operator: In}]}}}
certificateLifetime: 24h
";
    let faults = faults(text);
    for place in [
        "namespace: \"Postern\"",
        "sidecarImage is empty",
        "imagePullPolicy: \"Sometimes\"",
        "sidecarResources.limits.memory: is missing",
        "gateways[0].allowedRoutes.namespaces.selector: is missing",
        "gateways[1].allowedRoutes.namespaces.selector: has a meaning only",
        "gateways[1].name: \"edge\" is declared twice",
        "gateway \"a.b\"",
        "gateways[2].namespace: \"A\"",
        "gateways[3].allowedRoutes.namespaces.selector: the requirement on label a",
        "certificateLifetime",
    ] {
        assert!(faults.contains(place), "{place} is not in:\n{faults}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let unknown = format!("{SMALLEST}\ngateways:\n  - {{name: edge, flavour: Sendmail}}\n");
    assert!(faults(&unknown).contains("gateways[0].flavour"), "{}", faults(&unknown));
    let surplus = format!("{SMALLEST}\nsurplus: 1\n");
    assert!(faults(&surplus).contains("surplus"), "{}", faults(&surplus));
    assert!(faults("namespace: a\n").contains("sidecarImage"));
    assert!(
        Config::load(Path::new("/nonexistent/postern.yaml")).unwrap_err().to_string().contains("--config")
    );
}
