//! The secrets engine's process: all of it is in the library beside.

use std::process::ExitCode;

fn main() -> ExitCode {
    vault_plugin_secrets_litellm::run()
}
