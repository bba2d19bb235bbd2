//! The `nf_tables` expressions that the rules are made of, as the kernel expects them.
//!
//! Where the netlink crate has no type for an expression (`fib`, `ct`, `redir`), its attributes are encoded
//! here, each by its name in the kernel's `linux/netfilter/nf_tables.h`: registers, keys and flags as
//! big-endian 32-bit numbers. Data that is compared is as the kernel holds it in a register: packet bytes in
//! network order, the kernel's own numbers in the machine's order.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, Expressions, Immediate, Meta, MetaKey, Operator, Payload, Register, Verdict,
    VerdictAttribute,
};

/// The one register in use; no rule needs two values at a time.
const REGISTER: Register = Register::Reg1;

/// `NF_DROP` and `NF_ACCEPT` of `linux/netfilter.h`.
pub(super) const NF_DROP: u32 = 0;
/// See [`NF_DROP`].
pub(super) const NF_ACCEPT: u32 = 1;

/// `IFNAMSIZ` of `linux/if.h`: interface names are compared with their padding.
const IFNAMSIZ: usize = 16;

/// `NFPROTO_*` of `linux/netfilter.h`: the family of a packet in an `inet` table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    /// `NFPROTO_IPV4`
    V4 = 2,
    /// `NFPROTO_IPV6`
    V6 = 10,
}

/// `IPPROTO_*` of `linux/in.h`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    /// `IPPROTO_ICMP`
    Icmp = 1,
    /// `IPPROTO_TCP`
    Tcp = 6,
    /// `IPPROTO_UDP`
    Udp = 17,
    /// `IPPROTO_ICMPV6`
    Icmpv6 = 58,
}

/// What `ct` loads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Conntrack {
    /// `NFT_CT_STATE`: one bit for the packet's place in its connection.
    State = 0,
    /// `NFT_CT_STATUS`: the connection's `IPS_*` bits.
    Status = 2,
}

/// `NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED)`.
pub(super) const ESTABLISHED_OR_RELATED: u32 = 0b110;
/// `IPS_DST_NAT` of `linux/netfilter/nf_conntrack_common.h`: the destination was rewritten.
pub(super) const DESTINATION_NAT: u32 = 1 << 5;

/// `iifname <name>`, for a name shorter than `IFNAMSIZ`.
pub(super) fn input_interface(name: &str) -> Vec<Expressions> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(IFNAMSIZ, 0);
    vec![load(MetaKey::Iifname), compare(Operator::Equal, padded)]
}

/// `meta nfproto <family>`.
pub(super) fn family(family: Family) -> Vec<Expressions> {
    vec![load(MetaKey::Nfproto), compare(Operator::Equal, vec![family as u8])]
}

/// `meta l4proto <transport>`; IPv6 extension headers are skipped by the kernel.
pub(super) fn transport(transport: Transport) -> Vec<Expressions> {
    vec![load(MetaKey::L4Proto), compare(Operator::Equal, vec![transport as u8])]
}

/// `th dport <port>`, for a transport that [`transport`] has made sure of.
pub(super) fn destination_port(port: u16) -> Vec<Expressions> {
    vec![transport_header(2, 2), compare(Operator::Equal, port.to_be_bytes().to_vec())]
}

/// `th dport != { <ports> }`, as a chain of comparisons.
pub(super) fn destination_port_is_none_of(ports: &[u16]) -> Vec<Expressions> {
    let differs = |port: &u16| compare(Operator::NotEqual, port.to_be_bytes().to_vec());
    std::iter::once(transport_header(2, 2)).chain(ports.iter().map(differs)).collect()
}

/// `icmp type` or `icmpv6 type`: the first byte of the header.
pub(super) fn icmp_type(kind: u8) -> Vec<Expressions> {
    vec![transport_header(0, 1), compare(Operator::Equal, vec![kind])]
}

/// `fib daddr type local`: the packet is for an address of this namespace.
pub(super) fn destination_is_local() -> Vec<Expressions> {
    /// Where the answer goes.
    const NFTA_FIB_DREG: u16 = 1;
    /// What is asked for.
    const NFTA_FIB_RESULT: u16 = 2;
    /// Of which address.
    const NFTA_FIB_FLAGS: u16 = 3;
    /// The address's type, as `RTN_*`.
    const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
    /// The packet's destination.
    const NFTA_FIB_F_DADDR: u32 = 1 << 1;
    /// `linux/rtnetlink.h`: an address of this namespace.
    const RTN_LOCAL: u32 = 2;

    let fib = other(
        "fib",
        &[
            (NFTA_FIB_DREG, REGISTER.into()),
            (NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE),
            (NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR),
        ],
    );
    vec![fib, compare(Operator::Equal, RTN_LOCAL.to_ne_bytes().to_vec())]
}

/// `ct <key>` has one of `bits`.
pub(super) fn conntrack_has(key: Conntrack, bits: u32) -> Vec<Expressions> {
    /// Where the value goes.
    const NFTA_CT_DREG: u16 = 1;
    /// Which value.
    const NFTA_CT_KEY: u16 = 2;

    let zero = 0u32.to_ne_bytes().to_vec();
    let mask = Expressions::Bitwise(vec![
        Bitwise::SourceRegister(REGISTER),
        Bitwise::DestinationRegister(REGISTER),
        Bitwise::Length(4),
        Bitwise::Mask(DataAttribute::Value(bits.to_ne_bytes().to_vec())),
        Bitwise::Xor(DataAttribute::Value(zero.clone())),
    ]);
    vec![
        other("ct", &[(NFTA_CT_DREG, REGISTER.into()), (NFTA_CT_KEY, key as u32)]),
        mask,
        compare(Operator::NotEqual, zero),
    ]
}

/// `redirect to :<port>`: the destination becomes this namespace's own address, with `port`.
pub(super) fn redirect(port: u16) -> Vec<Expressions> {
    /// Register that holds the first port of the range.
    const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
    /// Register that holds the last one.
    const NFTA_REDIR_REG_PROTO_MAX: u16 = 2;
    /// `NF_NAT_RANGE_*` of `linux/netfilter/nf_nat.h`.
    const NFTA_REDIR_FLAGS: u16 = 3;
    /// The range's ports are given. The kernel would add the flag; spelt out, it reads back as written.
    const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 1 << 1;

    let port = Expressions::Immediate(vec![
        Immediate::DestinationRegister(REGISTER),
        Immediate::Data(DataAttribute::Value(port.to_be_bytes().to_vec())),
    ]);
    let redir = other(
        "redir",
        &[
            (NFTA_REDIR_REG_PROTO_MIN, REGISTER.into()),
            (NFTA_REDIR_REG_PROTO_MAX, REGISTER.into()),
            (NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED),
        ],
    );
    vec![port, redir]
}

/// `accept`.
pub(super) fn accept() -> Vec<Expressions> {
    verdict(Verdict::Other(NF_ACCEPT))
}

/// `return`: on to the chain's policy.
pub(super) fn leave() -> Vec<Expressions> {
    verdict(Verdict::Return)
}

fn verdict(verdict: Verdict) -> Vec<Expressions> {
    vec![Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(verdict)])),
    ])]
}

fn load(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(REGISTER)])
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(REGISTER),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

/// Bytes of the transport header.
fn transport_header(offset: u32, length: u32) -> Expressions {
    /// Offsets count from the transport header.
    const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;

    Expressions::Payload(vec![
        Payload::DestinationRegister(REGISTER),
        Payload::Base(NFT_PAYLOAD_TRANSPORT_HEADER),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

/// An expression that the crate has no type for; all its attributes are 32-bit numbers.
fn other(name: &str, attributes: &[(u16, u32)]) -> Expressions {
    Expressions::Other {
        expression_type: name.to_owned(),
        attributes: attributes
            .iter()
            .map(|(kind, value)| DefaultNla::new(*kind, value.to_be_bytes().to_vec()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;
    use netlink_packet_netfilter::nftables::{ExpressionAttribute, ListAttribute};

    use super::*;

    /// The bytes of each expression, hexadecimal, as they lie in `NFTA_LIST_ELEM`.
    fn encoded(expressions: Vec<Expressions>) -> Vec<String> {
        let bytes = |expression: Expressions| {
            let element: ListAttribute<ExpressionAttribute> = expression.into();
            let mut buffer = vec![0; element.buffer_len()];
            element.emit(&mut buffer);
            hex::encode(buffer)
        };
        expressions.into_iter().map(bytes).collect()
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn expressions_without_a_type_are_encoded_as_the_kernel_reads_them() {
        // Length and kind of an attribute are in the machine's order, its value in network order.
        let fib = [
            ("2800 0180", "NFTA_LIST_ELEM"),
            ("0800 0100 66696200", "NFTA_EXPR_NAME: fib"),
            ("1c00 0280", "NFTA_EXPR_DATA"),
            ("0800 0100 00000001", "NFTA_FIB_DREG: NFT_REG_1"),
            ("0800 0200 00000003", "NFTA_FIB_RESULT: the type of address"),
            ("0800 0300 00000002", "NFTA_FIB_FLAGS: of the destination"),
        ];
        let ct = [
            ("2000 0180", "NFTA_LIST_ELEM"),
            ("0700 0100 637400 00", "NFTA_EXPR_NAME: ct, padded"),
            ("1400 0280", "NFTA_EXPR_DATA"),
            ("0800 0100 00000001", "NFTA_CT_DREG: NFT_REG_1"),
            ("0800 0200 00000002", "NFTA_CT_KEY: status"),
        ];
        let redir = [
            ("2c00 0180", "NFTA_LIST_ELEM"),
            ("0a00 0100 726564697200 0000", "NFTA_EXPR_NAME: redir, padded"),
            ("1c00 0280", "NFTA_EXPR_DATA"),
            ("0800 0100 00000001", "NFTA_REDIR_REG_PROTO_MIN: NFT_REG_1"),
            ("0800 0200 00000001", "NFTA_REDIR_REG_PROTO_MAX: NFT_REG_1"),
            ("0800 0300 00000002", "NFTA_REDIR_FLAGS: the ports are given"),
        ];
        let bytes =
            |parts: &[(&str, &str)]| parts.iter().map(|(hex, _)| hex.replace(' ', "")).collect::<String>();
        assert_eq!(encoded(destination_is_local())[0], bytes(&fib));
        assert_eq!(encoded(conntrack_has(Conntrack::Status, DESTINATION_NAT))[0], bytes(&ct));
        assert_eq!(encoded(redirect(15100))[1], bytes(&redir));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn packet_bytes_are_compared_in_network_order_and_kernel_numbers_in_the_machines() {
        for (case, expression, tail) in [
            ("port", encoded(destination_port(15100)).pop(), "3afc0000"),
            ("type of address", encoded(destination_is_local()).pop(), "02000000"),
            ("interface", encoded(input_interface("lo")).pop(), "6c6f0000000000000000000000000000"),
        ] {
            assert!(expression.as_ref().unwrap().ends_with(tail), "{case}: {expression:?}");
        }
    }
}
