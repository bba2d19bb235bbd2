//! Entry point of `postern-operator`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use postern_operator::app::{App, Options};
use postern_operator::check;
use postern_operator::config::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Makes sure that only the API gateway can call the workloads behind a BackendTrust.
///
/// It reaches the cluster as its pod's service account or, outside of a pod, by KUBECONFIG. Several replicas may
/// run: all answer admission requests, one of them writes.
#[derive(Parser)]
#[command(version, subcommand_negates_reqs = true)]
struct Arguments {
    /// The configuration, YAML. The chart writes it from its values.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, or directives as `info,kube=warn`.
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    log_level: String,
    /// Name of this replica in the election of a leader.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "postern-operator")]
    identity: String,
    /// Where /healthz and /readyz are served.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8081")]
    health_address: SocketAddr,
    /// Where /metrics is served.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    metrics_address: SocketAddr,
    #[command(subcommand)]
    check: Option<Check>,
}

#[derive(Subcommand)]
enum Check {
    /// Fails while a BackendTrust exists; the chart asks before it is uninstalled.
    CheckUninstall,
    /// Fails unless the webhook answers and armed locks refuse an unguarded pod; `helm test` asks.
    CheckInstall {
        /// The operator's namespace.
        #[arg(long, value_name = "NAME")]
        namespace: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Before logging is set up there is only this way to say it.
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!("{error:#}");
            } else {
                eprintln!("postern-operator: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed already"))?;
    let filter = EnvFilter::builder().parse(&arguments.log_level)?;
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(asked) = arguments.check {
        return runtime.block_on(async {
            let client = kube::Client::try_default().await?;
            match asked {
                Check::CheckUninstall => check::uninstall(&client).await?,
                Check::CheckInstall { namespace } => check::install(&client, &namespace).await?,
            }
            Ok(())
        });
    }
    let config = Config::load(&arguments.config.unwrap_or_default())?;
    let options = Options {
        identity: arguments.identity,
        health: arguments.health_address,
        metrics: arguments.metrics_address,
    };
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let app = App::bind(config, options).await?;
        let stopping = stop.clone();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            stopping.cancel();
        });
        app.run(stop).await?;
        Ok(())
    })
}
