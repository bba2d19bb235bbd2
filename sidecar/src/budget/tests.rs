use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn is_evicted(ticket: &Ticket) -> bool {
    pin!(ticket.evicted()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn reason(result: Result<Ticket, Denial>) -> String {
    let denial = result.unwrap_err();
    assert_eq!(denial.code, Code::TooManyConnections);
    denial.reason.into_owned()
}

fn is_unused(budget: &Budget) -> bool {
    let counts = budget.lock();
    let is_empty = |share: &Share| share.all + share.addresses.len() + share.networks.len() == 0;
    counts.all == 0 && is_empty(&counts.unproven) && is_empty(&counts.open) && counts.silent.is_empty()
}

#[test]
fn strangers_cannot_use_up_the_callers_budget() {
    let limits = Limits { connections: 5, unproven: 3, unproven_per_source: 2, open: 1, ..Limits::default() };
    let budget = Budget::new(limits);

    let mut first = budget.admit(ip("10.0.0.1")).unwrap();
    let second = budget.admit(ip("::ffff:10.0.0.1")).unwrap();
    assert!(reason(budget.admit(ip("10.0.0.1"))).contains("one source"), "two of one source");
    let mut third = budget.admit(ip("fd00::1")).unwrap();
    for ticket in [&first, &second, &third] {
        ticket.seen();
    }
    assert!(reason(budget.admit(ip("10.0.0.2"))).contains("of 3"), "three strangers");

    first.proven();
    first.proven();
    let fourth = budget.admit(ip("fd00::2")).unwrap();
    fourth.seen();
    assert!(reason(budget.admit(ip("10.0.0.1"))).contains("of 3"), "three strangers again");
    third.open().unwrap();
    let mut fifth = budget.admit(ip("10.0.0.1")).unwrap();
    fifth.seen();
    assert!(fifth.open().unwrap_err().reason.contains("open ports"), "one open connection");
    drop(second);
    assert!(budget.admit(ip("10.0.0.9")).is_ok(), "a place is free again");
    drop((first, third, fourth, fifth));
    assert!(is_unused(&budget));
}

#[test]
fn whoever_has_shown_nothing_for_longest_makes_room() {
    for limits in [
        Limits { unproven: 3, ..Limits::default() },
        Limits { connections: 3, ..Limits::default() },
        Limits { unproven_per_network: 3, ..Limits::default() },
    ] {
        let budget = Budget::new(limits.clone());
        let seen = budget.admit(ip("fd00::1")).unwrap();
        seen.seen();
        let [older, newer] = ["fd00::2", "fd00::3"].map(|source| budget.admit(ip(source)).unwrap());
        let elsewhere = (limits.unproven_per_network == 3).then(|| budget.admit(ip("fd01::1")).unwrap());
        let newest = budget.admit(ip("fd00::4")).unwrap();
        assert!(is_evicted(&older));
        for kept in [&seen, &newer, &newest].into_iter().chain(&elsewhere) {
            assert!(!is_evicted(kept), "{limits:?}");
        }
        newer.seen();
        newest.seen();
        assert!(budget.admit(ip("fd00::5")).is_err(), "nobody is silent: {limits:?}");
        drop((seen, older, newer, newest, elsewhere));
        assert!(is_unused(&budget));
    }
}

#[test]
fn neighbours_in_an_ipv6_network_do_not_share_one_place() {
    let limits = Limits { unproven_per_source: 2, unproven_per_network: 3, ..Limits::default() };
    let budget = Budget::new(limits);
    let mut held = vec![budget.admit(ip("fd00::a")).unwrap(), budget.admit(ip("fd00::a")).unwrap()];
    assert!(reason(budget.admit(ip("fd00::a"))).contains("one source"));
    held.push(budget.admit(ip("fd00::b")).unwrap());
    held.iter().for_each(Ticket::seen);
    assert!(reason(budget.admit(ip("fd00::c"))).contains("/64"));
    assert!(budget.admit(ip("fd00:0:0:1::c")).is_ok());
    drop(held);
    assert!(is_unused(&budget));
}

#[test]
fn one_source_cannot_use_up_the_open_ports() {
    let limits = Limits { open: 4, open_per_source: 2, open_per_network: 3, ..Limits::default() };
    let budget = Budget::new(limits);
    let open = |source: &str| {
        let mut ticket = budget.admit(ip(source)).unwrap();
        ticket.open().map(|()| ticket).map_err(|denial| denial.reason.into_owned())
    };
    let mut held = vec![open("fd00::1").unwrap(), open("fd00::1").unwrap()];
    assert!(open("fd00::1").unwrap_err().contains("one source's"));
    held.push(open("fd00::2").unwrap());
    assert!(open("fd00::3").unwrap_err().contains("/64"));
    held.push(open("10.0.0.1").unwrap());
    assert!(open("10.0.0.2").unwrap_err().contains("of 4 for connections"));
    held.clear();
    assert!(open("fd00::1").is_ok());
    assert!(is_unused(&budget));
}

#[test]
fn no_default_lets_one_source_use_up_what_it_shares() {
    let limits = Limits::default();
    for caps in [limits.caps_of_unproven(), limits.caps_of_open()] {
        assert!(caps.per_source < caps.per_network && caps.per_network < caps.all);
    }
}
