//! The gateway's command line: reads arguments, starts the log, and turns
//! every failure into one clear line and an exit code. All work is elsewhere.

mod admin;
mod api;
mod app;
mod auth;
mod body;
mod clock;
mod command;
mod config;
mod error;
mod failpoint;
mod health;
mod key;
mod ledger;
mod money;
mod patience;
mod price;
mod router;
mod secret;
mod server;
mod store;
mod stream;
mod telemetry;
mod turn;
mod upstream;

use std::{io::Write as _, process::ExitCode};

use mimalloc::MiMalloc;

/// A call makes some fifty allocations, a dozen of them larger than what the C
/// library hands out without searching. No huge pages are asked for: they nearly
/// double an idle gateway.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let Err(error) = command::run() else {
        return ExitCode::SUCCESS;
    };
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "llm-proxy: {error}");
    ExitCode::FAILURE
}
