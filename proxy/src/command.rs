//! Owns the subcommands and their arguments. Called by `main`.

mod healthcheck;
mod keys_import;

use std::{io::Write as _, num::NonZero, path::PathBuf};

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::{
    app::{self, StartError},
    config::{ConfigError, Environment, Options, check, database_url, time_zone},
    failpoint,
    key::use_time_zone,
    ledger,
    store::Store,
    telemetry,
};

/// An OpenAI-compatible gateway that honours short-lived keys and holds their budgets.
#[derive(Debug, Parser)]
#[command(name = "llm-proxy", version, arg_required_else_help = true)]
struct Arguments {
    /// Print the names of the crash points that this build knows, and exit.
    #[arg(long)]
    help_failpoints: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT.
    Serve {
        /// LiteLLM's config.yaml; also `LLM_PROXY_CONFIG`.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Loopback, a generated master key, a temporary store, the model `demo`.
        #[arg(long)]
        dev: bool,
    },
    /// Say what the gateway makes of a configuration file.
    CheckConfig { file: PathBuf },
    /// Ask the running gateway whether it is ready.
    Healthcheck {
        /// As given to `serve`, to find the address.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Work on the keys in the store.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
        /// As given to `serve`, to find the store.
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
    },
    /// Examine the books of a stopped gateway.
    Ledger {
        #[command(subcommand)]
        command: LedgerCommand,
        /// As given to `serve`, to find the store.
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Take keys over from an export of LiteLLM's table `LiteLLM_VerificationToken`
    /// (a JSON array, or one JSON object a line): they keep working, with their
    /// limits and spend. Keys that exist already are left alone.
    Import {
        file: PathBuf,
        /// Give keys that exist the rules of the file, and bring deleted ones back;
        /// of what was spent here and there, the higher counts.
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Recompute every balance from its rows and the audit trail's hashes; fails
    /// where one differs.
    Verify,
    /// Take back an estimated posting that nothing was spent for.
    Release { request_id: Uuid },
}

/// Any failure of a subcommand, as one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Health(#[from] healthcheck::HealthError),
    #[error(transparent)]
    Ledger(#[from] ledger::command::CommandError),
    #[error(transparent)]
    Import(#[from] keys_import::ImportError),
    #[error("writing the answer: {0}")]
    Output(#[from] std::io::Error),
}

pub(crate) fn run() -> Result<(), CommandError> {
    let arguments = Arguments::parse();
    if arguments.help_failpoints {
        let mut out = std::io::stdout();
        for name in failpoint::NAMES {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    }
    let environment = Environment::process();
    telemetry::start(environment.text("LLM_PROXY_LOG"));
    let runtime = runtime()?;
    match arguments.command {
        None => Ok(()),
        Some(Command::Serve { config, dev }) => {
            let options = Options { file: config, dev };
            Ok(runtime.block_on(app::serve(&options))?)
        }
        Some(Command::CheckConfig { file }) => check_config(file, &environment),
        Some(Command::Healthcheck { config }) => {
            Ok(runtime.block_on(healthcheck::run(config, &environment))?)
        }
        Some(Command::Keys {
            command: KeysCommand::Import { file, replace },
            config,
        }) => {
            use_time_zone(time_zone(config.clone(), &environment)?);
            let url = database_url(config, &environment)?;
            Ok(keys_import::run(&runtime, &url, &file, replace)?)
        }
        Some(Command::Ledger { command, config }) => {
            let url = database_url(config, &environment)?;
            Store::require_existing(&url).map_err(ledger::command::CommandError::from)?;
            Ok(runtime.block_on(async {
                match command {
                    LedgerCommand::Verify => ledger::command::verify(&url).await,
                    LedgerCommand::Release { request_id } => {
                        ledger::command::release(&url, request_id).await
                    }
                }
            })?)
        }
    }
}

/// One thread a core. Where there is one alone, nothing is handed between threads.
fn runtime() -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = match cores {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

fn check_config(file: PathBuf, environment: &Environment) -> Result<(), CommandError> {
    let name = file.display().to_string();
    let mut out = std::io::stdout();
    for warning in check(file, environment)? {
        writeln!(out, "{name}: warning: {warning}")?;
    }
    writeln!(out, "{name}: valid")?;
    Ok(())
}
