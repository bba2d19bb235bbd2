//! What is written: one `inet` table with three chains. Pure.

use netlink_packet_netfilter::nftables::{Expressions, InetHookNumber};
use postern_config::layout::{ADMIN_PORT, INBOUND_PORT, METRICS_PORT, PROBE_PORT};

use super::expression::{
    Conntrack, DESTINATION_NAT, ESTABLISHED_OR_RELATED, Family, NF_ACCEPT, NF_DROP, Transport, accept,
    conntrack_has, destination_is_local, destination_port, destination_port_is_none_of, family, icmp_type,
    input_interface, leave, redirect, transport,
};

/// The table's name.
pub(super) const TABLE: &str = "postern";

/// Ports of the sidecar that are reached directly.
const DIRECT_PORTS: [(u16, &str); 3] =
    [(PROBE_PORT, "probes"), (METRICS_PORT, "metrics"), (ADMIN_PORT, "the admin endpoint")];

/// Before `dstnat` (−100), at which other meshes redirect: of the NAT chains of a hook, the first to rewrite
/// a connection wins.
pub(super) const BEFORE_DESTINATION_NAT: i32 = -110;
/// `NF_IP_PRI_NAT_DST`, at which the kernel passes a packet through all NAT chains of a hook, whatever their
/// own priorities: those only order them among each other.
pub(super) const DESTINATION_NAT_HOOK: i32 = -100;
/// `NF_IP_PRI_FILTER`.
const FILTER: i32 = 0;

/// ICMP types (IANA "ICMP Type Numbers") that are let in, and why.
const ICMP_TYPES: [(u8, &str); 4] = [
    (3, "destination unreachable, path MTU among it"),
    (8, "echo request"),
    (11, "time exceeded"),
    (12, "parameter problem"),
];

/// `ICMPv6` types (IANA "`ICMPv6` Parameters", RFC 4890 section 4.4) that are let in, and why. Echo replies
/// belong to a tracked request; router solicitations, multicast reports and redirects are no business of a
/// pod.
const ICMPV6_TYPES: [(u8, &str); 9] = [
    (1, "destination unreachable"),
    (2, "packet too big: path MTU"),
    (3, "time exceeded"),
    (4, "parameter problem"),
    (128, "echo request"),
    (130, "multicast listener query: unanswered, a snooping bridge stops neighbour discovery"),
    (134, "router advertisement: networks that configure pods by it"),
    (135, "neighbour solicitation"),
    (136, "neighbour advertisement"),
];

/// One table of family `inet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruleset {
    /// Its name.
    pub(super) table: &'static str,
    /// Its chains, all of them.
    pub(super) chains: Vec<Chain>,
}

/// A base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Its name.
    pub(super) name: &'static str,
    /// `nat` or `filter`.
    pub(super) kind: &'static str,
    /// Where packets enter it.
    pub(super) hook: InetHookNumber,
    /// Order among the chains of a hook; lower is earlier.
    pub(super) priority: i32,
    /// Verdict on what no rule decides: `NF_ACCEPT` or `NF_DROP`.
    pub(super) policy: u32,
    /// Its rules, in order.
    pub(super) rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// What it is for: shown by `nft list ruleset` and in errors.
    pub(super) comment: String,
    /// What it does.
    pub(super) expressions: Vec<Expressions>,
}

impl Rule {
    fn new(comment: impl Into<String>, parts: impl IntoIterator<Item = Vec<Expressions>>) -> Self {
        Self { comment: comment.into(), expressions: parts.into_iter().flatten().collect() }
    }
}

/// The rules that close a guarded pod's network namespace, but for these UDP ports.
pub(super) fn guard(udp_ports: &[u16]) -> Ruleset {
    Ruleset { table: TABLE, chains: vec![prerouting(), input(udp_ports), forward()] }
}

/// New TCP from outside goes to the sidecar, whatever port it was for.
fn prerouting() -> Chain {
    let direct = DIRECT_PORTS.map(|(port, _)| port);
    Chain {
        name: "prerouting",
        kind: "nat",
        hook: InetHookNumber::PreRouting,
        priority: BEFORE_DESTINATION_NAT,
        policy: NF_ACCEPT,
        rules: vec![
            Rule::new("the pod's calls to itself stay as they are", [input_interface("lo"), leave()]),
            Rule::new(
                "inbound TCP goes to the sidecar",
                [
                    destination_is_local(),
                    transport(Transport::Tcp),
                    destination_port_is_none_of(&direct),
                    redirect(INBOUND_PORT),
                ],
            ),
        ],
    }
}

/// What may enter at all.
fn input(udp_ports: &[u16]) -> Chain {
    let mut rules = vec![
        Rule::new("the pod's calls to itself", [input_interface("lo"), accept()]),
        Rule::new(
            "answers to the pod's own calls, and connections that were let in",
            [conntrack_has(Conntrack::State, ESTABLISHED_OR_RELATED), accept()],
        ),
        // A connection that was dialled to the inbound port itself is rewritten to what it was already, so
        // it doesn't count as rewritten, and is dropped.
        Rule::new(
            "redirected connections",
            [
                transport(Transport::Tcp),
                destination_port(INBOUND_PORT),
                conntrack_has(Conntrack::Status, DESTINATION_NAT),
                accept(),
            ],
        ),
    ];
    rules.extend(DIRECT_PORTS.map(|(port, name)| {
        Rule::new(
            format!("the sidecar's port for {name}"),
            [transport(Transport::Tcp), destination_port(port), accept()],
        )
    }));
    rules.extend(udp_ports.iter().map(|&port| {
        Rule::new(
            format!("UDP port {port}, which the lock leaves open"),
            [transport(Transport::Udp), destination_port(port), accept()],
        )
    }));
    rules.extend(ICMP_TYPES.map(|(kind, why)| icmp_rule("ICMP", Family::V4, Transport::Icmp, kind, why)));
    rules.extend(
        ICMPV6_TYPES.map(|(kind, why)| icmp_rule("ICMPv6", Family::V6, Transport::Icmpv6, kind, why)),
    );
    let (kind, hook, priority, policy) = ("filter", InetHookNumber::LocalIn, FILTER, NF_DROP);
    Chain { name: "input", kind, hook, priority, policy, rules }
}

/// A guarded pod is no router: pods often inherit forwarding from their node, and a neighbour on the same
/// bridge could go through this pod to a network behind it.
fn forward() -> Chain {
    let (kind, hook, priority, policy) = ("filter", InetHookNumber::Forward, FILTER, NF_DROP);
    Chain { name: "forward", kind, hook, priority, policy, rules: Vec::new() }
}

fn icmp_rule(name: &str, version: Family, protocol: Transport, kind: u8, why: &str) -> Rule {
    let comment = format!("{name} type {kind}: {why}");
    Rule::new(comment, [family(version), transport(protocol), icmp_type(kind), accept()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_closed_but_what_is_named() {
        let ruleset = guard(&[]);
        let shape: Vec<_> = ruleset
            .chains
            .iter()
            .map(|chain| {
                (chain.name, chain.kind, chain.hook, chain.priority, chain.policy, chain.rules.len())
            })
            .collect();
        assert_eq!(
            shape,
            [
                ("prerouting", "nat", InetHookNumber::PreRouting, -110, NF_ACCEPT, 2),
                ("input", "filter", InetHookNumber::LocalIn, 0, NF_DROP, 19),
                ("forward", "filter", InetHookNumber::Forward, 0, NF_DROP, 0),
            ]
        );
    }

    #[test]
    fn an_open_udp_port_is_open_for_udp_alone() {
        let rules = |ports: &[u16]| guard(ports).chains[1].rules.clone();
        let added: Vec<_> = rules(&[53]).into_iter().filter(|rule| !rules(&[]).contains(rule)).collect();
        let [rule] = added.as_slice() else { panic!("{added:?}") };
        let expected = [transport(Transport::Udp), destination_port(53), accept()].concat();
        assert_eq!(rule.expressions, expected);
    }

    #[test]
    fn the_pods_calls_to_itself_come_first() {
        // The kernel doesn't look at NAT rules for a call over lo that it has seen leave, so no socket would
        // show that the first of these is missing.
        let first = |chain: usize| guard(&[]).chains[chain].rules[0].expressions.clone();
        assert_eq!(first(0), [input_interface("lo"), leave()].concat());
        assert_eq!(first(1), [input_interface("lo"), accept()].concat());
    }

    #[test]
    fn comments_fit_what_nft_shows() {
        for rule in guard(&[53]).chains.iter().flat_map(|chain| &chain.rules) {
            assert!(rule.comment.len() < 128 && !rule.comment.contains('"'), "{}", rule.comment);
        }
    }
}
