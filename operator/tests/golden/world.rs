//! A cluster in memory: what is rendered lies there at the next step, and pods load it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};
use postern_config::bundle::Bundle;
use postern_config::layout;
use postern_config::loaded::Loaded;
use postern_config::signed::{Signer, VerifyKey};
use postern_operator::injection::shape::Shape;
use postern_operator::inputs::{
    Authorities, Existing, ExistingKey, Injection, Inputs, KeyId, KeySecret, Leaf, LeafFacts, LockKey,
    LockSecret, PodFacts, SealedBundle,
};
use postern_operator::plan::{
    Armed, CredentialsStep, Failure, LeafPlan, LeafSpec, Material, Outcome, Plan, Progress,
};
use postern_operator::render::{self, Objects, gateway_secret};
use postern_operator::resolve::{pods, resolve, selectors::Selector, stage};
use postern_operator::settings::{AllowedNamespaces, Flavour, Gateway, Images, Lifetimes, Settings};
use postern_operator::watch::lean::LeanPod;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::case::{Case, GatewaySetting, Step};
use super::report;

/// Stands for every private key.
pub(crate) const PRIVATE: &str = "PRIVATE";

/// What lies in the cluster.
#[derive(Clone)]
pub(crate) struct World {
    settings: Settings,
    signer: Arc<Signer>,
    now: Timestamp,
    leaves: BTreeMap<String, Leaf>,
    /// How many were made.
    pub(super) secrets: usize,
    /// By user and password: the number of the verifier.
    pub(super) verifiers: BTreeMap<(String, String), usize>,
    lock_secret: Option<Secret>,
    keys: BTreeMap<KeyId, (String, Secret, BTreeMap<String, String>)>,
    loaded: BTreeMap<String, Loaded>,
    pub(super) deleted: BTreeSet<String>,
    changed: Vec<(String, serde_json::Value)>,
    requested_at: Option<Timestamp>,
    armed_since: Option<Timestamp>,
    progress: Progress,
    /// What every pod's sidecar has seen, and let through although it should not.
    says: Loaded,
    /// The lock's policy, with its Binding's selector.
    admitted: Existing<Option<Selector>>,
}

/// One look of the operator.
pub(crate) struct Look {
    pub(crate) plan: Plan,
    pub(crate) material: Material,
    pub(crate) objects: Objects,
    pub(crate) outcome: Outcome,
    pub(crate) verify_key: VerifyKey,
}

impl World {
    pub(crate) fn new(case: &Case) -> Self {
        let signer = Arc::new(Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap());
        let gateways = match &case.setting.gateways {
            Some(gateways) => gateways.iter().map(gateway).collect(),
            None => vec![Gateway {
                name: "edge".to_owned(),
                flavour: Flavour::Nginx,
                namespace: Some("gateways".to_owned()),
                allowed: AllowedNamespaces::All,
                hostnames: BTreeMap::new(),
            }],
        };
        let settings = Settings {
            namespace: "postern".to_owned(),
            trust_domain: "test.cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            gateways: gateways.into_iter().map(|gateway| (gateway.name.clone(), gateway)).collect(),
            images: Images { current: "postern-sidecar:1".to_owned(), previous: None },
            verify_keys: vec![signer.verify_key()],
            lifetimes: Lifetimes::default(),
            floor: case.setting.floor.clone(),
        };
        assert_eq!(settings.problems(), Vec::<String>::new());
        Self {
            settings,
            signer,
            now: case.setting.now,
            leaves: BTreeMap::new(),
            secrets: 0,
            verifiers: BTreeMap::new(),
            lock_secret: None,
            keys: BTreeMap::new(),
            loaded: BTreeMap::new(),
            deleted: BTreeSet::new(),
            changed: Vec::new(),
            requested_at: None,
            armed_since: case.setting.armed_since,
            progress: Progress::default(),
            says: Loaded::default(),
            admitted: case.setting.armed_since.map_or(Existing::Absent, |_| Existing::Ours(None)),
        }
    }

    /// Lets something happen, looks, and looks once more: what is settled must not be written again.
    pub(crate) fn step(&mut self, case: &Case, step: &Step) -> serde_yaml::Value {
        self.now += step.after;
        self.deleted.extend(step.delete.iter().cloned());
        self.changed.extend(step.change.clone());
        if let Some(says) = &step.says {
            self.says = says.clone();
        }
        self.requested_at = step.requested_at.or(self.requested_at);
        if step.new_signing_key {
            self.signer = Arc::new(Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap());
            self.settings.verify_keys.insert(0, self.signer.verify_key());
        }
        let deployed = self.deployed_hash();
        self.acknowledge(deployed.as_ref(), &self.gather(case, step).pods, step);
        let mut look = self.look(case, step);
        // The operator looks again at once where it has reached something.
        while look.outcome.advance.as_ref().is_some_and(|advance| advance.renew) {
            look = self.look(case, step);
        }
        let settled = self.clone().look(case, step);
        assert_idle(&look, &settled);
        report::step(step, &look, &case.setting)
    }

    fn look(&mut self, case: &Case, step: &Step) -> Look {
        let mut inputs = self.gather(case, step);
        let plan = resolve(&self.settings, &inputs);
        let material = Material::fulfil(&plan, &inputs, self).unwrap();
        let objects =
            render::render(&self.settings, &inputs.authorities, &plan, &material, &self.signer).unwrap();
        let outcome = self.apply(&plan, &objects);
        self.acknowledge(outcome.lock_secret.as_ref().unwrap().as_ref(), &inputs.pods, step);
        for pod in &mut inputs.pods {
            pod.loaded = self.loaded.get(&pod.name).cloned().filter(|_| !step.silent.contains(&pod.name));
        }
        let hash = outcome.lock_secret.clone().unwrap();
        let judged = pods::judge(&inputs, hash.as_deref());
        let policy = objects.lock.as_ref().map(|lock| &lock.policy);
        let advance =
            plan.lock.present().map(|lock| stage::advance(&inputs, lock, policy, &inputs.pods, &judged));
        let outcome = Outcome { pods: judged, advance, ..outcome };
        if let Some(status) = render::status::trust(&plan, &material, &outcome) {
            self.progress = Progress::new(&status);
        }
        Look { plan, material, objects, outcome, verify_key: self.signer.verify_key() }
    }

    fn gather(&self, case: &Case, step: &Step) -> Inputs {
        let key = LockKey { namespace: case.setting.namespace.clone(), name: case.setting.trust.clone() };
        let there = |kind: &str, name: &str| !self.deleted.contains(&format!("{kind}/{name}"));
        let trusts =
            case.trusts.iter().filter(|trust| there("BackendTrust", &trust.name_any())).map(|trust| {
                let mut trust = self.changed(trust);
                if let Some(at) = self.requested_at {
                    trust.spec.rotation.get_or_insert_default().requested_at = Some(Time(at));
                }
                Arc::new(trust)
            });
        let (own, other_trusts): (Vec<_>, Vec<_>) = trusts.partition(|trust| trust.name_any() == key.name);
        let routes = case
            .routes
            .iter()
            .filter(|route| there("ApiRoute", &route.name_any()) && route.spec.trust_ref.name == key.name);
        let pods = case.pods.iter().filter(|pod| there("Pod", &pod.name_any()));
        let own = own.into_iter().next();
        Inputs {
            now: self.now,
            namespace_labels: case.setting.namespace_labels.clone(),
            documents: self.documents(case, step, own.as_deref()),
            trust: own,
            other_trusts,
            routes: routes.map(|route| Arc::new(self.changed(route))).collect(),
            services: case.services.iter().cloned().map(Arc::new).collect(),
            pods: pods.map(|pod| self.facts(pod, &key, step)).collect(),
            authorities: Authorities {
                backend_roots_pem: "<CA of backends>\n".to_owned(),
                client_roots_pem: "<CA of callers>\n".to_owned(),
            },
            lock_secret: self.existing_lock(case, &key),
            keys: self
                .existing_keys(case, &key)
                .into_iter()
                .filter(|(_, existing)| !step.unreadable.contains(&existing.namespace))
                .collect(),
            unreadable: step
                .unreadable
                .iter()
                .map(|namespace| (namespace.clone(), "secrets is forbidden".to_owned()))
                .collect(),
            admission: if case.setting.foreign.iter().any(|name| name == "Admission") {
                Existing::Foreign
            } else {
                self.admitted.clone()
            },
            references: self.references(case, step),
            armed_since: self.armed_since,
            progress: self.progress.clone(),
            key,
        }
    }

    /// An object with all that has changed in it.
    fn changed<K>(&self, object: &K) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let name = format!("{}/{}", K::kind(&()), object.name_any());
        let mut value = serde_json::to_value(object).unwrap();
        for (_, change) in self.changed.iter().filter(|(changed, _)| *changed == name) {
            json_patch::merge(&mut value, change);
        }
        serde_json::from_value(value).unwrap()
    }

    fn facts(&self, pod: &Pod, key: &LockKey, step: &Step) -> PodFacts {
        let listening = pod.annotations().get("test/listening-for");
        let guarded = pod.annotations().get("test/guarded-by").or(listening);
        let injection = match (guarded, listening) {
            (_, Some(trust)) => Injection::For {
                trust: trust.clone(),
                current_image: true,
                shape: Shape::listener(),
                privileges: None,
            },
            (Some(trust), None) => Injection::plain(trust, true),
            (None, None) => Injection::No("it has no sidecar".to_owned()),
        };
        let facts = LeanPod::new(pod, injection).facts(key);
        let loaded = self.loaded.get(&facts.name).cloned().filter(|_| !step.silent.contains(&facts.name));
        let exposed = listening.map(|_| Vec::new());
        PodFacts { mounts_lock_secret: guarded == Some(&key.name), loaded, exposed, ..facts }
    }

    fn is_foreign(case: &Case, kind: &str, namespace: &str, name: &str) -> bool {
        case.setting.foreign.iter().any(|foreign| *foreign == format!("{kind}/{namespace}/{name}"))
    }

    fn existing_lock(&self, case: &Case, key: &LockKey) -> Existing<LockSecret> {
        if Self::is_foreign(case, "Secret", &key.namespace, &layout::secret_name(&key.name)) {
            return Existing::Foreign;
        }
        let Some(secret) = &self.lock_secret else { return Existing::Absent };
        let payload = bytes(secret, layout::BUNDLE_KEY);
        let signature = text(secret, layout::BUNDLE_SIGNATURE_KEY);
        let current = &self.settings.verify_keys[..1];
        let bundle =
            Bundle::open(&payload, &signature, &self.settings.verify_keys).ok().map(|bundle| SealedBundle {
                bundle,
                by_current_key: Bundle::open(&payload, &signature, current).is_ok(),
                payload,
                signature,
            });
        Existing::Ours(LockSecret { leaf: self.leaf(secret, layout::CERTIFICATE_KEY), bundle })
    }

    fn leaf(&self, secret: &Secret, key: &str) -> Option<Leaf> {
        secret.data.as_ref()?.get(key)?;
        self.leaves.get(&text(secret, key)).cloned()
    }

    fn existing_keys(&self, case: &Case, lock: &LockKey) -> BTreeMap<KeyId, ExistingKey> {
        let mut keys: BTreeMap<_, _> = self
            .keys
            .iter()
            .map(|(id, (namespace, secret, config))| {
                let key_secret = KeySecret {
                    current: self.leaf(secret, gateway_secret::CERTIFICATE_KEY),
                    next: self.leaf(secret, gateway_secret::NEXT_CERTIFICATE_KEY),
                    previous: gateway_secret::previous(secret.metadata.annotations.as_ref()),
                    credentials: gateway_secret::credentials(secret.data.as_ref()),
                    configuration: gateway_secret::configuration(secret.data.as_ref()),
                };
                let secret = Existing::Ours(key_secret);
                let config_map = Existing::Ours(config.clone());
                (id.clone(), ExistingKey { namespace: namespace.clone(), secret, config_map })
            })
            .collect();
        for route in case.routes.iter().filter(|route| route.spec.trust_ref.name == lock.name) {
            for gateway in &route.spec.gateways {
                let id = KeyId {
                    gateway: gateway.name.clone(),
                    namespace: lock.namespace.clone(),
                    route: route.name_any(),
                };
                let Some(declared) = self.settings.gateways.get(&id.gateway) else { continue };
                let namespace = declared.output_namespace(&self.settings.namespace);
                let mut foreign = ExistingKey { namespace: namespace.to_owned(), ..ExistingKey::default() };
                if Self::is_foreign(case, "Secret", namespace, &id.object_name()) {
                    foreign.secret = Existing::Foreign;
                }
                if Self::is_foreign(case, "ConfigMap", namespace, &id.object_name()) {
                    foreign.config_map = Existing::Foreign;
                }
                if foreign.secret.is_foreign() || foreign.config_map.is_foreign() {
                    keys.insert(id, foreign);
                }
            }
        }
        keys
    }

    /// A leaf that is only facts: what a certificate is, the tests of `pki` know.
    pub(super) fn issue(&mut self, spec: &LeafSpec) -> Leaf {
        let serial = self.leaves.len() + 1;
        let whole = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap();
        let leaf = Leaf {
            certificate_pem: format!("<certificate {serial}>\n"),
            private_key_pem: Zeroizing::new(format!("{PRIVATE} {serial}")),
            facts: LeafFacts {
                certificate_sha256: format!("{serial:064x}"),
                spki_sha256: format!("{:064x}", serial + 0xa000),
                names: spec.names.clone(),
                not_before: whole(self.now - SignedDuration::from_mins(10)),
                not_after: whole(self.now + spec.lifetime),
                sound: true,
            },
        };
        self.leaves.insert(leaf.certificate_pem.clone(), leaf.clone());
        leaf
    }

    fn apply(&mut self, plan: &Plan, objects: &Objects) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(lock) = &objects.lock {
            self.lock_secret = Some(lock.secret.clone());
            outcome.lock_secret = Ok(Some(lock.config_hash.clone()));
        }
        for (id, rendered) in &objects.keys {
            let result = match rendered {
                Err(refused) => {
                    Err(Failure { reason: postern_crds::Reason::WriteFailed, message: refused.to_string() })
                }
                Ok(rendered) => {
                    let old = self.keys.remove(id).map(|(_, _, config)| config).unwrap_or_default();
                    let config = rendered.config_map.clone().map_or(old, |map| map.data.unwrap_or_default());
                    let namespace = rendered.secret.namespace().unwrap();
                    self.keys.insert(id.clone(), (namespace, rendered.secret.clone(), config));
                    Ok(())
                }
            };
            outcome.keys.insert(id.clone(), result);
        }
        for (id, _) in &plan.remove.keys {
            self.keys.remove(id);
        }
        if plan.remove.lock_secret {
            self.lock_secret = None;
        }
        if let Some(selector) = plan.lock.watched() {
            self.admitted = Existing::Ours(Some(selector.clone()));
            if plan.lock.present().is_some() {
                outcome.armed = Armed::Yes;
            }
        }
        if plan.remove.admission {
            self.admitted = Existing::Absent;
        }
        outcome
    }

    /// Every pod behind the lock that is not silent loads what lies there.
    fn acknowledge(&mut self, hash: Option<&String>, pods: &[PodFacts], step: &Step) {
        let Some(hash) = hash else { return };
        for pod in pods.iter().filter(|pod| pod.mounts_lock_secret && !pod.finished()) {
            if step.silent.contains(&pod.name) || pod.ips.is_empty() {
                continue;
            }
            let seen = step.seen.iter().map(|(id, after)| (id.clone(), 1_795_291_200 + after));
            let loaded = Loaded {
                config_hash: Some(hash.clone()),
                version: "1".to_owned(),
                seen: self.says.seen.clone().into_iter().chain(seen).collect(),
                ..self.says.clone()
            };
            self.loaded.insert(pod.name.clone(), loaded);
        }
    }

    fn deployed_hash(&self) -> Option<String> {
        let payload = bytes(self.lock_secret.as_ref()?, layout::BUNDLE_KEY);
        let bundle: Bundle = serde_json::from_slice(&payload).unwrap();
        Some(bundle.content.hash().unwrap())
    }
}

/// The second look may go on with a rotation, since the pods have acknowledged by then; but what the first one
/// wrote and the second doesn't change must be the same bytes.
fn assert_idle(first: &Look, second: &Look) {
    let rotating = |look: &Look| {
        let keys = look.plan.routes.iter().flat_map(|route| &route.keys);
        keys.filter_map(|key| key.action.step())
            .any(|step| step.leaf != LeafPlan::Keep || step.credentials.step != CredentialsStep::Keep)
    };
    if rotating(second) {
        assert!(rotating(first), "a second look starts what the first one didn't");
        return;
    }
    let lock = |look: &Look| look.objects.lock.as_ref().map(|lock| lock.secret.clone());
    assert_eq!(lock(first), lock(second), "the lock's Secret is written again");
    let again = |look: &Look| {
        let keys = look.objects.keys.iter();
        keys.map(|(id, objects)| {
            (id.clone(), objects.as_ref().ok().map(|key| (key.secret.clone(), key.config_map.clone())))
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(again(first), again(second), "a key is written again");
    assert!(second.plan.remove.keys.is_empty(), "what was removed is removed again");
}

fn gateway(setting: &GatewaySetting) -> Gateway {
    Gateway {
        name: setting.name.clone(),
        flavour: Flavour::Nginx,
        namespace: setting.namespace.clone(),
        allowed: match (&setting.selector, setting.closed) {
            (_, true) => AllowedNamespaces::None,
            (Some(selector), false) => {
                AllowedNamespaces::Selector(Selector::from_label_selector(selector).unwrap())
            }
            (None, false) => AllowedNamespaces::All,
        },
        hostnames: setting.hostnames.clone(),
    }
}

fn bytes(secret: &Secret, key: &str) -> Vec<u8> {
    secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .map(|ByteString(bytes)| bytes.clone())
        .unwrap_or_default()
}

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(bytes(secret, key)).unwrap()
}
