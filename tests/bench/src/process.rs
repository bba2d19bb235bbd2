//! A proxy's process: what it has used, and its end.

use std::fs::{File, read_dir, read_to_string};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// A process and its children, ended when dropped.
pub(crate) struct Process {
    child: Child,
}

/// Where proxies run and where everything else does, so that neither takes the other's time.
const PROXY_CPU: usize = 0;
const LOAD_CPU: usize = 1;

/// A process' memory, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Its proportional share of all that is mapped.
    pub(crate) pss: f64,
    /// Of it what no file holds: its own data, without its program.
    pub(crate) anonymous: f64,
}

impl Process {
    /// Starts a program on the proxies' processor; what it says goes to a file.
    pub(crate) fn start(program: &str, arguments: &[String], output: &Path) -> Result<Self> {
        let file = File::create(output).with_context(|| format!("writing {}", output.display()))?;
        stay_on(PROXY_CPU)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {program}"));
        stay_on(LOAD_CPU)?;
        Ok(Self { child: child? })
    }

    /// Processor time of all threads so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> Result<f64> {
        let mut ns = 0.0;
        for id in self.family() {
            for task in read_dir(format!("/proc/{id}/task"))? {
                let text = read_to_string(task?.path().join("schedstat"))?;
                let first = text.split(' ').next().context("an empty schedstat")?;
                ns += first.parse::<f64>()?;
            }
        }
        Ok(ns / 1000.0)
    }

    /// Its memory as of now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let mut memory = Memory { pss: 0.0, anonymous: 0.0 };
        for id in self.family() {
            let text = read_to_string(format!("/proc/{id}/smaps_rollup"))?;
            let kib = |name: &str| -> Result<f64> {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let value = line.with_context(|| format!("smaps_rollup without {name}"))?;
                Ok(value.trim().trim_end_matches(" kB").parse()?)
            };
            memory.pss += kib("Pss:")?;
            memory.anonymous += kib("Pss_Anon:")?;
        }
        Ok(memory)
    }

    /// Its number.
    #[cfg(test)]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end.
    #[cfg(test)]
    pub(crate) fn terminate(&self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::kill(Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
        }
    }

    /// The process and the ones that it has started.
    fn family(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        std::iter::once(id).chain(children).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for id in self.family().into_iter().rev() {
            if let Ok(id) = i32::try_from(id) {
                let _ = nix::sys::signal::kill(Pid::from_raw(id), nix::sys::signal::Signal::SIGKILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// A machine without that processor leaves the scheduler free.
fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    let _ = sched_setaffinity(Pid::from_raw(0), &set);
    Ok(())
}

/// Keeps this program off the proxies' processor.
pub(crate) fn stay_off_the_proxies() -> Result<()> {
    stay_on(LOAD_CPU)
}
