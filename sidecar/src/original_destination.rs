//! Where a redirected connection was bound for before the redirect.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;
use tokio::net::TcpStream;

/// The destination that the caller dialled, as connection tracking remembers it: `SO_ORIGINAL_DST`
/// (`linux/netfilter_ipv4.h`) for IPv4, also on a dual-stack socket, and `IP6T_SO_ORIGINAL_DST`
/// (`linux/netfilter_ipv6/ip6_tables.h`) for IPv6, with its scope if the address is link-local.
///
/// A connection that was *not* redirected yields the address it came in on, so the caller must hold the
/// answer against [`crate::own_addresses::permitted_destination`].
///
/// # Errors
/// If connection tracking doesn't know the connection, or the answer is no IP address.
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let address = match stream.local_addr()?.ip().to_canonical() {
        IpAddr::V4(_) => socket.original_dst_v4()?,
        IpAddr::V6(_) => socket.original_dst_v6()?,
    };
    address.as_socket().ok_or_else(|| io::Error::other("the original destination is no IP address"))
}
