//! Bounds on what callers may use up.

use std::time::Duration;

/// Every bound, with defaults that suit a pod behind a few gateways.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last.
    pub header: Duration,
    /// Size of a request's head.
    pub header_bytes: u32,
    /// Size of a request's target: path and query, and what stands before them.
    pub target_bytes: usize,
    /// Number of a request's headers.
    pub header_count: usize,
    /// Connections at one time, of all kinds.
    pub connections: usize,
    /// Of these, ones that have not (yet) proved to be a caller with a route.
    pub unproven: usize,
    /// Of these, from one address.
    pub unproven_per_source: usize,
    /// Of these, from one IPv6 /64.
    pub unproven_per_network: usize,
    /// Connections at one time to ports without a lock.
    pub open: usize,
    /// Of these, from one address.
    pub open_per_source: usize,
    /// Of these, from one IPv6 /64.
    pub open_per_network: usize,
    /// HTTP/2 requests at one time in one connection.
    pub streams: u32,
    /// HTTP/2 flow control window of a connection, in bytes.
    pub connection_window: u32,
    /// HTTP/2 flow control window of a stream, in bytes.
    pub stream_window: u32,
    /// HTTP/2 streams that a caller may have reset and the sidecar not yet forgotten (CVE-2023-44487).
    pub pending_resets: usize,
    /// HTTP/2 streams that the sidecar may have reset for a caller's errors (CVE-2025-8671).
    pub own_resets: usize,
    /// A connection on which nothing moves for so long is closed.
    pub idle: Duration,
    /// For a connection to the application.
    pub connect: Duration,
    /// How long an unused connection to the application is kept. Common servers close theirs after 5 s.
    pub upstream_idle: Duration,
    /// What is still in flight so long after SIGTERM is broken off.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            header_bytes: 64 << 10,
            target_bytes: 16 << 10,
            header_count: 100,
            connections: 4096,
            unproven: 1024,
            unproven_per_source: 256,
            unproven_per_network: 512,
            open: 2048,
            open_per_source: 512,
            open_per_network: 1024,
            streams: 100,
            connection_window: 1 << 20,
            stream_window: 256 << 10,
            pending_resets: 20,
            own_resets: 128,
            idle: Duration::from_secs(3600),
            connect: Duration::from_secs(5),
            upstream_idle: Duration::from_secs(4),
            drain: Duration::from_secs(25),
        }
    }
}
