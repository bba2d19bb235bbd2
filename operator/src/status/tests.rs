use postern_crds::api_route::GatewayStatus;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, since: i64) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: Some(1),
        last_transition_time: Time(at(since)),
    }
}

fn status(conditions: Vec<Condition>) -> BackendTrustStatus {
    BackendTrustStatus { conditions, ..BackendTrustStatus::default() }
}

fn settled(previous: Condition, next: Condition) -> (Timestamp, usize) {
    let mut next = status(vec![next]);
    let changed = settle::<BackendTrust>(&status(vec![previous]), &mut next, at(100));
    (next.conditions[0].last_transition_time.0, changed.len())
}

#[test]
fn the_same_status_keeps_its_time_and_tells_nobody() {
    let old = condition("Ready", "True", "Ready", 10);
    assert_eq!(settled(old, condition("Ready", "True", "Ready", 0)), (at(10), 0));
}

#[test]
fn another_reason_keeps_the_time_but_is_told() {
    let old = condition("Ready", "False", "PodsNotGuarded", 10);
    assert_eq!(settled(old, condition("Ready", "False", "PodsOutdated", 0)), (at(10), 1));
}

#[test]
fn another_status_takes_the_present_time() {
    let old = condition("Ready", "False", "PodsNotGuarded", 10);
    assert_eq!(settled(old, condition("Ready", "True", "Ready", 0)), (at(100), 1));
}

#[test]
fn the_time_is_whole_seconds() {
    let mut next = status(vec![condition("Ready", "True", "Ready", 0)]);
    let now = Timestamp::from_millisecond(100_700).unwrap();
    settle::<BackendTrust>(&BackendTrustStatus::default(), &mut next, now);
    assert_eq!(next.conditions[0].last_transition_time.0, at(100));
}

#[test]
fn conditions_of_each_gateway_stand_for_themselves() {
    let route = |edge: &str, inner: &str, since| ApiRouteStatus {
        gateways: [("edge", edge), ("inner", inner)]
            .map(|(name, status)| GatewayStatus {
                name: name.to_owned(),
                conditions: vec![condition("Programmed", status, "Programmed", since)],
                ..GatewayStatus::default()
            })
            .into(),
        ..ApiRouteStatus::default()
    };
    let mut next = route("True", "True", 0);
    let changed = settle::<ApiRoute>(&route("True", "False", 10), &mut next, at(100));
    assert_eq!(changed.iter().map(|one| one.list.as_str()).collect::<Vec<_>>(), ["inner"]);
    assert_eq!(next.gateways[0].conditions[0].last_transition_time.0, at(10));
    assert_eq!(next.gateways[1].conditions[0].last_transition_time.0, at(100));
}

#[test]
fn events_are_for_what_is_wrong_and_for_ready_and_none_is_told_twice() {
    let told = |changed: &[(&str, &str, &str, bool)]| {
        let changed = changed.iter().map(|&(type_, status, reason, first)| Changed {
            list: String::new(),
            condition: condition(type_, status, reason, 0),
            first,
        });
        worth_an_event(changed.collect()).iter().map(|one| one.condition.type_.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&[("Armed", "False", "AdmissionNotReady", false)]), ["Armed"]);
    assert_eq!(told(&[("Armed", "False", "AdmissionNotReady", true)]), [""; 0]);
    assert_eq!(told(&[("Armed", "True", "Armed", false), ("Ready", "True", "Ready", false)]), ["Ready"]);
    assert_eq!(told(&[("Ready", "Unknown", "NoPods", true)]), ["Ready"]);
    assert_eq!(
        told(&[("Accepted", "False", "Conflicted", true), ("Ready", "False", "Conflicted", true)]),
        ["Accepted"]
    );
    assert_eq!(
        told(&[("Programmed", "False", "PodsOutdated", false), ("Ready", "False", "PodsOutdated", false)]),
        ["Programmed"]
    );
    assert_eq!(told(&[("Ready", "False", "TrustNotReady", false)]), ["Ready"]);
}

#[test]
fn a_long_text_is_cut_between_characters() {
    assert_eq!(truncate("ééé".to_owned(), 5), "é…");
    assert_eq!(truncate("short".to_owned(), 5), "short");
}
