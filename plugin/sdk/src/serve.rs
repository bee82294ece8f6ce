//! From `main` to the exit code.
//!
//! Owns the order of a plugin's life: what a person sees, hardening, socket,
//! the one line on stdout, serving, and the end within the host's two seconds.

mod manual;
mod run;

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use tracing::error;

use crate::{
    Backend, Error, PluginEnv,
    grpc::engine::{Engine, Factory},
    handshake::{self, Refusal},
    hardening, logger,
};

/// What a plugin says about itself.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The binary's name. Events of the crate of this name (`-` as `_`) are
    /// logged at every level, those of other crates from warnings up.
    pub name: &'static str,
    /// For example `0.1.0`; the catalog sees it with a leading `v`.
    pub version: &'static str,
    /// One sentence for a person who runs the binary.
    pub description: &'static str,
}

/// What the server tells when it sets a mount up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SetupConfig {
    /// The mount's options, with `plugin_name`, `plugin_type`, `plugin_version`.
    pub config: BTreeMap<String, String>,
    /// The same for a mount as long as it lives.
    pub backend_uuid: String,
    /// The server's version; `None` while the plugin is being registered.
    pub plugin_env: Option<PluginEnv>,
}

/// Runs a plugin until the host ends it. Returns the exit code of `main`.
///
/// `factory` makes the engine of one mount and is called for each. Storage is
/// not there yet: real work belongs into [`Backend::initialize`].
///
/// All handlers of all mounts run on one thread, interleaved at their awaits.
/// Work that blocks or computes for long belongs onto another, by
/// `tokio::task::spawn_blocking`.
pub fn serve<S, F>(options: &ServeOptions, factory: F) -> ExitCode
where
    S: Send + Sync + 'static,
    F: Fn(SetupConfig) -> Result<Backend<S>, Error> + Send + Sync + 'static,
{
    if std::env::args().nth(1).as_deref() == Some("--version") {
        return manual::version(options);
    }
    let plan = match handshake::plan(|name| std::env::var(name).ok()) {
        Ok(plan) => plan,
        Err(Refusal::ByHand) => return manual::explain(options),
        Err(Refusal::NoAutoMtls) => return manual::explain_no_tls(),
    };
    logger::install(options.name);
    logger::install_panic_hook(options.name);
    if let Err(error) = hardening::apply(plan.mlock) {
        error!(%error, "the plugin does not start");
        return ExitCode::FAILURE;
    }
    match run::run(options, &plan, erase(factory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "the plugin does not start");
            ExitCode::FAILURE
        }
    }
}

/// A defect in the engine's declarations fails the mount, with its text.
fn erase<S, F>(factory: F) -> Arc<Factory>
where
    S: Send + Sync + 'static,
    F: Fn(SetupConfig) -> Result<Backend<S>, Error> + Send + Sync + 'static,
{
    Arc::new(move |config| {
        let backend = factory(config)?;
        backend.check()?;
        Ok(Arc::new(backend) as Arc<dyn Engine>)
    })
}

/// The version as the catalog wants it.
fn catalog_version(version: &str) -> String {
    if version.starts_with('v') {
        version.to_owned()
    } else {
        format!("v{version}")
    }
}
