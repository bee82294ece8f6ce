//! The gateway's list of keys, a page at a time, as far as the engine needs it.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Client;
use super::transport::Answer;
use crate::error::GatewayError;

/// LiteLLM: the most that a page holds.
const PAGE_SIZE: u32 = 100;

/// One page of the list.
#[derive(Debug)]
pub(crate) struct KeyPage {
    pub(crate) keys: Vec<ListedKey>,
    pub(crate) is_last: bool,
    /// When the gateway wrote it, by its own clock.
    pub(crate) written_at: DateTime<Utc>,
}

/// A key as the list shows it.
#[derive(Debug, Clone)]
pub(crate) struct ListedKey {
    pub(crate) hash: String,
    pub(crate) alias: String,
    /// `None` where it never expires, or where what it says is no time.
    pub(crate) expires: Option<DateTime<Utc>>,
    metadata: Map<String, Value>,
}

impl ListedKey {
    /// What the engine wrote of the key when it issued it; empty at others' keys.
    pub(crate) fn metadata(&self, name: &str) -> &str {
        self.metadata
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct ListAnswer {
    keys: Vec<Row>,
    total_pages: u32,
}

#[derive(Deserialize)]
struct Row {
    token: String,
    key_alias: Option<String>,
    #[serde(default)]
    expires: Value,
    #[serde(default)]
    metadata: Value,
}

impl Client {
    /// Page `page` of all keys, the first being 1. Oldest first, so that keys
    /// issued meanwhile do not move what is yet to be read.
    pub(crate) async fn list_keys(&self, page: u32) -> Result<KeyPage, GatewayError> {
        let path = format!(
            "/key/list?page={page}&size={PAGE_SIZE}&return_full_object=true&sort_by=created_at&sort_order=asc"
        );
        let answer: Answer<ListAnswer> = self
            .transport
            .call(Method::GET, &path, &Value::Null)
            .await?;
        let written_at = answer.date.ok_or_else(|| {
            self.transport
                .unexpected("no Date header tells the gateway's time")
        })?;
        Ok(KeyPage {
            is_last: page >= answer.body.total_pages || answer.body.keys.is_empty(),
            keys: answer.body.keys.into_iter().map(ListedKey::from).collect(),
            written_at,
        })
    }
}

impl From<Row> for ListedKey {
    fn from(row: Row) -> Self {
        let expires = row.expires.as_str();
        Self {
            hash: row.token,
            alias: row.key_alias.unwrap_or_default(),
            expires: expires
                .and_then(|text| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())),
            metadata: match row.metadata {
                Value::Object(metadata) => metadata,
                _ => Map::new(),
            },
        }
    }
}
