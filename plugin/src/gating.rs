//! Fields beyond LiteLLM's contract are taken only where the gateway says that
//! it enforces them: LiteLLM drops what it does not know without a word.

use vault_plugin_sdk::{Error, Request};

use crate::backend::State;
use crate::client::{Client, GatewayInfo};

/// A field, and the feature that a gateway names when it enforces it.
pub(crate) type Need = (&'static str, &'static str);

/// Part of LiteLLM's contract, but our own gateway learns it later.
const LITELLM_HAS: &str = "model_max_budget";

/// Those of `needs` that the gateway does not enforce.
pub(crate) fn lacking<'a>(
    gateway: &GatewayInfo,
    needs: &'a [Need],
) -> impl Iterator<Item = &'a Need> {
    needs.iter().filter(|(_, feature)| {
        gateway.lacks(feature) && (gateway.is_llm_proxy || *feature != LITELLM_HAS)
    })
}

/// Asks the gateway whether it enforces all of `needs`; asks nothing where
/// there are none.
///
/// # Errors
/// A user error that names field, feature and gateway; 502 where the gateway
/// can't be asked.
pub(crate) async fn require(state: &State, req: &Request, needs: &[Need]) -> Result<(), Error> {
    if needs.is_empty() {
        return Ok(());
    }
    let client = state.client(req).await?;
    let gateway = client.gateway().await?;
    enforced(&client, &gateway, needs)
}

/// As `require` before a key is issued: the configuration may name another
/// gateway than it did at the role's write. Asks once in a client's life, and
/// again before it refuses, because a gateway may have been upgraded.
///
/// # Errors
/// As `require`.
pub(crate) async fn still(client: &Client, needs: &[Need]) -> Result<(), Error> {
    if needs.is_empty() {
        return Ok(());
    }
    let known = client.known_gateway().await?;
    if lacking(&known, needs).next().is_none() {
        return Ok(());
    }
    enforced(client, &client.gateway().await?, needs)
}

fn enforced(client: &Client, gateway: &GatewayInfo, needs: &[Need]) -> Result<(), Error> {
    match lacking(gateway, needs).next() {
        None => Ok(()),
        Some((field, feature)) => Err(Error::user(format!(
            "{field} would have no effect: {gateway} at {} does not name the feature {feature} in /health/readiness. Leave {field} out, or use a version of llm-proxy that names it",
            client.base_url()
        ))),
    }
}
