//! The netlink socket: sends a transaction, reads dumps.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP_INTR, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::RedirectError;
use super::compare::Found;
use super::message::{Dump, Step, datagram, dump};

/// Times that a dump is asked for again because the tables changed under it.
const DUMP_ATTEMPTS: usize = 10;

/// `nf_tables` of the network namespace in which it was opened.
pub(super) struct Kernel {
    socket: Socket,
}

impl Kernel {
    /// A socket to netfilter.
    pub(super) fn open() -> Result<Self, RedirectError> {
        let connect = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            // The kernel has answered before a request returns, so that waiting would only hide a missing
            // answer.
            socket.set_non_blocking(true)?;
            // An acknowledgement need not repeat the whole request.
            socket.set_cap_ack(true)?;
            Ok(Self { socket })
        };
        connect().map_err(RedirectError::Socket)
    }

    /// Writes a transaction: all of it or nothing.
    pub(super) fn write(&self, steps: &[Step]) -> Result<(), RedirectError> {
        const WHOLE: &str = "the transaction";
        self.send(&datagram(steps)).map_err(|cause| refused(WHOLE, cause))?;
        let object_of = |number: u32| {
            let step = steps.iter().find(|step| step.message.header.sequence_number == number);
            // An answer to the begin of the batch (no permission, say) is about all of it.
            step.filter(|step| wants_answer(step)).map_or(WHOLE, |step| &step.object)
        };
        let mut unanswered: Vec<u32> = steps
            .iter()
            .filter(|step| wants_answer(step))
            .map(|step| step.message.header.sequence_number)
            .collect();
        while let Some(next) = unanswered.first() {
            let messages = match self.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(RedirectError::Unacknowledged { object: object_of(*next).to_owned() });
                }
                Err(cause) => return Err(refused(WHOLE, cause)),
                Ok(messages) => messages,
            };
            for message in messages {
                let NetlinkPayload::Error(answer) = message.payload else { continue };
                let number = message.header.sequence_number;
                if answer.code.is_some() {
                    return Err(refused(object_of(number), answer.to_io()));
                }
                unanswered.retain(|waiting| *waiting != number);
            }
        }
        Ok(())
    }

    /// All tables, chains and rules, of all families.
    pub(super) fn read(&self) -> Result<Found, RedirectError> {
        let read = |what, name| self.dump(what).map_err(|cause| RedirectError::Read { what: name, cause });
        let mut found = Found::default();
        for (what, name) in [(Dump::Tables, "tables"), (Dump::Chains, "chains"), (Dump::Rules, "rules")] {
            for message in read(what, name)? {
                let family = message.header.family;
                match message.inner {
                    NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) => {
                        found.tables.push((family, table));
                    }
                    NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) => {
                        found.chains.push((family, chain));
                    }
                    NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) => {
                        found.rules.push((family, rule));
                    }
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    fn dump(&self, what: Dump) -> io::Result<Vec<NetfilterMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(messages) = self.dump_once(what)? {
                return Ok(messages);
            }
        }
        Err(io::Error::other("the tables change faster than they can be read"))
    }

    /// `None` if the tables changed meanwhile.
    fn dump_once(&self, what: Dump) -> io::Result<Option<Vec<NetfilterMessage>>> {
        let request = dump(what);
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.send(&bytes)?;
        let (mut found, mut interrupted) = (Vec::new(), false);
        loop {
            for message in self.receive()? {
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::Done(done) if done.code == 0 => {
                        return Ok((!interrupted).then_some(found));
                    }
                    NetlinkPayload::Done(done) => return Err(io::Error::from_raw_os_error(-done.code)),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    _ => {}
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map(|_| ())
    }

    /// The messages of one datagram from the kernel. One that can't be read is left out: if it is ours, the
    /// comparison misses it; another's is no reason to fail.
    fn receive(&self) -> io::Result<Vec<NetlinkMessage<NetfilterMessage>>> {
        let (bytes, sender) = self.socket.recv_from_full()?;
        if sender.port_number() != 0 {
            return Ok(Vec::new());
        }
        let mut messages = Vec::new();
        let mut rest = bytes.as_slice();
        while let Ok(next) = NetlinkBuffer::new_checked(rest) {
            match NetlinkMessage::deserialize(rest) {
                Ok(message) => messages.push(message),
                Err(error) => tracing::warn!(%error, "nf_tables tells of an object that cannot be read"),
            }
            // Messages are padded to four bytes (NLMSG_ALIGNTO).
            let length = usize::try_from(next.length()).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(messages)
    }
}

fn wants_answer(step: &Step) -> bool {
    step.message.header.flags & NLM_F_ACK != 0
}

fn refused(object: &str, cause: io::Error) -> RedirectError {
    let remedy = match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "the container must run as user 0 with the capability NET_ADMIN, which the Pod Security standards \
             baseline and restricted forbid: label the namespace pod-security.kubernetes.io/enforce=privileged"
        }
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EINVAL) => {
            "the node's kernel needs nf_tables with the modules nft_chain_nat, nft_ct, nft_fib_inet and \
             nft_redir: load them on the node (Linux 5.4 or newer)"
        }
        Some(libc::ENOMEM | libc::ENOBUFS) => "raise the memory limit of the container",
        _ => "the pod's network namespace is unchanged",
    };
    RedirectError::Refused { object: object.to_owned(), cause, remedy }
}
