//! Owns how a row of LiteLLM's table of keys becomes a key: what is taken over,
//! what has no effect here and is said so, and what would make the key freer
//! than it was and is refused. `llm-proxy keys import` reads the file, calls
//! this, and tells the operator.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::AnyConnection;

use super::{
    asked::instant,
    fields::{Fields, IGNORED},
    limits,
    values::{budget, printable, text},
};
use crate::{
    clock::Clock,
    error::ApiError,
    key::{GroupKind, Key, KeyHash, KeyType},
    money::NanoUsd,
    store::{
        self, StoreError,
        audit::{self, Entry},
    },
};

/// What the audit trail and the log call the command line.
const ACTOR: &str = "command";

/// LiteLLM: columns that `/key/generate` knows as fields of the same name.
const FIELDS: [&str; 15] = [
    "aliases",
    "allowed_routes",
    "blocked",
    "budget_duration",
    "budget_limits",
    "key_type",
    "max_budget",
    "max_parallel_requests",
    "metadata",
    "model_max_budget",
    "models",
    "rpm_limit",
    "team_id",
    "tpm_limit",
    "user_id",
];

/// LiteLLM: columns that are read below, or bind the key to nothing.
const WITHOUT_RULE: [&str; 19] = [
    "budget_reset_at",
    "created_at",
    "created_by",
    "expires",
    "key_alias",
    "key_name",
    "key_rotation_at",
    "last_active",
    "last_rotation_at",
    "litellm_changed_by",
    "model_spend",
    "rotation_count",
    "rotation_interval",
    "soft_budget_cooldown",
    "spend",
    "token",
    "token_id",
    "updated_at",
    "updated_by",
];

/// LiteLLM: columns that hold JSON, which some exports write as a text.
const JSON: [&str; 7] = [
    "aliases",
    "allowed_routes",
    "budget_limits",
    "metadata",
    "model_max_budget",
    "models",
    "permissions",
];

/// A row that can be taken over.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) key: Key,
    /// Of its lifetime, or of the current window of its `budget_duration`.
    spent: NanoUsd,
    /// Columns that say something which does not hold here.
    pub(crate) left_out: Vec<String>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Added,
    Replaced,
    /// A key of this hash exists, or another key had this value before.
    Exists,
    /// It was deleted here: bringing it back must be asked for.
    Deleted,
}

/// Reads one row.
///
/// # Errors
/// A sentence that says which column makes the row unusable. It repeats no
/// value.
pub(crate) fn read(row: &Map<String, Value>, now: DateTime<Utc>) -> Result<Imported, String> {
    let hash = row.get("token").and_then(Value::as_str);
    let hash = hash.and_then(KeyHash::from_key_or_hash);
    let hash =
        hash.ok_or("token must be the key's SHA-256 in hexadecimal digits, as LiteLLM stores it")?;
    let mut body = Map::new();
    let mut left_out = Vec::new();
    for (name, value) in row.iter().filter(|(_, value)| !is_empty(value)) {
        match name.as_str() {
            // A kind of key that only LiteLLM knows.
            "key_type" if value.as_str().and_then(KeyType::parse).is_none() => {
                left_out.push("key_type".to_owned());
            }
            known if FIELDS.contains(&known) => {
                body.insert(name.clone(), unfolded(name, value));
            }
            known if WITHOUT_RULE.contains(&known) => {}
            _ => left_out.push(printable(name)),
        }
    }
    let fields = Fields::parse(&body).map_err(|error| error.message().to_owned())?;
    if let Some(metadata) = &fields.metadata {
        let without_effect = metadata.iter().filter(|(_, value)| !is_empty(value));
        let names = without_effect.map(|(name, _)| name.as_str());
        let names = names.filter(|name| IGNORED.contains(name));
        left_out.extend(names.map(|name| format!("metadata.{name}")));
    }
    if is_bounded_by_a_team(&fields, row) {
        left_out.push("the models of its team".to_owned());
    }
    let created_at = time(row, "created_at").ok().flatten().unwrap_or(now);
    let mut key = Key::new(hash, key_name(row), created_at);
    key.updated_at = now;
    key.expires_at = time(row, "expires")?;
    key.alias = match text("key_alias", row.get("key_alias").unwrap_or(&Value::Null)) {
        Ok(alias) => alias,
        Err(_) => {
            left_out.push("key_alias".to_owned());
            None
        }
    };
    fields.apply(&mut key);
    Ok(Imported {
        spent: spent(row, &key, now)?,
        key,
        left_out,
    })
}

/// LiteLLM: a key of a team without models of its own may call its team's.
fn is_bounded_by_a_team(fields: &Fields, row: &Map<String, Value>) -> bool {
    let models = fields.models.as_deref().unwrap_or_default();
    let names_none = models.is_empty() || models.iter().any(|model| model == "all-team-models");
    names_none && row.get("team_id").is_some_and(|team| !is_empty(team))
}

/// Writes one row. Its entry of the audit trail is added to `trail`, for the
/// end of the transaction.
pub(crate) async fn write(
    write: &mut AnyConnection,
    row: &mut Imported,
    replace: bool,
    clock: &Clock,
    trail: &mut Vec<Entry>,
) -> Result<Outcome, StoreError> {
    let (key, now) = (&mut row.key, clock.now());
    let known = store::keys::import::known(write, key.hash, key.alias.as_deref()).await?;
    if known.is_earlier || (known.is_live && !replace) {
        return Ok(Outcome::Exists);
    }
    if known.was_deleted && !known.is_live && !replace {
        return Ok(Outcome::Deleted);
    }
    if known.alias_is_taken {
        row.left_out
            .push("key_alias, which another key has".to_owned());
        key.alias = None;
    }
    let before = match known.is_live {
        true => store::keys::find(write, key.hash).await?,
        false => None,
    };
    if let Some(before) = &before {
        // Where it was regenerated here its account has another name.
        key.keep_account(before.account());
        key.created_at = before.created_at;
        key.seal = before.seal;
    }
    let deleted = match known.was_deleted && !known.is_live {
        true => store::keys::import::deleted(write, key.hash).await?,
        false => None,
    };
    if let Some(known) = before.as_ref().or(deleted.as_ref()) {
        if !keep_budget(write, key, known).await? {
            row.left_out.push("budget_id, which is gone".to_owned());
        }
        key.charge_to(known.shared().cloned().collect());
        // Rules that LiteLLM's table has no column for.
        key.allowed_cidrs.clone_from(&known.allowed_cidrs);
        key.scopes = known.scopes;
    }
    store::keys::put(write, key).await?;
    open_accounts(write, key, row.spent, clock).await?;
    let change = (before.as_ref(), Some(&*key));
    trail.extend(Entry::of_key(ACTOR.to_owned(), "key.import", change, now));
    Ok(match before {
        Some(_) => Outcome::Replaced,
        None => Outcome::Added,
    })
}

/// Gives the key the named budget that it had here; false where that is gone.
async fn keep_budget(
    write: &mut AnyConnection,
    key: &mut Key,
    known: &Key,
) -> Result<bool, StoreError> {
    let Some(id) = &known.budget_id else {
        return Ok(true);
    };
    let Some(budget) = store::groups::find(write, GroupKind::Budget, id).await? else {
        return Ok(false);
    };
    key.budget_id = Some(id.clone());
    key.groups.budget = Some(Arc::new(budget.terms));
    Ok(true)
}

/// Writes the entries that `write` has gathered.
pub(crate) async fn write_trail(
    write: &mut AnyConnection,
    trail: &[Entry],
) -> Result<(), StoreError> {
    audit::append_all(write, trail).await
}

async fn open_accounts(
    write: &mut AnyConnection,
    key: &Key,
    spent: NanoUsd,
    clock: &Clock,
) -> Result<(), StoreError> {
    let own = key.own_account();
    store::keys::import::open_account(write, &own, key.lifetime_budget(), spent).await?;
    if key.own_budgets().is_empty() {
        return Ok(());
    }
    limits::define(write, key, clock).await?;
    let main = limits::spend_account(key, clock.now());
    if main != own {
        store::keys::import::open_account(write, &main, key.cap(), spent).await?;
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => matches!(text.as_str(), "" | "null" | "{}" | "[]"),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// JSON that an export has written as a text.
fn unfolded(name: &str, value: &Value) -> Value {
    let inner = value.as_str().filter(|_| JSON.contains(&name));
    let inner = inner.and_then(|text| serde_json::from_str(text).ok());
    inner.unwrap_or_else(|| value.clone())
}

/// LiteLLM's masked form; what does not look like it might be a key.
fn key_name(row: &Map<String, Value>) -> String {
    let name = row.get("key_name").and_then(Value::as_str);
    let masked = name.filter(|name| {
        let tail = name.strip_prefix("sk-...");
        tail.is_some_and(|tail| tail.len() <= 4 && tail.bytes().all(|byte| byte.is_ascii_graphic()))
    });
    masked.unwrap_or("sk-...").to_owned()
}

/// An expiry that cannot be read must not become none.
fn time(row: &Map<String, Value>, name: &str) -> Result<Option<DateTime<Utc>>, String> {
    match row.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_str()
            .and_then(|text| instant(text, false))
            .map(Some)
            .ok_or_else(|| format!("{name} must be a time as in 2027-03-01T12:00:00Z")),
    }
}

/// Nothing where the window that it was spent in is over.
fn spent(row: &Map<String, Value>, key: &Key, now: DateTime<Utc>) -> Result<NanoUsd, String> {
    let reset_at = time(row, "budget_reset_at")?;
    if key.limits.budget_duration.is_some() && reset_at.is_some_and(|at| at <= now) {
        return Ok(NanoUsd::ZERO);
    }
    let spent = budget("spend", row.get("spend").unwrap_or(&Value::Null));
    let spent = spent.map_err(|_: ApiError| "spend must be a non-negative number of USD")?;
    Ok(spent.unwrap_or(NanoUsd::ZERO))
}
