//! The benchmark's two ends of a gateway: a provider that answers at once, and
//! a generator of calls. Both speak just enough HTTP/1.1 over keep-alive
//! connections to cost little beside what is measured, on one thread each.

mod closed;
mod open;
mod provider;
mod streams;
mod tally;
mod target;
mod wire;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::closed::Until;
use self::target::{Call, Target};

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
        #[arg(long, value_parser = seconds, required_unless_present = "calls")]
        seconds: Option<Duration>,
        /// So many calls instead of so many seconds.
        #[arg(long, conflicts_with = "seconds")]
        calls: Option<usize>,
    },
    /// Calls are due at a fixed rate, and a late one counts from when it was due.
    Open {
        #[command(flatten)]
        target: TargetArguments,
        #[arg(long)]
        connections: usize,
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
        #[arg(long, value_parser = seconds)]
        seconds: Duration,
    },
    /// Streamed calls side by side, each followed by the next.
    Streams {
        #[command(flatten)]
        target: TargetArguments,
        #[arg(long)]
        count: usize,
        /// When no further stream begins.
        #[arg(long, value_parser = seconds)]
        seconds: Duration,
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
    #[arg(long, default_value = "bench")]
    model: String,
    /// A line for the head of each call, as `name: value`.
    #[arg(long = "header")]
    headers: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let count: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(count).map_err(|error| error.to_string())
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
    open::finest_timer();
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
                calls,
            } => {
                let until = match calls {
                    Some(count) => Until::Calls(count),
                    None => Until::Elapsed(seconds.unwrap_or_default()),
                };
                let target = target.read(false)?;
                closed::run(target, connections, until).await.map(Some)
            }
            Command::Open {
                target,
                connections,
                rate,
                seconds,
            } => {
                let target = target.read(false)?;
                open::run(target, connections, rate, seconds)
                    .await
                    .map(Some)
            }
            Command::Streams {
                target,
                count,
                seconds,
            } => streams::run(target.read(true)?, count, seconds)
                .await
                .map(Some),
        }
    })?;
    match report {
        Some(report) => writeln!(std::io::stdout(), "{report}"),
        None => Ok(()),
    }
}

impl TargetArguments {
    fn read(self, is_streamed: bool) -> std::io::Result<Target> {
        let keys = std::fs::read_to_string(self.keys)?;
        let call = Call {
            model: self.model,
            prompt_bytes: self.prompt,
            is_streamed,
            headers: self.headers,
        };
        Target::new(self.address, keys.lines(), &call)
    }
}
