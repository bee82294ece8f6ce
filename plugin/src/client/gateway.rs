//! Who the gateway is: our own names itself, its version and its features in
//! `/health/readiness`; LiteLLM names none of them.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::transport::{Answer, Transport};
use crate::error::GatewayError;

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayInfo {
    pub(crate) is_llm_proxy: bool,
    pub(crate) version: Option<String>,
    /// What it can do beyond LiteLLM's contract; always empty on LiteLLM.
    pub(crate) features: BTreeSet<String>,
    /// Fields that it accepts and that have no effect; empty where it does not tell.
    pub(crate) ignored: BTreeSet<String>,
    /// How far the gateway's clock is ahead of this machine's, to the second.
    pub(crate) clock_difference: Option<TimeDelta>,
}

impl GatewayInfo {
    /// Whether a field that rests on `feature` would be accepted and have no effect.
    pub(crate) fn lacks(&self, feature: &str) -> bool {
        !self.features.contains(feature)
    }
}

impl fmt::Display for GatewayInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_llm_proxy {
            "llm-proxy"
        } else {
            "LiteLLM"
        })?;
        match &self.version {
            Some(version) => write!(f, " {version}"),
            None => Ok(()),
        }
    }
}

/// LiteLLM: `{"status","db"}`, in older versions `litellm_version` too. A status
/// is asked for, because any web page can be JSON.
#[derive(Deserialize)]
struct Readiness {
    #[serde(rename = "status")]
    _status: String,
    gateway: Option<String>,
    version: Option<String>,
    litellm_version: Option<String>,
    #[serde(default)]
    features: BTreeSet<String>,
    #[serde(default)]
    ignored: BTreeSet<String>,
}

pub(super) async fn ask(transport: &Transport) -> Result<GatewayInfo, GatewayError> {
    let asked = Utc::now();
    let answer: Answer<Readiness> = transport
        .call(Method::GET, "/health/readiness", &Value::Null)
        .await?;
    let told = answer.body;
    let is_llm_proxy = told.gateway.as_deref() == Some("llm-proxy");
    Ok(GatewayInfo {
        is_llm_proxy,
        version: if is_llm_proxy {
            told.version
        } else {
            told.litellm_version
        },
        features: if is_llm_proxy {
            told.features
        } else {
            BTreeSet::new()
        },
        ignored: if is_llm_proxy {
            told.ignored
        } else {
            BTreeSet::new()
        },
        clock_difference: answer.date.map(|date| difference(date - asked)),
    })
}

/// LiteLLM: `/health/readiness/details`. What does not answer this tells no version.
pub(super) async fn litellm_version(transport: &Transport) -> Option<String> {
    let answer: Result<Answer<Readiness>, _> = transport
        .call(Method::GET, "/health/readiness/details", &Value::Null)
        .await;
    answer.ok()?.body.litellm_version
}

/// A `Date` header has whole seconds, and the answer took its time.
fn difference(measured: TimeDelta) -> TimeDelta {
    TimeDelta::seconds((measured + TimeDelta::milliseconds(500)).num_seconds())
}

#[cfg(test)]
mod tests;
