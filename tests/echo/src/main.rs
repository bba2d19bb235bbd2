//! `postern-echo`: see the subcommands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use postern_echo::{call, control, hits, load, serve};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM.
    Serve(serve::Options),
    /// Print what the server beside this process has counted, as JSON.
    Hits,
    /// Tell the server beside this process what its health checks shall answer from now on.
    Health {
        /// Whether they fail.
        #[arg(long)]
        down: bool,
    },
    /// Make attempts all at once, print the list of outcomes as JSON.
    Call {
        /// A JSON list of attempts; absent: one line of standard input.
        #[arg(long)]
        attempts: Option<String>,
    },
    /// Read one line of JSON (an attempt) from standard input, make it, and make it again over the same
    /// connection for each further line; print each outcome as one line of JSON.
    Hold,
    /// Read one line of JSON (an attempt over HTTP) from standard input, and print each line of its answer as it comes.
    Listen,
    /// Read one line of JSON (a transfer) from standard input, make it, print what came of it as JSON. A line `sent`
    /// meanwhile prints how many bytes were sent, a line `read` begins the reading of a stalled one.
    Transfer,
    /// Read one line of JSON (an attempt over HTTP/2) from standard input, make a gRPC call of each kind, print what
    /// came of them as JSON.
    Greet,
    /// Keep a load up, print the totals as JSON.
    Load {
        /// The load as JSON, kept up until `end` or its limit; absent: one line of standard input, and kept
        /// up until the next line.
        #[arg(long)]
        load: Option<String>,
    },
    /// End the load beside this process.
    End,
    /// Print the link-local IPv6 addresses of this network, as JSON.
    Interfaces,
    /// Do nothing until SIGTERM.
    Idle,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = match Arguments::parse().command {
        Command::Serve(options) => serve::run(options).await,
        Command::Hits => control::ask(control::Order::Hits).await.map(|answer| println!("{answer}")),
        Command::Health { down } => {
            let order = if down { control::Order::HealthDown } else { control::Order::HealthUp };
            control::ask(order).await.map(|answer| println!("{answer}"))
        }
        Command::End => control::ask(control::Order::End).await.map(drop),
        Command::Interfaces => {
            println!("{}", serde_json::json!(hits::link_local()));
            Ok(())
        }
        Command::Call { attempts } => call::run(attempts).await,
        Command::Load { load } => load::run(load).await,
        Command::Hold => call::hold().await,
        Command::Listen => call::listen().await,
        Command::Transfer => call::transfer().await,
        Command::Greet => call::greet().await,
        Command::Idle => {
            serve::terminated().await;
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postern-echo: {error}");
            ExitCode::FAILURE
        }
    }
}
