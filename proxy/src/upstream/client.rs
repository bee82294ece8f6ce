//! Builds the one HTTP client that talks to providers.
//!
//! It owns what is true of every call: no redirects (one could lead a key to
//! another host), a bound on connecting, and TLS by the platform's roots. Only
//! `upstream::Client` calls it.

use std::time::Duration;

/// Name resolution, connection and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what providers' load balancers keep an idle connection for.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no client can be built.
#[derive(Debug, thiserror::Error)]
#[error("setting up TLS: {0}")]
pub(crate) struct ClientError(#[from] reqwest::Error);

pub(super) fn build() -> Result<reqwest::Client, ClientError> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .user_agent(concat!("llm-proxy/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}
