use super::*;
use crate::inputs::{Injection, Phase};
use crate::plan::PodPlan;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn owner(kind: &str, name: &str) -> Owner {
    let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    Owner { api_version: api_version.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn pod(name: &str, created: i64, owner: Option<Owner>, ready: bool) -> PodFacts {
    PodFacts {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        created: at(created),
        deleting: false,
        labels: BTreeMap::new(),
        owner,
        injection: Injection::No("it has no sidecar".to_owned()),
        phase: Phase::Running,
        ready,
        sidecar_started: true,
        ips: Vec::new(),
        ports: Vec::new(),
        mounts_lock_secret: false,
        host_network: false,
        mirror: false,
        windows: false,
        config_annotation: None,
        restarted: None,
        foreign_redirect: None,
        loaded: None,
        exposed: None,
    }
}

fn plan(pods: &[PodFacts], slipped_in: bool) -> PodsPlan {
    let pods = pods.iter().map(|pod| PodPlan {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        owner: pod.owner.clone(),
        state: PodState::Unguarded { why: "it has no sidecar".to_owned(), slipped_in },
        foreign_redirect: None,
    });
    PodsPlan { pods: pods.collect(), ..PodsPlan::default() }
}

fn rolling(kind: &str, restarted: Option<i64>, blocked: Option<&str>) -> Workload {
    Workload::Rolling {
        kind: kind.to_owned(),
        name: "orders".to_owned(),
        restarted: restarted.map(at),
        blocked: blocked.map(ToOwned::to_owned),
    }
}

fn steps(pods: &[PodFacts], workloads: &[(Owner, Workload)]) -> Vec<Step> {
    decide(&plan(pods, false), pods, &workloads.iter().cloned().collect(), true, false)
}

fn restart(kind: &str) -> Step {
    Step::Restart { kind: kind.to_owned(), name: "orders".to_owned() }
}

fn evict(pod: &str) -> Step {
    Step::Evict { pod: pod.to_owned() }
}

#[test]
fn a_workload_is_restarted_once_for_all_its_pods() {
    let set = owner("ReplicaSet", "orders-1");
    let pods = [pod("a", 10, Some(set.clone()), true), pod("b", 20, Some(set.clone()), true)];
    assert_eq!(steps(&pods, &[(set, rolling("Deployment", None, None))]), [restart("Deployment")]);
}

#[test]
fn a_restarted_workload_is_given_time() {
    let set = owner("StatefulSet", "orders");
    let pods = [pod("a", 10, Some(set.clone()), true)];
    assert_eq!(steps(&pods, &[(set.clone(), rolling("StatefulSet", Some(15), None))]), []);
    // A pod that is younger than the restart is a new need.
    assert_eq!(steps(&pods, &[(set, rolling("StatefulSet", Some(5), None))]), [restart("StatefulSet")]);
}

#[test]
fn a_pod_made_by_the_last_restart_in_its_very_second_can_be_restarted_again() {
    let set = owner("ReplicaSet", "orders-1");
    let half_past = Timestamp::from_millisecond(15_500).unwrap();
    let mut former = pod("a", 15, Some(set.clone()), true);
    let mut workload = rolling("Deployment", None, None);
    let Workload::Rolling { restarted, .. } = &mut workload else { unreachable!() };
    *restarted = Some(half_past);
    let of = |pod: &PodFacts| steps(std::slice::from_ref(pod), &[(set.clone(), workload.clone())]);
    assert_eq!(of(&former), [], "it was there before the restart, which replaces it");
    former.restarted = Some(at(3));
    assert_eq!(of(&former), [], "an earlier restart made it");
    former.restarted = Some(half_past);
    assert_eq!(of(&former), [restart("Deployment")], "this restart made it");
}

#[test]
fn a_workload_that_would_not_roll_is_named() {
    let set = owner("DaemonSet", "orders");
    let pods = [pod("a", 10, Some(set.clone()), true)];
    let steps = steps(&pods, &[(set, rolling("DaemonSet", None, Some("it is paused: resume it")))]);
    assert_eq!(
        steps,
        [Step::Say("DaemonSet orders does not replace its pods, since it is paused: resume it".to_owned())]
    );
}

#[test]
fn without_a_rolling_way_one_pod_goes_at_a_time_and_only_while_the_others_are_ready() {
    let set = owner("ReplicaSet", "bare");
    let ready = [pod("a", 10, Some(set.clone()), true), pod("b", 10, Some(set.clone()), true)];
    let workloads = [(set.clone(), Workload::Evict)];
    assert_eq!(steps(&ready, &workloads), [evict("a"), Step::Later]);
    let starting = [pod("a", 10, Some(set.clone()), true), pod("b", 10, Some(set), false)];
    assert_eq!(steps(&starting, &workloads), [Step::Later]);
}

#[test]
fn an_unknown_controller_makes_its_pods_anew() {
    let other =
        Owner { api_version: "example.org/v1".to_owned(), kind: "Fleet".to_owned(), name: "f".to_owned() };
    assert_eq!(steps(&[pod("a", 10, Some(other), true)], &[]), [evict("a")]);
}

#[test]
fn an_owner_that_could_not_be_read_is_left_alone() {
    assert_eq!(steps(&[pod("a", 10, Some(owner("StatefulSet", "orders")), true)], &[]), []);
}

#[test]
fn jobs_are_never_touched_and_bare_pods_are_named() {
    let pods = [pod("a", 10, Some(owner("Job", "import")), true), pod("b", 10, None, true)];
    assert_eq!(
        steps(&pods, &[]),
        [
            Step::Say("pod a belongs to Job import and is left to end".to_owned()),
            Step::Say("pod b has no controller that would make it anew: delete it".to_owned()),
        ]
    );
}

#[test]
fn what_slipped_in_is_evicted_whatever_it_is() {
    let pods = [pod("a", 10, Some(owner("Job", "import")), false), pod("b", 10, None, false)];
    let steps = decide(&plan(&pods, true), &pods, &BTreeMap::new(), false, false);
    assert_eq!(steps, [evict("a"), evict("b")]);
}

#[test]
fn what_is_going_already_is_left_to_go() {
    let mut going = pod("a", 10, None, true);
    going.deleting = true;
    let pods = [going];
    assert_eq!(decide(&plan(&pods, true), &pods, &BTreeMap::new(), true, false), []);
}

#[test]
fn on_delete_replaces_nothing_that_ran_before() {
    let pods = [pod("a", 10, Some(owner("ReplicaSet", "orders-1")), true)];
    assert_eq!(decide(&plan(&pods, false), &pods, &BTreeMap::new(), false, false), []);
}

/// Two workloads, of which the first has one pod behind the lock in the state given, if any.
fn canary(state: Option<PodState>, ready: bool, restarted: Option<i64>) -> Vec<Step> {
    let (carts, orders) = (owner("StatefulSet", "carts"), owner("StatefulSet", "orders"));
    let pods = [
        pod("carts-0", 10, Some(carts.clone()), true),
        pod("carts-1", 30, Some(carts.clone()), ready),
        pod("orders-0", 10, Some(orders.clone()), true),
    ];
    let mut plan = plan(&pods, false);
    match state {
        Some(state) => plan.pods[1].state = state,
        None => drop(plan.pods.remove(1)),
    }
    let named = |name: &str, restarted: Option<i64>| Workload::Rolling {
        kind: "StatefulSet".to_owned(),
        name: name.to_owned(),
        restarted: restarted.map(at),
        blocked: None,
    };
    let workloads = BTreeMap::from([(carts, named("carts", restarted)), (orders, named("orders", None))]);
    decide(&plan, &pods, &workloads, true, true)
}

#[test]
fn a_canary_goes_first_and_stops_the_others_unless_it_is_ready() {
    let restart = |name: &str| Step::Restart { kind: "StatefulSet".to_owned(), name: name.to_owned() };
    let outdated = || PodState::Outdated { why: String::new() };
    let stuck = || {
        Step::Say(
            "pod carts-1 is the first behind the lock and not ready, so no other workload is restarted: look at its \
             containers"
                .to_owned(),
        )
    };
    assert_eq!(canary(None, true, None), [restart("carts"), Step::Later], "the first");
    assert_eq!(canary(None, true, Some(20)), [Step::Later], "the first is restarted");
    assert_eq!(canary(Some(PodState::Starting), false, Some(20)), [Step::Later, stuck()]);
    assert_eq!(canary(Some(outdated()), true, Some(20)), [Step::Later, stuck()]);
    assert_eq!(canary(Some(PodState::Current), false, Some(20)), [Step::Later, stuck()]);
    assert_eq!(canary(Some(PodState::Current), true, Some(20)), [restart("orders")], "proven");
}
