//! The benchmark's two ends of a gateway: a provider that answers at once, and
//! a generator of calls. Both speak just enough HTTP/1.1 over keep-alive
//! connections to cost little beside what is measured, on one thread each.

mod closed;
mod open;
mod provider;
mod streams;
mod target;
mod wire;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::target::Target;

#[derive(Debug, Parser)]
#[command(arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer chat completions, plain and streamed, until killed.
    Provider {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Each connection sends its next call when the last one is answered.
    Closed {
        #[command(flatten)]
        target: TargetArguments,
        #[arg(long)]
        connections: usize,
        #[arg(long)]
        seconds: u64,
    },
    /// Calls are due at a fixed rate, and a late one counts from when it was due.
    Open {
        #[command(flatten)]
        target: TargetArguments,
        #[arg(long)]
        connections: usize,
        #[arg(long)]
        rate: u32,
        #[arg(long)]
        seconds: u64,
    },
    /// Streamed calls side by side, each of as many frames as the provider sends.
    Streams {
        #[command(flatten)]
        target: TargetArguments,
        #[arg(long)]
        count: usize,
    },
}

#[derive(Debug, Args)]
struct TargetArguments {
    #[arg(long)]
    address: SocketAddr,
    /// A file with one key a line; calls take turns among them.
    #[arg(long)]
    keys: PathBuf,
    /// The prompt's length in bytes.
    #[arg(long, default_value_t = 100)]
    prompt: usize,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(std::io::stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        match command {
            Command::Provider { listen } => provider::serve(listen).await.map(|()| None),
            Command::Closed {
                target,
                connections,
                seconds,
            } => {
                let target = target.read(false)?;
                let report = closed::run(target, connections, Duration::from_secs(seconds)).await?;
                Ok(Some(report))
            }
            Command::Open {
                target,
                connections,
                rate,
                seconds,
            } => {
                let target = target.read(false)?;
                let length = Duration::from_secs(seconds);
                open::run(target, connections, rate, length).await.map(Some)
            }
            Command::Streams { target, count } => {
                streams::run(target.read(true)?, count).await.map(Some)
            }
        }
    })?;
    match report {
        Some(report) => writeln!(std::io::stdout(), "{report}"),
        None => Ok(()),
    }
}

impl TargetArguments {
    fn read(self, streamed: bool) -> std::io::Result<Target> {
        let keys = std::fs::read_to_string(self.keys)?;
        Target::new(self.address, keys.lines(), self.prompt, streamed)
    }
}
