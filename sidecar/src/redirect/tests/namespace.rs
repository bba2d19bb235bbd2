//! Network namespaces of the tests' own: a guarded one and its neighbour, joined by a cable.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// Set in a test process that was started again inside a user namespace.
const IN_USER_NAMESPACE: &str = "POSTERN_TEST_IN_USER_NAMESPACE";

/// A network namespace that lasts as long as this handle.
pub(super) struct Namespace(File);

impl Namespace {
    fn new() -> nix::Result<Self> {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(Self(File::open("/proc/thread-self/ns/net").unwrap()))
        })
        .join()
        .unwrap()
    }

    /// Does `work` inside; sockets that it makes belong to the namespace wherever they are used later.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The namespace as `ip link … netns` takes it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs `ip` inside with each of `lines` as arguments.
    fn ip(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let output = self.run(|| Command::new("ip").args(line.split_whitespace()).output());
            let output = output.expect("the tests need `ip` (package iproute2)");
            assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// The pod's addresses in [`Pair`].
pub(super) const POD_V4: &str = "10.77.0.2";
/// See [`POD_V4`].
pub(super) const POD_V6: &str = "fd77::2";
/// See [`POD_V4`].
pub(super) const POD_LINK_LOCAL: &str = "fe80::2";
/// The neighbour's address, which may pass for the node's.
pub(super) const NEIGHBOUR_V4: &str = "10.77.0.1";

/// A pod and its neighbour on one link, with IPv4, IPv6 and link-local addresses.
pub(super) struct Pair {
    /// The pod.
    pub(super) pod: Namespace,
    /// Whoever attacks it.
    pub(super) neighbour: Namespace,
    /// Index of the neighbour's interface: the scope of link-local addresses there.
    pub(super) scope: u32,
}

impl Pair {
    /// The pair; or nothing, if `test` ran in a process of its own instead (as another user than root), or
    /// cannot run on this machine, which is said on standard error.
    pub(super) fn new(test: &str) -> Option<Self> {
        let (pod, neighbour) = match (Namespace::new(), Namespace::new()) {
            (Ok(pod), Ok(neighbour)) => (pod, neighbour),
            (Err(error), _) | (_, Err(error)) => {
                again_in_a_user_namespace(test, error);
                return None;
            }
        };
        neighbour.ip(&format!(
            "link set lo up
             link add cable0 type veth peer name eth0 netns {}
             link set cable0 addrgenmode none up
             addr add {NEIGHBOUR_V4}/24 dev cable0
             -6 addr add fd77::1/64 dev cable0 nodad
             -6 addr add fe80::1/64 dev cable0 nodad",
            pod.path()
        ));
        pod.ip(&format!(
            "link set lo up
             link set eth0 addrgenmode none up
             addr add {POD_V4}/24 dev eth0
             -6 addr add {POD_V6}/64 dev eth0 nodad
             -6 addr add {POD_LINK_LOCAL}/64 dev eth0 nodad
             route add default via {NEIGHBOUR_V4}"
        ));
        let scope = neighbour.run(|| nix::net::if_::if_nametoindex("cable0").unwrap());
        Some(Self { pod, neighbour, scope })
    }

    /// A third namespace, 10.78.0.2, that the neighbour reaches only through the pod.
    pub(super) fn network_behind_the_pod(&self) -> Namespace {
        let behind = Namespace::new().unwrap();
        self.pod.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        self.pod.ip(&format!(
            "link add inner0 type veth peer name eth0 netns {}
             link set inner0 up
             addr add 10.78.0.1/24 dev inner0",
            behind.path()
        ));
        behind.ip("link set eth0 up
             addr add 10.78.0.2/24 dev eth0
             route add default via 10.78.0.1");
        self.neighbour.ip(&format!("route add 10.78.0.0/24 via {POD_V4}"));
        behind
    }

    /// The pod's addresses as the neighbour dials them.
    pub(super) fn addresses(&self) -> [String; 3] {
        [POD_V4.to_owned(), format!("[{POD_V6}]"), format!("[{POD_LINK_LOCAL}%{}]", self.scope)]
    }
}

/// Starts the one test again as root of a user namespace of its own.
fn again_in_a_user_namespace(test: &str, error: nix::Error) {
    assert!(std::env::var_os(IN_USER_NAMESPACE).is_none(), "no network namespace even as its root: {error}");
    let unshare = |program: &str, arguments: &[&str]| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", program])
            .args(arguments)
            .env(IN_USER_NAMESPACE, "1")
            .status()
    };
    if !unshare("true", &[]).is_ok_and(|status| status.success()) {
        // Past the harness, which shows nothing of tests that pass.
        let reason = "needs root, or a kernel that lets users make namespaces";
        writeln!(std::io::stderr(), "NOT RUN: {test} {reason} ({error})").unwrap();
        return;
    }
    let program = std::env::current_exe().unwrap();
    let status = unshare(program.to_str().unwrap(), &["--exact", test, "--nocapture"]).unwrap();
    assert!(status.success(), "{test} failed in a user namespace");
}
