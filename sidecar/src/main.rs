//! `postern-sidecar`: see `--help`, and the library for how it works.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use postern_sidecar::app::{App, Options};
use postern_sidecar::cli::{Cli, Serving, Task};
use postern_sidecar::metrics::Metrics;
use postern_sidecar::{check, describe, explain, log, redirect};

fn main() -> ExitCode {
    // Whoever shares the pod must not read the server's key out of this process.
    if let Err(error) = prctl::set_dumpable(false) {
        eprintln!("postern-sidecar: this process cannot be made undumpable ({error})");
        return ExitCode::FAILURE;
    }
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("postern-sidecar: another crypto provider was installed before");
        return ExitCode::FAILURE;
    }
    match run(Cli::parse().task()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("postern-sidecar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    match task {
        Task::Check(file) => return Ok(tell(&check::check(&file))),
        Task::Redirect(udp_ports) => redirect::run(&udp_ports, |name| std::env::var(name).ok())?,
        Task::Describe => std::io::stdout().write_all(describe::page().as_bytes())?,
        Task::Explain(code) => std::io::stdout().write_all(explain::text(code).as_bytes())?,
        Task::Guard(guard, serving) => {
            serve(serving, |options, metrics| App::guard(&guard, options, metrics))?;
        }
        Task::Standalone(file, serving) => {
            serve(serving, |options, metrics| App::standalone(&file, options, metrics))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each fault.
fn tell(faults: &[check::Fault]) -> ExitCode {
    for fault in faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve<E: Error + Send + Sync + 'static>(
    serving: Serving,
    start: impl FnOnce(Options, Metrics) -> Result<App, E>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let options = serving.options();
    let metrics = Metrics::new(options.workers);
    let log = log::start(serving.log_level(), metrics.control.clone())?;
    // Two sockets per connection; the default of many systems is below that.
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "the limit of open files stays low");
    }
    let ended = start(options, metrics).map(App::run);
    log.flush();
    Ok(ended??)
}
