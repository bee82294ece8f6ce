//! Owns what the operations that change a key have in common, inside their
//! transactions.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

use super::{
    fields::{Fields, bad_duration},
    groups::KEYS_MAX,
    key_generate::alias_taken,
    limits, shared_budgets,
};
use crate::{
    app::AppState,
    auth::Caller,
    error::ApiError,
    key::{GroupKind, Key},
    ledger::Refresh,
    store,
};

/// Gives the key this alias, or none, where one was sent.
pub(super) async fn rename(
    write: &mut AnyConnection,
    key: &mut Key,
    alias: Option<&Option<String>>,
) -> Result<(), ApiError> {
    let Some(alias) = alias else { return Ok(()) };
    if let Some(alias) = alias
        && store::keys::find_alias(write, alias)
            .await?
            .is_some_and(|holder| holder != key.hash)
    {
        return Err(alias_taken(alias));
    }
    key.alias.clone_from(alias);
    Ok(())
}

/// Puts what was sent into the key, within what its caller may give away.
pub(super) async fn set_rules(
    write: &mut AnyConnection,
    caller: &Caller,
    key: &mut Key,
    fields: &Fields,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    caller.must_have(key.scopes)?;
    caller.must_have(fields.scopes.unwrap_or_default())?;
    if let Some(duration) = fields.duration {
        key.expires_at = match duration {
            Some(span) => Some(span.after(now).ok_or_else(bad_duration)?),
            None => None,
        };
    }
    fields.apply(key);
    take_budget(write, key).await?;
    key.touch(now);
    caller.must_bind(key)
}

/// Gives the key the terms of the budget that it names, as they stand now.
///
/// # Errors
/// 400 where there is no such budget, or where so many keys name it that it
/// could not be changed at once any more.
pub(super) async fn take_budget(write: &mut AnyConnection, key: &mut Key) -> Result<(), ApiError> {
    const FIELD: &str = "budget_id";
    key.groups.budget = None;
    if let Some(id) = &key.budget_id {
        let budget = store::groups::find(write, GroupKind::Budget, id).await?;
        let budget = budget.ok_or_else(|| {
            let message = "budget_id: there is no such budget: make it with POST /budget/new first";
            ApiError::bad_request(FIELD, message)
        })?;
        let others = store::groups::keys_of(write, GroupKind::Budget, id, KEYS_MAX).await?;
        if others.len() >= KEYS_MAX && !others.contains(&key.hash) {
            let message = format!(
                "budget_id: {KEYS_MAX} keys name this budget already: make another one with POST /budget/new"
            );
            return Err(ApiError::bad_request(FIELD, message));
        }
        key.groups.budget = Some(Arc::new(budget.terms));
    }
    key.charge_to(key.shared().cloned().collect());
    Ok(())
}

/// Writes the limits that were sent to the key's accounts. What it answers must
/// be done, or dropped, after the commit.
pub(super) async fn define(
    state: &AppState,
    write: &mut AnyConnection,
    caller: &Caller,
    key: &Key,
    fields: &Fields,
) -> Result<Refresh, ApiError> {
    let budgets = fields.shared_budgets();
    let accounts = shared_budgets::accounts(budgets, &state.clock);
    let own = limits::accounts(key, &state.clock);
    store::ledger::lock(&state.store, write, &[accounts, own].concat()).await?;
    let mut changed = shared_budgets::define(write, caller, budgets, &state.clock).await?;
    if fields.touch_budgets() {
        changed.extend(limits::define(write, key, &state.clock).await?);
    }
    Ok(state.ledger.refresh_on_drop(changed))
}
