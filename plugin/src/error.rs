//! How a failure at the gateway is told to Vault: 400 for what a person can
//! cure here, 502 for a gateway that is down or makes no sense.

use thiserror::Error;
use vault_plugin_sdk as sdk;

pub(crate) const NO_CONNECTION: &str = "no connection";
pub(crate) const FORBIDDEN_ADDRESS: &str =
    "its name leads to a link-local or metadata address, where no gateway is";
pub(crate) const BAD_CERTIFICATE: &str =
    "its certificate is not accepted: see ca_cert and tls_server_name";

/// A call of the gateway that did not do what it should. Carries the gateway's
/// address and no secret.
#[derive(Debug, Error)]
pub(crate) enum GatewayError {
    #[error(
        "the gateway at {base_url} can't be reached ({reason}): is it running, and does config name its admin address?"
    )]
    Unreachable {
        base_url: String,
        reason: &'static str,
    },
    #[error(
        "the gateway at {base_url} refused the admin key with status {status} ({message}): write a good master_key to config"
    )]
    AdminKeyRefused {
        base_url: String,
        status: u16,
        message: String,
    },
    #[error(
        "the gateway at {base_url} does not let the admin key {verb} keys ({message}): write a master_key to config that may, at a gateway with scopes one that has {scope}"
    )]
    LacksScope {
        base_url: String,
        verb: &'static str,
        scope: &'static str,
        message: String,
    },
    #[error("the gateway at {base_url} refused with status {status}: {message}")]
    Refused {
        base_url: String,
        status: u16,
        message: String,
    },
    #[error("the gateway at {base_url} failed with status {status}: {message}")]
    Failed {
        base_url: String,
        status: u16,
        message: String,
    },
    #[error(
        "the gateway at {base_url} gave an answer that is none of a LiteLLM key API ({reason}): does config name the right address?"
    )]
    Unexpected { base_url: String, reason: String },
}

impl GatewayError {
    /// Whether the gateway certainly did nothing: it was never reached, or did
    /// not accept the admin key.
    pub(crate) fn changed_nothing(&self) -> bool {
        match self {
            Self::Unreachable { reason, .. } => {
                [NO_CONNECTION, FORBIDDEN_ADDRESS, BAD_CERTIFICATE].contains(reason)
            }
            Self::AdminKeyRefused { .. } | Self::LacksScope { .. } => true,
            Self::Refused { .. } | Self::Failed { .. } | Self::Unexpected { .. } => false,
        }
    }
}

impl From<GatewayError> for sdk::Error {
    fn from(error: GatewayError) -> Self {
        let text = error.to_string();
        match error {
            GatewayError::AdminKeyRefused { .. }
            | GatewayError::LacksScope { .. }
            | GatewayError::Refused { .. } => Self::user(text),
            GatewayError::Unreachable { .. }
            | GatewayError::Failed { .. }
            | GatewayError::Unexpected { .. } => Self::coded(502, text),
        }
    }
}
