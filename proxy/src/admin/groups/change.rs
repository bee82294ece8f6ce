//! Owns what the operations that change a group have in common, inside their
//! transactions: its row, its trail, the accounts that it defines, and the keys
//! that must be read anew.

use http::HeaderValue;
use sqlx::AnyConnection;

use super::{not_found, view};
use crate::{
    admin::{is_expected, limits, trail},
    app::AppState,
    auth::{Admitted, Caller},
    error::ApiError,
    key::{AccountId, Group, GroupKind, Invalidation, KeyHash},
    ledger::Refresh,
    store::{self, StoreError, ledger::window},
};

/// What must be done, or dropped, after the commit.
pub(super) struct Applied {
    keys: Invalidation,
    accounts: Refresh,
}

impl Applied {
    pub(super) async fn done(self) {
        drop(self.keys);
        self.accounts.done().await;
    }
}

/// Changes a group that is there; `expected` is its tag as its caller knows it, and
/// none takes any.
pub(super) async fn edit(
    state: &AppState,
    admitted: &Admitted,
    (kind, id): (GroupKind, &str),
    expected: Option<&HeaderValue>,
    action: &'static str,
    edit: impl FnOnce(&mut Group),
) -> Result<Group, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    let found = store::groups::find(&mut write, kind, id).await?;
    let before = found.ok_or_else(|| not_found(kind))?;
    if !is_expected(expected, &view::tag(&before)) {
        return Err(ApiError::changed_meanwhile(kind.as_str(), told_by(kind)));
    }
    let mut group = before.clone();
    edit(&mut group);
    group.touch(state.clock.now());
    let change = (Some(&before), &group);
    let applied = apply(state, &mut write, &caller, action, change).await?;
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a changed group"))?;
    applied.done().await;
    log(&caller, action, &group);
    Ok(group)
}

const fn told_by(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::Budget => "POST /budget/info",
        GroupKind::Team => "GET /team/info",
        GroupKind::User => "GET /user/info",
    }
}

/// Writes the group, its trail and its accounts. The keys that name it already
/// are bound by it, also where it is new.
pub(super) async fn apply(
    state: &AppState,
    write: &mut AnyConnection,
    caller: &Caller,
    action: &'static str,
    (before, group): (Option<&Group>, &Group),
) -> Result<Applied, ApiError> {
    let hashes = store::groups::keys_of(write, group.kind, &group.id, usize::MAX).await?;
    let keys = state.keys.invalidate_on_drop(hashes.iter().copied());
    store::groups::put(write, group).await?;
    let change = (before, Some(group));
    trail::group(write, caller, action, change, group.updated_at).await?;
    let changed = match group.kind {
        _ if before.is_some_and(|before| before.terms == group.terms) => Vec::new(),
        GroupKind::Budget => of_keys(state, write, &hashes).await?,
        GroupKind::Team | GroupKind::User => shared(state, write, group).await?,
    };
    Ok(Applied {
        keys,
        accounts: state.ledger.refresh_on_drop(changed),
    })
}

/// What the keys of a named budget may each spend.
async fn of_keys(
    state: &AppState,
    write: &mut AnyConnection,
    hashes: &[KeyHash],
) -> Result<Vec<AccountId>, ApiError> {
    let mut keys = Vec::with_capacity(hashes.len());
    for hash in hashes {
        keys.extend(store::keys::find(write, *hash).await?);
    }
    let of_key = |key| limits::accounts(key, &state.clock);
    let accounts: Vec<AccountId> = keys.iter().flat_map(of_key).collect();
    store::ledger::lock(&state.store, write, &accounts).await?;
    let mut changed = Vec::new();
    for key in &keys {
        changed.extend(limits::define(write, key, &state.clock).await?);
    }
    Ok(changed)
}

/// What the keys of a team or a user may spend together.
async fn shared(
    state: &AppState,
    write: &mut AnyConnection,
    group: &Group,
) -> Result<Vec<AccountId>, ApiError> {
    let Some(account) = group.kind.account(&group.id) else {
        return Ok(Vec::new());
    };
    // Read inside of the transaction: no window that is opened before its end is
    // later than those that are redefined.
    let now = state.clock.now();
    let (limit, period) = (group.terms.max_budget, group.terms.limits.budget_duration);
    let all: Vec<AccountId> = window::decided(&account, period, now).collect();
    store::ledger::lock(&state.store, write, &all).await?;
    Ok(window::define(write, &account, limit, period, now).await?)
}

/// Once it is committed.
pub(super) fn log(caller: &Caller, action: &'static str, group: &Group) {
    tracing::info!(
        %caller, action, group.kind = group.kind.as_str(), group.id = group.id, "group changed"
    );
}
