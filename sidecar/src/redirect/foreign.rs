//! Redirects of other tables, which may compete with ours. Pure.

use std::fmt;

use netlink_packet_core::{DefaultNla, Nla as _};
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, DataAttribute, ExpressionAttribute, Expressions, Hook, HookNumber, Immediate,
    InetHookNumber, ListAttribute, RuleAttribute, VerdictAttribute,
};

use postern_config::layout::{FOREIGN_REDIRECT_LIMIT, FOREIGN_REDIRECT_MESSAGE};

use super::compare::Found;
use super::ruleset::{BEFORE_DESTINATION_NAT, DESTINATION_NAT_HOOK};

/// A chain that packets from outside pass and that sends connections elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignRedirect {
    /// Family of its table, as `nft` names it.
    pub(super) family: &'static str,
    /// Its table.
    pub(super) table: String,
    /// The chain that holds the rule.
    pub(super) chain: String,
    /// Priority of the base chain that leads there.
    pub(super) priority: i32,
    /// Whether that base chain is of type `nat`.
    pub(super) nat: bool,
}

impl ForeignRedirect {
    /// Whether its chain may see a connection before ours does. Any but a NAT chain stands beside the kernel's
    /// NAT as a whole, ours included.
    pub(super) fn comes_first(&self) -> bool {
        self.priority <= if self.nat { BEFORE_DESTINATION_NAT } else { DESTINATION_NAT_HOOK }
    }
}

impl fmt::Display for ForeignRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.comes_first() { "before" } else { "after" };
        let Self { family, table, chain, priority, .. } = self;
        write!(f, "{family} {table} {chain} {priority} ({order} Postern's)")
    }
}

/// The line that tells the operator, by way of the kubelet. Names of tables and chains may be anything, so what
/// is not printable is replaced.
pub(super) fn last_word(redirects: &[ForeignRedirect]) -> String {
    let redirects: Vec<_> = redirects.iter().map(ToString::to_string).collect();
    let line = format!("{FOREIGN_REDIRECT_MESSAGE}{}", redirects.join("; "));
    let printable = |letter: char| if matches!(letter, ' '..='~') { letter } else { '?' };
    line.chars().map(printable).take(FOREIGN_REDIRECT_LIMIT).collect()
}

/// The redirects that start at a prerouting hook, in tables other than `inet <ours>`.
pub(super) fn redirects(found: &Found, ours: &str) -> Vec<ForeignRedirect> {
    let mut redirects = Vec::new();
    for (family, chain) in &found.chains {
        let Some(family_name) = name_of(*family) else { continue };
        let (mut table, mut name, mut prerouting, mut nat) = (None, None, None, false);
        for attribute in &chain.attributes {
            match attribute {
                ChainAttribute::Table(text) => table = Some(text.as_str()),
                ChainAttribute::Name(text) => name = Some(text.as_str()),
                ChainAttribute::Hook(hook) => {
                    let here = hook.contains(&Hook::Number(HookNumber::Inet(InetHookNumber::PreRouting)));
                    prerouting = hook.iter().filter(|_| here).find_map(|part| match part {
                        Hook::Priority(priority) => Some(priority.cast_signed()),
                        _ => None,
                    });
                }
                ChainAttribute::Type(text) => nat = text == "nat",
                _ => {}
            }
        }
        let (Some(table), Some(name), Some(priority)) = (table, name, prerouting) else { continue };
        let is_ours = *family == NetfilterProtoFamily::Inet && table == ours;
        if is_ours {
            continue;
        }
        let reached = reachable(found, *family, table, name);
        let holding = reached.into_iter().filter(|chain| {
            rules_of(found, *family, table, chain).any(|mut expressions| expressions.any(sends_elsewhere))
        });
        redirects.extend(holding.map(|chain| ForeignRedirect {
            family: family_name,
            table: table.to_owned(),
            chain: chain.to_owned(),
            priority,
            nat,
        }));
    }
    redirects
}

/// The families whose packets are TCP connections of this namespace.
fn name_of(family: NetfilterProtoFamily) -> Option<&'static str> {
    match family {
        NetfilterProtoFamily::Inet => Some("inet"),
        NetfilterProtoFamily::IPv4 => Some("ip"),
        NetfilterProtoFamily::IPv6 => Some("ip6"),
        _ => None,
    }
}

/// `start` and the chains that its rules lead to. Jumps out of verdict maps are not followed.
fn reachable<'a>(
    found: &'a Found,
    family: NetfilterProtoFamily,
    table: &str,
    start: &'a str,
) -> Vec<&'a str> {
    let mut reached = vec![start];
    let mut next = 0;
    while let Some(chain) = reached.get(next).copied() {
        let targets: Vec<&str> = rules_of(found, family, table, chain).flatten().filter_map(jump).collect();
        for target in targets {
            if !reached.contains(&target) {
                reached.push(target);
            }
        }
        next += 1;
    }
    reached
}

/// The expressions of each rule of a chain.
fn rules_of<'a>(
    found: &'a Found,
    family: NetfilterProtoFamily,
    table: &str,
    chain: &str,
) -> impl Iterator<Item = impl Iterator<Item = &'a Expressions>> {
    let place = [RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(chain.to_owned())];
    found
        .rules
        .iter()
        .filter(move |(of, rule)| *of == family && place.iter().all(|part| rule.attributes.contains(part)))
        .map(|(_, rule)| rule.attributes.iter().flat_map(expressions))
}

fn expressions(attribute: &RuleAttribute) -> Vec<&Expressions> {
    let RuleAttribute::Expressions(list) = attribute else { return Vec::new() };
    list.iter()
        .filter_map(|element| match element {
            ListAttribute::Element(attributes) => Some(attributes),
            _ => None,
        })
        .flatten()
        .filter_map(|attribute| match attribute {
            ExpressionAttribute::Data(data) => Some(data),
            _ => None,
        })
        .collect()
}

/// The chain that an expression jumps or goes to.
fn jump(expression: &Expressions) -> Option<&str> {
    let Expressions::Immediate(attributes) = expression else { return None };
    attributes.iter().find_map(|attribute| match attribute {
        Immediate::Data(DataAttribute::Verdict(verdict)) => verdict.iter().find_map(|part| match part {
            VerdictAttribute::Chain(name) => Some(name.as_str()),
            _ => None,
        }),
        _ => None,
    })
}

/// Whether an expression rewrites a packet's destination or hands it to a local proxy.
fn sends_elsewhere(expression: &Expressions) -> bool {
    /// Which NAT: `NFT_NAT_DNAT` rewrites the destination.
    const NFTA_NAT_TYPE: u16 = 1;
    /// See [`NFTA_NAT_TYPE`].
    const NFT_NAT_DNAT: u32 = 1;
    /// Name of an extension of iptables (`linux/netfilter/nf_tables_compat.h`).
    const NFTA_TARGET_NAME: u16 = 1;

    let Expressions::Other { expression_type, attributes } = expression else { return false };
    match expression_type.as_str() {
        "redir" | "tproxy" => true,
        "nat" => value(attributes, NFTA_NAT_TYPE).is_some_and(|kind| kind == NFT_NAT_DNAT.to_be_bytes()),
        "target" => value(attributes, NFTA_TARGET_NAME).is_some_and(|name| {
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            [&b"REDIRECT"[..], b"DNAT", b"TPROXY"].contains(&name)
        }),
        _ => false,
    }
}

fn value(attributes: &[DefaultNla], kind: u16) -> Option<Vec<u8>> {
    let attribute = attributes.iter().find(|attribute| attribute.kind() == kind)?;
    let mut bytes = vec![0; attribute.value_len()];
    attribute.emit_value(&mut bytes);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(table: &str, priority: i32, nat: bool) -> ForeignRedirect {
        let (table, chain) = (table.to_owned(), "PREROUTING".to_owned());
        ForeignRedirect { family: "ip", table, chain, priority, nat }
    }

    #[test]
    fn only_what_certainly_comes_later_is_said_to() {
        for (priority, nat, first) in [
            (-100, true, false),
            (-109, true, false),
            (-110, true, true),
            (-150, true, true),
            (-99, false, false),
            (-100, false, true),
            (-105, false, true),
        ] {
            assert_eq!(foreign("mesh", priority, nat).comes_first(), first, "{priority} {nat}");
        }
    }

    #[test]
    fn the_last_word_is_one_bounded_line_of_printable_ascii() {
        assert_eq!(
            last_word(&[foreign("nat", -100, true), foreign("mesh", -150, false)]),
            "foreign redirect: ip nat PREROUTING -100 (after Postern's); ip mesh PREROUTING -150 (before Postern's)"
        );
        assert_eq!(
            last_word(&[foreign("a\nb\u{1b}é", 0, true)]),
            "foreign redirect: ip a?b?? PREROUTING 0 (after Postern's)"
        );
        assert_eq!(last_word(&[foreign(&"é".repeat(2000), 0, true)]).len(), FOREIGN_REDIRECT_LIMIT);
    }
}
