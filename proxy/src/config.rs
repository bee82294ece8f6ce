//! Owns the gateway's settings: one struct a concern, parsed and checked once
//! at start from LiteLLM's `config.yaml`, the environment and the command
//! line. Nothing else reads the environment. Called by `app`.

mod environment;
mod file;
mod model_list;
mod provider_key;
mod resolve;
mod tree;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::TimeDelta;
use chrono_tz::Tz;
use http::StatusCode;
use tempfile::TempDir;
use url::Url;

pub(crate) use self::{
    environment::Environment,
    file::{File, Wanted, Warning, parse},
    provider_key::ProviderKey,
    resolve::{ConfigError, Options, check, database_url, listen_address, resolve, time_zone},
};
use crate::{key::Seals, price::Price, secret::Secret};

/// Everything the running gateway was told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) master_key: Secret,
    pub(crate) database_url: String,
    pub(crate) server: Server,
    pub(crate) models: Vec<Arc<Deployment>>,
    /// `llm_proxy.store.usage_retention`: how long rows of calls are kept; none
    /// is for ever.
    pub(crate) usage_retention: Option<TimeDelta>,
    /// `llm_proxy.store.stale_window_s`: how long known keys are served while a
    /// PostgreSQL does not answer.
    pub(crate) stale_window: Duration,
    /// `LLM_PROXY_KEY_PEPPER`, and `llm_proxy.store.keys_without_seal`.
    pub(crate) seals: Seals,
    /// `llm_proxy.ledger.time_zone`: whose days and months budgets with windows follow.
    pub(crate) time_zone: Tz,
    /// LiteLLM: `litellm_settings.budget_exceeded_status_code`, 422 or 429 or 400.
    pub(crate) budget_exceeded_status: StatusCode,
    /// Of `--dev`: the generated master key is shown, the store is removed at the end.
    pub(crate) dev: Option<Dev>,
}

/// `llm_proxy.server`.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    /// Equal to `listen`: both planes on one address.
    pub(crate) admin_listen: SocketAddr,
    pub(crate) connections_max: usize,
    pub(crate) body_bytes_max: usize,
    /// How long open calls may go on after a stop was asked for.
    pub(crate) drain_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4000)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 4001)),
            connections_max: 4_096,
            body_bytes_max: 10 * 1024 * 1024,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// What `--dev` made up.
#[derive(Clone, Debug)]
pub(crate) struct Dev {
    pub(crate) master_key_generated: bool,
    /// Removed with everything in it when the last owner of the settings ends.
    pub(crate) folder: Option<Arc<TempDir>>,
}

/// One entry of `model_list`: a public name and where it is served.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) public_name: Arc<str>,
    pub(crate) provider: Provider,
    /// The provider's own name of the model.
    pub(crate) upstream_model: String,
    pub(crate) api_base: Url,
    pub(crate) api_key: Option<ProviderKey>,
    pub(crate) price: Option<Price>,
    /// Declared free: both prices given as zero.
    pub(crate) free: bool,
    /// What the model can answer with at most; see [`OUTPUT_TOKENS_DEFAULT`].
    pub(crate) max_output_tokens: Option<u64>,
    /// Stable over restarts: a hash of what the deployment is.
    pub(crate) id: Arc<str>,
    pub(crate) timeout: Option<Duration>,
}

/// Assumed where neither the caller nor the configuration bounds an answer.
pub(crate) const OUTPUT_TOKENS_DEFAULT: u64 = 4_096;

/// Which dialect the upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    OpenAiCompatible,
    /// Built in: answers with the prompt, for trying and testing.
    Echo,
}
