//! A network namespace as a pod has one, joined to ours by a veth pair.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns, unshare};
use postern_config::layout::{HOST_IPS_ENV, POD_IPS_ENV, redirect_args};

/// The pod's address.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The address of this side of the pair, as the node has one.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A pod's network namespace. It lasts as long as this handle and the sockets that were made inside.
pub(crate) struct Pod {
    namespace: File,
}

impl Pod {
    /// Makes the namespace and the pair; there can be only one at a time.
    pub(crate) fn new() -> Result<Self> {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (root may)")?;
            File::open("/proc/thread-self/ns/net").context("opening the new network namespace")
        };
        let pod = Self { namespace: on_a_thread(make)? };
        let path = format!("/proc/{}/fd/{}", std::process::id(), pod.namespace.as_raw_fd());
        ip(&format!("link add pod0 type veth peer name eth0 netns {path}"))?;
        ip(&format!("addr add {NODE}/24 dev pod0"))?;
        ip("link set pod0 up")?;
        pod.run(|| {
            ip("link set lo up")?;
            ip(&format!("addr add {ADDRESS}/24 dev eth0"))?;
            ip("link set eth0 up")?;
            ip(&format!("route add default via {NODE}"))
        })?;
        Ok(pod)
    }

    /// Works inside: sockets made and programs started there belong to the pod wherever they are used later.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.namespace, CloneFlags::CLONE_NEWNET).context("entering the pod's network")?;
            work()
        })
    }

    /// Closes the pod as its first init container does.
    pub(crate) fn close(&self, sidecar: &Path) -> Result<()> {
        let mut command = Command::new(sidecar);
        command.args(redirect_args(&[])).env(POD_IPS_ENV, ADDRESS.to_string());
        command.env(HOST_IPS_ENV, NODE.to_string());
        self.run(|| successful(&mut command, "postern-sidecar redirect"))
    }
}

/// A thread of its own, since a namespace is changed for one thread, for good.
fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.map_err(|_| anyhow!("work in a pod's network panicked"))?
}

fn ip(line: &str) -> Result<()> {
    successful(Command::new("ip").args(line.split(' ')), &format!("ip {line}"))
}

fn successful(command: &mut Command, name: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
