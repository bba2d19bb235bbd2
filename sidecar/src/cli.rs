//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use postern_config::layout;
use postern_config::signed::VerifyKey;
use tracing_subscriber::filter::LevelFilter;

use crate::app::{Guard, Options, Ports};
use crate::authorize::Code;
use crate::limits::Limits;

/// Stands in front of an application and lets in only the callers that hold a key.
///
/// With --config it needs no Kubernetes: listeners, certificate and policy come from one file. In a guarded pod
/// the operator's webhook runs it as `guard`, after `redirect` has closed the pod's network namespace.
#[derive(Debug, Parser)]
#[command(
    name = "postern-sidecar",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// Configuration (YAML or JSON): listeners, server, policy. Changes of certificates, credentials and policy are
    /// taken over while running, at once on SIGHUP. `postern-sidecar describe` tells every field.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Only look whether a sidecar would serve by the file: every fault is named with its line and what to do, and
    /// the exit code is 1 if there is one.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    serving: Serving,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// Serve by a file.
    Standalone(PathBuf, Serving),
    /// Look at a file for faults.
    Check(PathBuf),
    /// Describe that file.
    Describe,
    /// Serve in a guarded pod.
    Guard(Guard, Serving),
    /// Close the network namespace, but for these UDP ports.
    Redirect(Vec<u16>),
    /// Say what a code means, or all of them.
    Explain(Option<Code>),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Guards the pod it runs in, by the operator's signed configuration.
    Guard(GuardArgs),
    /// Closes the pod's network namespace and redirects what comes in to the sidecar (needs the capability `NET_ADMIN`).
    Redirect {
        /// UDP port that stays open; may be given several times.
        #[arg(long = "udp-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        udp_ports: Vec<u16>,
    },
    /// Prints the reference of the file behind --config: every field, what it means and what it may hold.
    Describe,
    /// Says what a code in a log line or a problem document means and what to do; without a code, of all of them.
    Explain {
        /// Such as `NoRoute`.
        #[arg(value_parser = |name: &str| Code::named(name).ok_or("there is no such code; leave it out to see all"))]
        code: Option<Code>,
    },
}

#[derive(Debug, Args)]
struct GuardArgs {
    /// Namespace of the `BackendTrust`.
    #[arg(long, value_name = "NAME")]
    namespace: String,
    /// Name of the `BackendTrust`.
    #[arg(long, value_name = "NAME")]
    trust: String,
    /// Key that signs this lock's configuration (Ed25519, 32 bytes in unpadded URL-safe base64); given twice while
    /// it is being replaced.
    #[arg(long = "verify-key", value_name = "KEY", required = true)]
    verify_keys: Vec<VerifyKey>,
    /// Listen on the ports that the pod record names instead of one that everything is redirected to.
    #[arg(long)]
    listener: bool,
    #[arg(long, hide = true, default_value = layout::CONFIG_PATH)]
    config_directory: PathBuf,
    #[arg(long, hide = true, default_value = layout::RECORD_PATH)]
    record_directory: PathBuf,
    #[arg(long, hide = true, default_value = layout::STATE_PATH)]
    state_directory: PathBuf,
    #[command(flatten)]
    serving: Serving,
}

/// Options of whatever serves.
#[derive(Clone, Copy, Debug, Args)]
pub struct Serving {
    /// Threads that serve traffic.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Log requests that are let in, too; refusals are always logged.
    #[arg(long)]
    access_log: bool,
    /// How much is logged: error, warn (refusals), info.
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO)]
    log_level: LevelFilter,
}

impl Cli {
    /// What the arguments ask for.
    pub fn task(self) -> Task {
        match (self.command, self.config) {
            (Some(Command::Redirect { udp_ports }), _) => Task::Redirect(udp_ports),
            (Some(Command::Explain { code }), _) => Task::Explain(code),
            (Some(Command::Guard(args)), _) => {
                let guard = Guard {
                    namespace: args.namespace,
                    trust: args.trust,
                    verify_keys: args.verify_keys,
                    config: args.config_directory,
                    record: args.record_directory,
                    state: args.state_directory,
                    listener: args.listener,
                    ports: Ports::default(),
                };
                Task::Guard(guard, args.serving)
            }
            (Some(Command::Describe), _) => Task::Describe,
            (None, config) if self.check => Task::Check(config.unwrap_or_default()),
            (None, config) => Task::Standalone(config.unwrap_or_default(), self.serving),
        }
    }
}

impl Serving {
    /// How much is logged.
    pub fn log_level(self) -> LevelFilter {
        self.log_level
    }

    /// For the app.
    pub fn options(self) -> Options {
        Options { workers: self.workers.into(), access_log: self.access_log, limits: Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn task(args: &[&str]) -> Result<Task, clap::Error> {
        Cli::try_parse_from([&["postern-sidecar"], args].concat()).map(Cli::task)
    }

    #[test]
    fn the_arguments_that_injection_writes_are_understood() {
        let args = layout::sidecar_args("shop", "orders", &[KEY.to_owned(), KEY.to_owned()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let Task::Guard(guard, serving) = task(&args).unwrap() else { panic!("guard") };
        assert_eq!((&*guard.namespace, &*guard.trust, guard.verify_keys.len()), ("shop", "orders", 2));
        assert_eq!(guard.config, PathBuf::from(layout::CONFIG_PATH));
        assert_eq!(guard.record, PathBuf::from("/etc/postern/pod"));
        assert_eq!(serving.options().workers, 1);
        for ports in [&[][..], &[53, 514]] {
            let args = layout::redirect_args(ports);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let Ok(Task::Redirect(understood)) = task(&args) else { panic!("redirect") };
            assert_eq!(understood, ports);
        }
        assert!(task(&["redirect", "--udp-port=0"]).is_err());
    }

    #[test]
    fn standalone_needs_a_file() {
        assert!(
            matches!(task(&["--config", "x", "--workers", "2"]), Ok(Task::Standalone(_, serving)) if serving.workers == 2)
        );
        for args in
            [&[][..], &["--workers", "0", "--config", "x"], &["guard"], &["--config", "x", "redirect"]]
        {
            assert!(task(args).is_err(), "{args:?}");
        }
        assert!(task(&["guard", "--namespace=a", "--trust=b", "--verify-key=short"]).is_err());
    }

    #[test]
    fn a_file_can_be_checked_and_described() {
        assert!(
            matches!(task(&["--config", "x", "--check"]), Ok(Task::Check(file)) if file == Path::new("x"))
        );
        assert!(matches!(task(&["describe"]), Ok(Task::Describe)));
        for args in [&["--check"][..], &["--check", "describe"]] {
            assert!(task(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn codes_can_be_explained() {
        assert!(matches!(task(&["explain", "noroute"]), Ok(Task::Explain(Some(Code::NoRoute)))));
        assert!(matches!(task(&["explain"]), Ok(Task::Explain(None))));
        assert!(task(&["explain", "NoSuchCode"]).is_err());
    }
}
