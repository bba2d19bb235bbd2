//! Raw ICMP from the neighbour.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::namespace::Pair;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// Types 8 and 128.
    Echo,
    /// Type 13 (RFC 792), IPv4 only: hosts answer it, and no network needs it.
    Timestamp,
}

/// Whether the pod answers within `limit`.
pub(super) fn answers(pair: &Pair, address: &str, question: Question, limit: Duration) -> bool {
    let target: SocketAddr = format!("{address}:0").parse().unwrap();
    let (domain, protocol, kind, reply) = match (target, question) {
        (SocketAddr::V4(_), Question::Echo) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        (SocketAddr::V4(_), Question::Timestamp) => (Domain::IPV4, Protocol::ICMPV4, 13, 14),
        (SocketAddr::V6(_), _) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let socket = pair.neighbour.run(|| Socket::new(domain, Type::RAW, Some(protocol)).unwrap());
    let mut packet = [0; 20];
    packet[0] = kind;
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum);
    socket.send_to(&packet, &target.into()).unwrap();

    let end = Instant::now() + limit;
    let mut buffer = [MaybeUninit::new(0u8); 128];
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left)).unwrap();
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { return false };
        // SAFETY: every byte of the buffer was initialised above.
        let bytes: Vec<u8> = buffer.iter().take(length).map(|byte| unsafe { byte.assume_init() }).collect();
        // IPv4 raw sockets hand over the IP header too.
        let header = if target.is_ipv4() { usize::from(bytes[0] & 0xf) * 4 } else { 0 };
        if bytes[header] == reply {
            return true;
        }
    }
    false
}

/// RFC 1071; the kernel does it for `ICMPv6`.
fn checksum(packet: &[u8]) -> [u8; 2] {
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!u16::try_from(folded).unwrap()).to_be_bytes()
}
