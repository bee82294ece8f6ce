//! The gateway's admin key in memory: shown by nothing but `expose`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Far above any gateway's key, far below what a server takes as a header.
const MAX_BYTES: usize = 1024;

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MasterKey(String);

impl MasterKey {
    /// # Errors
    /// Says what is wrong with a text that can't be sent as a bearer token.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("master_key must not be empty");
        }
        if text.len() > MAX_BYTES {
            return Err("master_key is longer than 1024 bytes");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("master_key must be printable ASCII without spaces");
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its name at the gateway, should the gateway have it in its table.
    pub(crate) fn hash(&self) -> String {
        super::key_hash(&self.0)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}
