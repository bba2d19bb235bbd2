//! The netlink messages: a batch that writes a ruleset, and the dumps that read it back. Pure.

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, HookNumber, NfTablesMessage, RuleAttribute, RuleMessage,
    TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
};

use super::ruleset::{Chain, Rule, Ruleset};

/// One message of a batch, and what it is about.
#[derive(Debug)]
pub(super) struct Step {
    /// For error messages: `table postern`, `chain postern input` and so on.
    pub(super) object: String,
    /// The message; its sequence number tells the answer's step.
    pub(super) message: NetlinkMessage<NetfilterMessage>,
}

/// The whole transaction: add, delete, add. The first makes sure that there is a table to delete, so that it
/// works the same whether or not the table is there, and at no moment is there none.
pub(super) fn transaction(ruleset: &Ruleset) -> Vec<Step> {
    let table = || TableMessage { attributes: vec![TableAttribute::Name(ruleset.table.to_owned())] };
    let name = format!("table inet {}", ruleset.table);
    let mut steps = vec![
        control("the transaction's begin", ControlMessage::BatchBegin),
        write(name.clone(), NLM_F_CREATE, NfTablesMessage::NewTable(table())),
        write(name.clone(), 0, NfTablesMessage::DeleteTable(table())),
        write(name.clone(), NLM_F_CREATE, NfTablesMessage::NewTable(table())),
    ];
    for chain in &ruleset.chains {
        let message = NfTablesMessage::NewChain(chain_message(ruleset.table, chain));
        steps.push(write(format!("chain {} of {name}", chain.name), NLM_F_CREATE, message));
        for rule in &chain.rules {
            let object = format!("rule \"{}\" in chain {} of {name}", rule.comment, chain.name);
            let message = NfTablesMessage::NewRule(rule_message(ruleset.table, chain.name, rule));
            steps.push(write(object, NLM_F_CREATE | NLM_F_APPEND, message));
        }
    }
    steps.push(control("the transaction's end", ControlMessage::BatchEnd));
    for (number, step) in (1..).zip(&mut steps) {
        step.message.header.sequence_number = number;
        step.message.finalize();
    }
    steps
}

/// The transaction as one datagram.
pub(super) fn datagram(steps: &[Step]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for step in steps {
        let mut buffer = vec![0; step.message.buffer_len()];
        step.message.serialize(&mut buffer);
        bytes.append(&mut buffer);
    }
    bytes
}

/// What is asked of the kernel when reading: everything of one kind, in all families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dump {
    /// Tables.
    Tables,
    /// Chains of all tables.
    Chains,
    /// Rules of all chains.
    Rules,
}

/// A request for a dump.
pub(super) fn dump(what: Dump) -> NetlinkMessage<NetfilterMessage> {
    let request = match what {
        Dump::Tables => NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() }),
        Dump::Chains => NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }),
        Dump::Rules => NfTablesMessage::GetRule(RuleMessage { attributes: Vec::new() }),
    };
    request_message(NetfilterProtoFamily::Unspec, 0, NLM_F_DUMP, request)
}

/// A chain's attributes; the read-back must show all of them.
pub(super) fn chain_message(table: &str, chain: &Chain) -> ChainMessage {
    let hook = vec![
        Hook::Number(HookNumber::Inet(chain.hook)),
        // A signed number in two's complement.
        Hook::Priority(chain.priority.cast_unsigned()),
    ];
    ChainMessage {
        attributes: vec![
            ChainAttribute::Table(table.to_owned()),
            ChainAttribute::Name(chain.name.to_owned()),
            ChainAttribute::Hook(hook),
            ChainAttribute::Policy(chain.policy),
            ChainAttribute::Type(chain.kind.to_owned()),
        ],
    }
}

/// A rule's attributes; the read-back must show all of them.
pub(super) fn rule_message(table: &str, chain: &str, rule: &Rule) -> RuleMessage {
    RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(rule.expressions.iter().cloned().map(Into::into).collect()),
            RuleAttribute::UserData(comment(&rule.comment)),
        ],
    }
}

/// The comment as `nft` reads it from a rule's user data: type (0, a comment), length, text, NUL.
fn comment(text: &str) -> Vec<u8> {
    let text: Vec<u8> = text.bytes().take(usize::from(u8::MAX) - 1).chain([0]).collect();
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[0, length], text.as_slice()].concat()
}

fn write(object: String, flags: u16, message: NfTablesMessage) -> Step {
    Step { object, message: request_message(NetfilterProtoFamily::Inet, 0, NLM_F_ACK | flags, message) }
}

/// Begin and end of a batch name the subsystem that it is for.
fn control(object: &str, message: ControlMessage) -> Step {
    let subsystem = u16::from(u8::from(NetfilterSubsystem::NfTables));
    let message = request_message(NetfilterProtoFamily::Unspec, subsystem, 0, message);
    Step { object: object.to_owned(), message }
}

fn request_message(
    family: NetfilterProtoFamily,
    resource: u16,
    flags: u16,
    inner: impl Into<NetfilterMessageInner>,
) -> NetlinkMessage<NetfilterMessage> {
    let mut message =
        NetlinkMessage::from(NetfilterMessage::new(NetfilterHeader::new(family, 0, resource), inner));
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    message
}
