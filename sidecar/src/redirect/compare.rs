//! What was meant against what the kernel says is in force. Pure.

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, ExpressionAttribute, Expressions, ListAttribute, RuleAttribute,
    RuleMessage, TableAttribute, TableFlags, TableMessage,
};

use super::message::{chain_message, rule_message};
use super::ruleset::{Chain, Rule, Ruleset};

/// All of `nf_tables` in one network namespace, in the kernel's order.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Tables with their family.
    pub(super) tables: Vec<(NetfilterProtoFamily, TableMessage)>,
    /// Chains likewise.
    pub(super) chains: Vec<(NetfilterProtoFamily, ChainMessage)>,
    /// Rules likewise.
    pub(super) rules: Vec<(NetfilterProtoFamily, RuleMessage)>,
}

/// The first thing that is not as meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The table, chain or rule.
    pub(super) object: String,
    /// In words that follow its name.
    pub(super) how: String,
}

impl Difference {
    fn new(object: String, how: impl Into<String>) -> Self {
        Self { object, how: how.into() }
    }
}

/// The first difference between `meant` and `found`, if any: the table must be there and active, with exactly
/// the chains and rules that were meant. Attributes that the kernel adds by itself (handles, counts) are no
/// difference.
pub(super) fn difference(meant: &Ruleset, found: &Found) -> Option<Difference> {
    let object = format!("table inet {}", meant.table);
    let name = TableAttribute::Name(meant.table.to_owned());
    let tables = of_family(&found.tables);
    let Some(table) = tables.into_iter().find(|table| table.attributes.contains(&name)) else {
        return Some(Difference::new(object, "is missing"));
    };
    if table.attributes.iter().any(is_dormant) {
        return Some(Difference::new(object, "is dormant: its rules are not in force"));
    }
    let ours = ChainAttribute::Table(meant.table.to_owned());
    let chains: Vec<_> =
        of_family(&found.chains).into_iter().filter(|chain| chain.attributes.contains(&ours)).collect();
    if chains.len() != meant.chains.len() {
        let how = format!("has {} chains instead of {}", chains.len(), meant.chains.len());
        return Some(Difference::new(object, how));
    }
    meant.chains.iter().find_map(|chain| chain_difference(meant.table, chain, &chains, found))
}

fn chain_difference(
    table: &str,
    meant: &Chain,
    chains: &[&ChainMessage],
    found: &Found,
) -> Option<Difference> {
    let object = format!("chain {} of table inet {table}", meant.name);
    let wanted = chain_message(table, meant).attributes;
    let name = ChainAttribute::Name(meant.name.to_owned());
    let Some(chain) = chains.iter().find(|chain| chain.attributes.contains(&name)) else {
        return Some(Difference::new(object, "is missing"));
    };
    if !covers(&chain.attributes, &wanted, chain_attribute_covers) {
        return Some(Difference::new(object, "has another type, hook, priority or policy"));
    }
    let place = [RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(meant.name.to_owned())];
    let rules: Vec<_> = of_family(&found.rules)
        .into_iter()
        .filter(|rule| place.iter().all(|attribute| rule.attributes.contains(attribute)))
        .collect();
    if rules.len() != meant.rules.len() {
        let how = format!("has {} rules instead of {}", rules.len(), meant.rules.len());
        return Some(Difference::new(object, how));
    }
    let differs = |(wanted, rule): &(&Rule, &RuleMessage)| {
        !covers(&rule.attributes, &rule_message(table, meant.name, wanted).attributes, rule_attribute_covers)
    };
    let (wanted, _) = meant.rules.iter().zip(rules).find(differs)?;
    Some(Difference::new(format!("rule \"{}\" in {object}", wanted.comment), "reads back otherwise"))
}

fn of_family<T>(found: &[(NetfilterProtoFamily, T)]) -> Vec<&T> {
    let inet = |entry: &&(NetfilterProtoFamily, T)| entry.0 == NetfilterProtoFamily::Inet;
    found.iter().filter(inet).map(|(_, object)| object).collect()
}

fn is_dormant(attribute: &TableAttribute) -> bool {
    matches!(attribute, TableAttribute::Flags(flags) if flags.contains(TableFlags::Dormant))
}

/// Whether each attribute of `meant` is in `found`.
fn covers<T>(found: &[T], meant: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    meant.iter().all(|wanted| found.iter().any(|attribute| same(attribute, wanted)))
}

fn chain_attribute_covers(found: &ChainAttribute, meant: &ChainAttribute) -> bool {
    match (found, meant) {
        (ChainAttribute::Hook(found), ChainAttribute::Hook(meant)) => covers(found, meant, PartialEq::eq),
        _ => found == meant,
    }
}

fn rule_attribute_covers(found: &RuleAttribute, meant: &RuleAttribute) -> bool {
    match (found, meant) {
        (RuleAttribute::Expressions(found), RuleAttribute::Expressions(meant)) => {
            found.len() == meant.len()
                && found.iter().zip(meant).all(|(found, meant)| expression_covers(found, meant))
        }
        _ => found == meant,
    }
}

fn expression_covers(
    found: &ListAttribute<ExpressionAttribute>,
    meant: &ListAttribute<ExpressionAttribute>,
) -> bool {
    match (found, meant) {
        (ListAttribute::Element(found), ListAttribute::Element(meant)) => {
            covers(found, meant, |found, meant| match (found, meant) {
                (ExpressionAttribute::Data(found), ExpressionAttribute::Data(meant)) => {
                    data_covers(found, meant)
                }
                _ => found == meant,
            })
        }
        _ => found == meant,
    }
}

fn data_covers(found: &Expressions, meant: &Expressions) -> bool {
    use Expressions::{Bitwise, Cmp, Immediate, Meta, Other, Payload};
    match (found, meant) {
        (Bitwise(found), Bitwise(meant)) => covers(found, meant, PartialEq::eq),
        (Cmp(found), Cmp(meant)) => covers(found, meant, PartialEq::eq),
        (Immediate(found), Immediate(meant)) => covers(found, meant, PartialEq::eq),
        (Meta(found), Meta(meant)) => covers(found, meant, PartialEq::eq),
        (Payload(found), Payload(meant)) => covers(found, meant, PartialEq::eq),
        (
            Other { expression_type: found_type, attributes: found },
            Other { expression_type: meant_type, attributes: meant },
        ) => found_type == meant_type && covers(found, meant, PartialEq::eq),
        _ => found == meant,
    }
}
