//! Owns named budgets, teams and users in the key API: one operation a file,
//! for all three kinds alike. What is theirs binds their keys from the answer on:
//! a budget lends limits, a team its models, its block, and a budget and rates that
//! its keys share, a user models, a budget and rates likewise.

pub(crate) mod block;
mod change;
pub(crate) mod delete;
mod fields;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod update;
pub(crate) mod user_new;
mod view;

use crate::{error::ApiError, key::GroupKind};

/// One transaction must not hold the writer for long: what changes all keys of a
/// group changes at most so many.
pub(super) const KEYS_MAX: usize = 1_000;

/// LiteLLM: the field that names the group.
const fn id_field(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::Budget => "budget_id",
        GroupKind::Team => "team_id",
        GroupKind::User => "user_id",
    }
}

fn not_found(kind: GroupKind) -> ApiError {
    let name = kind.as_str();
    let message =
        format!("{name} not found: see GET /{name}/list, or make it with POST /{name}/new");
    ApiError::not_found(id_field(kind), message)
}
