//! Owns the translation between a row of `keys` and a `Key`. A row that cannot
//! be read is an error, never a key with fewer rules.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{FromRow, Row as _, any::AnyRow};

use super::StoreError;
use crate::{
    key::{
        AllRates, Cidr, Groups, Key, KeyHash, KeyType, Metadata, Own, Rules, SHARED_ACCOUNTS_MAX,
        Scopes, Seal, SharedAccount, Terms,
    },
    money::NanoUsd,
};

/// What a key is read by from `keys`: its columns, and the terms of the groups
/// that it names. A named budget that is not there is damage: the key would have
/// fewer limits.
macro_rules! key_columns {
    () => {
        "keys.*, \
         COALESCE((SELECT terms FROM key_group WHERE kind = 'budget' AND id = keys.budget_id), \
             CASE WHEN keys.budget_id IS NOT NULL THEN 'missing' END) AS budget_terms, \
         (SELECT terms FROM key_group WHERE kind = 'team' AND id = keys.team_id) AS team_terms, \
         (SELECT terms FROM key_group WHERE kind = 'user' AND id = keys.user_id) AS user_terms"
    };
}
pub(super) use key_columns;

/// The same from `deleted_keys`, which nothing binds any more.
macro_rules! deleted_key_columns {
    () => {
        "deleted_keys.*, CAST(NULL AS TEXT) AS budget_terms, CAST(NULL AS TEXT) AS team_terms, \
         CAST(NULL AS TEXT) AS user_terms, CAST(NULL AS TEXT) AS seal"
    };
}
pub(super) use deleted_key_columns;

/// The columns as they are stored.
#[derive(Debug, FromRow)]
pub(super) struct KeyRow {
    hash: String,
    account_hash: Option<String>,
    key_name: String,
    alias: Option<String>,
    models: String,
    aliases: String,
    soft_budget_nanousd: Option<i64>,
    max_budget_nanousd: Option<i64>,
    expires_at_us: Option<i64>,
    blocked: i64,
    metadata: String,
    key_type: String,
    allowed_routes: String,
    scopes: String,
    shared_accounts: String,
    allowed_cidrs: String,
    limits: String,
    user_id: Option<String>,
    team_id: Option<String>,
    budget_id: Option<String>,
    seal: Option<String>,
    budget_terms: Option<String>,
    team_terms: Option<String>,
    user_terms: Option<String>,
    created_at_us: i64,
    updated_at_us: i64,
}

impl KeyRow {
    pub(super) fn read(row: &AnyRow) -> Result<Key, StoreError> {
        Self::from_row(row)
            .map_err(StoreError::while_doing("reading a key's columns"))?
            .into_key()
    }

    fn into_key(self) -> Result<Key, StoreError> {
        let damaged = |what| StoreError::Damaged {
            hash: self.hash.clone(),
            what,
        };
        let hash = KeyHash::from_hex(&self.hash).ok_or_else(|| damaged("hash"))?;
        let shared =
            shared_accounts(&self.shared_accounts).ok_or_else(|| damaged("shared accounts"))?;
        let account = match &self.account_hash {
            Some(first) => KeyHash::from_hex(first).ok_or_else(|| damaged("account"))?,
            None => hash,
        };
        let terms = |text: Option<&String>| match text {
            Some(text) => from_json::<Terms>(text).map(Arc::new).map(Some),
            None => Some(None),
        };
        let groups = Groups {
            budget: terms(self.budget_terms.as_ref()).ok_or_else(|| damaged("budget"))?,
            team: terms(self.team_terms.as_ref()).ok_or_else(|| damaged("team"))?,
            user: terms(self.user_terms.as_ref()).ok_or_else(|| damaged("user"))?,
        };
        let rules = Rules {
            limits: from_json(&self.limits).ok_or_else(|| damaged("limits"))?,
            models: from_json(&self.models).ok_or_else(|| damaged("models"))?,
            aliases: from_json(&self.aliases).ok_or_else(|| damaged("aliases"))?,
            soft_budget: self.soft_budget_nanousd.map(NanoUsd::from_nanos),
            max_budget: self.max_budget_nanousd.map(NanoUsd::from_nanos),
            charged: Vec::new(),
            shared_count: 0,
            rates: AllRates::default(),
            key_type: KeyType::parse(&self.key_type).ok_or_else(|| damaged("key type"))?,
            allowed_routes: from_json(&self.allowed_routes).ok_or_else(|| damaged("routes"))?,
            // A name that is not known is damage: without it the key would
            // have fewer scopes, and with none of them it would call models.
            scopes: scopes(&self.scopes).ok_or_else(|| damaged("scopes"))?,
            allowed_cidrs: cidrs(&self.allowed_cidrs).ok_or_else(|| damaged("cidrs"))?,
            team_id: self.team_id,
            budget_id: self.budget_id,
            groups,
        };
        let own = Own {
            account: None,
            value_ends_at: None,
            seal: seal(self.seal.as_deref()).ok_or_else(|| damaged("seal"))?,
            alias: self.alias,
            metadata: Metadata::parse(&self.metadata).ok_or_else(|| damaged("metadata"))?,
            user_id: self.user_id,
            user_rates: None,
            budgets: None,
            rules: Arc::new(rules),
        };
        let mut key = Key {
            hash,
            key_name: self.key_name.into(),
            expires_at: match self.expires_at_us {
                Some(at) => Some(instant(at).ok_or_else(|| damaged("expiry"))?),
                None => None,
            },
            created_at: instant(self.created_at_us).ok_or_else(|| damaged("creation"))?,
            updated_at: instant(self.updated_at_us).ok_or_else(|| damaged("update"))?,
            blocked: self.blocked != 0,
            own: Arc::new(own),
        };
        key.keep_account(account);
        key.charge_to(shared);
        Ok(key)
    }
}

/// One that cannot be read is damage, and no key without a seal.
#[expect(
    clippy::option_option,
    reason = "a seal that cannot be read is another thing than none"
)]
fn seal(text: Option<&str>) -> Option<Option<Seal>> {
    text.map_or(Some(None), |text| Seal::from_hex(text).map(Some))
}

fn scopes(text: &str) -> Option<Scopes> {
    let names: Vec<String> = from_json(text)?;
    Scopes::parse(names.iter().map(String::as_str)).ok()
}

fn cidrs(text: &str) -> Option<Vec<Cidr>> {
    let blocks: Vec<String> = from_json(text)?;
    blocks.iter().map(|block| Cidr::parse(block)).collect()
}

fn shared_accounts(text: &str) -> Option<Vec<SharedAccount>> {
    let pairs: Vec<(String, String)> = from_json(text)?;
    // A call is held in all of them, and has room for no more.
    if pairs.len() > SHARED_ACCOUNTS_MAX {
        return None;
    }
    let parse = |(scope, id): &(String, String)| SharedAccount::parse(scope, id);
    pairs.iter().map(parse).collect()
}

/// As `KeyRow` reads them.
pub(super) fn shared_to_json(key: &Key) -> String {
    let pair = |account: &SharedAccount| (account.scope.as_str(), account.id.to_string());
    to_json(&key.shared().map(pair).collect::<Vec<_>>())
}

pub(super) fn instant(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Lists and maps of plain JSON always have a text.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// When the value ends that this row of `keys` was found by; none for its own.
pub(super) fn value_ends_at(row: &AnyRow) -> Result<Option<DateTime<Utc>>, StoreError> {
    let ends: Option<i64> = row
        .try_get("ends_at_us")
        .map_err(StoreError::while_doing("reading the end of a key's value"))?;
    let damaged = || StoreError::Damaged {
        hash: row.try_get("hash").unwrap_or_default(),
        what: "end of an earlier value",
    };
    ends.map(|at| instant(at).ok_or_else(damaged)).transpose()
}

/// The seal of the value that this row of `keys` was found by.
pub(super) fn value_seal(row: &AnyRow) -> Result<Option<Seal>, StoreError> {
    let text: Option<String> = row
        .try_get("value_seal")
        .map_err(StoreError::while_doing("reading the seal of a key's value"))?;
    seal(text.as_deref()).ok_or_else(|| StoreError::Damaged {
        hash: row.try_get("hash").unwrap_or_default(),
        what: "seal of its value",
    })
}

/// When a row of `deleted_keys` was deleted.
pub(super) fn deleted_at(row: &AnyRow) -> Option<DateTime<Utc>> {
    row.try_get("deleted_at_us").ok().and_then(instant)
}

#[cfg(test)]
mod tests {
    use super::{SHARED_ACCOUNTS_MAX, shared_accounts};

    #[test]
    fn more_shared_accounts_than_a_call_has_room_for_are_damage() {
        for (count, is_read) in [
            (0, true),
            (SHARED_ACCOUNTS_MAX, true),
            (SHARED_ACCOUNTS_MAX + 1, false),
        ] {
            let pairs: Vec<_> = (0..count).map(|id| ("team", id.to_string())).collect();
            let text = serde_json::to_string(&pairs).unwrap();
            assert_eq!(shared_accounts(&text).is_some(), is_read, "{count}");
        }
    }
}
