//! Namespaces that are left alone, rules that are not as meant, and tables of others.

use netlink_packet_netfilter::nftables::InetHookNumber;

use super::super::compare::{Difference, difference};
use super::super::expression::{NF_ACCEPT, Transport, accept, redirect, transport};
use super::super::foreign::{ForeignRedirect, redirects};
use super::super::message::transaction;
use super::super::netlink::Kernel;
use super::super::ruleset::{self, Chain, Rule, Ruleset};
use super::super::{NamespaceRefusal, RedirectError, guard, tell};
use super::namespace::{NEIGHBOUR_V4, POD_V4, Pair};
use super::{close, closed_pair, test_name};

fn write(pair: &Pair, ruleset: &Ruleset) {
    pair.pod.run(|| Kernel::open().unwrap().write(&transaction(ruleset)).unwrap());
}

/// The first difference between the rules in the pod and those that are meant.
fn difference_in(pair: &Pair) -> Option<Difference> {
    pair.pod.run(|| difference(&ruleset::guard(&[]), &Kernel::open().unwrap().read().unwrap()))
}

#[test]
fn the_hosts_namespace_is_left_alone() {
    let Some(pair) = Pair::new(test_name!("the_hosts_namespace_is_left_alone")) else { return };
    for (pod_ips, host_ips, expected) in [
        (POD_V4, POD_V4, NamespaceRefusal::HostNetwork(POD_V4.parse().unwrap())),
        ("10.244.0.7", POD_V4, NamespaceRefusal::HostAddress(POD_V4.parse().unwrap())),
        ("10.244.0.7", NEIGHBOUR_V4, NamespaceRefusal::NotThePods("10.244.0.7".to_owned())),
        (POD_V4, "", NamespaceRefusal::Missing("HOST_IPS")),
    ] {
        let environment = |variable: &str| match variable {
            "POD_IPS" => Some(pod_ips.to_owned()),
            "HOST_IPS" => Some(host_ips.to_owned()),
            _ => None,
        };
        match pair.pod.run(|| guard(&[], environment)) {
            Err(RedirectError::Namespace(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{expected:?} expected: {other:?}"),
        }
        assert_eq!(difference_in(&pair).unwrap().how, "is missing");
    }
}

#[test]
fn rules_that_are_not_as_meant_are_named() {
    let Some(pair) = Pair::new(test_name!("rules_that_are_not_as_meant_are_named")) else { return };
    let altered = |alter: fn(&mut Ruleset)| {
        let mut ruleset = ruleset::guard(&[]);
        alter(&mut ruleset);
        write(&pair, &ruleset);
        difference_in(&pair).map(|difference| format!("{} {}", difference.object, difference.how))
    };
    assert_eq!(altered(|_| {}), None);
    for (alter, expected) in [
        (
            (|ruleset| drop(ruleset.chains.pop())) as fn(&mut Ruleset),
            "table inet postern has 2 chains instead of 3",
        ),
        (
            |ruleset| ruleset.chains[1].policy = NF_ACCEPT,
            "chain input of table inet postern has another type, hook, priority or policy",
        ),
        (
            |ruleset| ruleset.chains[0].priority = -90,
            "chain prerouting of table inet postern has another type, hook, priority or policy",
        ),
        (
            |ruleset| drop(ruleset.chains[1].rules.pop()),
            "chain input of table inet postern has 18 rules instead of 19",
        ),
        (
            |ruleset| ruleset.chains[0].rules[1].expressions.truncate(4),
            "rule \"inbound TCP goes to the sidecar\" in chain prerouting of table inet postern reads back \
             otherwise",
        ),
        (
            |ruleset| ruleset.chains[1].rules[0].expressions = accept(),
            "rule \"the pod's calls to itself\" in chain input of table inet postern reads back otherwise",
        ),
    ] {
        assert_eq!(altered(alter).as_deref(), Some(expected));
    }
    close(&pair).unwrap();
    assert_eq!(difference_in(&pair), None);
}

#[test]
fn redirects_of_others_are_found_and_do_not_fail_the_run() {
    let name = test_name!("redirects_of_others_are_found_and_do_not_fail_the_run");
    let Some(pair) = closed_pair(name) else { return };
    let foreign = || pair.pod.run(|| redirects(&Kernel::open().unwrap().read().unwrap(), "postern"));
    assert_eq!(foreign(), []);
    let chain =
        |name, kind, hook, rules| Chain { name, kind, hook, priority: -100, policy: NF_ACCEPT, rules };
    let to_mesh = || Rule {
        comment: "to the mesh".to_owned(),
        expressions: [transport(Transport::Tcp), redirect(15006)].concat(),
    };
    let mut mesh = Ruleset {
        table: "mesh",
        chains: vec![
            chain("outbound", "nat", InetHookNumber::LocalOut, vec![to_mesh()]),
            chain("inbound", "nat", InetHookNumber::PreRouting, vec![]),
        ],
    };
    write(&pair, &mesh);
    assert_eq!(foreign(), [], "a redirect of the pod's own calls is none of ours");
    mesh.chains[1].rules.push(to_mesh());
    write(&pair, &mesh);
    let (table, chain) = ("mesh".to_owned(), "inbound".to_owned());
    let expected = ForeignRedirect { family: "inet", table, chain, priority: -100, nat: true };
    assert_eq!(foreign(), std::slice::from_ref(&expected));
    assert_eq!(pair.pod.run(|| guard(&[], super::pod_environment)).unwrap(), [expected]);
    mesh.chains[1].priority = -120;
    write(&pair, &mesh);
    assert!(foreign()[0].comes_first());
    close(&pair).unwrap();
}

#[test]
fn redirects_of_others_become_the_termination_message() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("termination-log");
    let (table, chain) = ("mesh".to_owned(), "inbound".to_owned());
    let found = [ForeignRedirect { family: "inet", table, chain, priority: -100, nat: true }];
    tell(&found, &path);
    assert!(!path.exists(), "a file that the kubelet has not mounted is not made");
    std::fs::write(&path, "").unwrap();
    tell(&[], &path);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    tell(&found, &path);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "foreign redirect: inet mesh inbound -100 (after Postern's)"
    );
}

#[test]
fn without_the_capability_the_error_says_which() {
    let Some(pair) = Pair::new(test_name!("without_the_capability_the_error_says_which")) else { return };
    let outcome = pair.pod.run(|| {
        drop_capabilities();
        guard(&[], super::pod_environment)
    });
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("NET_ADMIN") && message.contains("the transaction:"), "{message}");
}

/// Takes all capabilities from the calling thread.
fn drop_capabilities() {
    /// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
    const VERSION: u32 = 0x2008_0522;
    // `struct __user_cap_header_struct`, this thread; two `struct __user_cap_data_struct`, all empty.
    let (header, none) = ([VERSION, 0], [0u32; 6]);
    // SAFETY: both pointers are to arrays of the size that this version of the call reads.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0);
}
