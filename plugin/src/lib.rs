//! The secrets engine: leased keys for an LLM gateway (llm-proxy or LiteLLM).
//!
//! A library so that fuzz targets reach what stored entries are decoded by. It
//! offers no more than [`run`], which the binary calls.

use std::process::ExitCode;

use vault_plugin_sdk::{ServeOptions, serve};

mod alias;
mod backend;
mod client;
mod error;
mod failpoint;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gating;
mod grant;
mod paths;
mod root_wal;
mod secret_key;
mod static_queue;
mod static_rotation;
mod static_schedule;
mod static_state;
mod static_tick;
mod static_wal;
mod template;
#[cfg(test)]
mod testing;
mod wal;

/// Hands the engine to the SDK, which speaks with the Vault or OpenBao server
/// that started this process. Answers the exit code of `main`.
pub fn run() -> ExitCode {
    serve(
        &ServeOptions {
            name: env!("CARGO_PKG_NAME"),
            version: version(),
            description: "A secrets engine for Vault and OpenBao: leased keys for an LLM gateway (llm-proxy or LiteLLM).",
        },
        |_setup| Ok(backend::backend()),
    )
}

/// What the server's catalogue is told. A build for tests can pass for another
/// version, so that an upgrade can be shown with one binary.
fn version() -> &'static str {
    #[cfg(feature = "failpoints")]
    if let Ok(version) = std::env::var("LITELLM_REPORTED_VERSION") {
        return version.leak();
    }
    env!("CARGO_PKG_VERSION")
}
