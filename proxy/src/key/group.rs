//! Owns what several keys have in common: a named budget, a team, a user, and
//! how far each binds its keys. Pure; a key that is read from the store carries
//! the terms of its groups, so that a call asks for none of them.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Limits,
    account::{SharedAccount, SharedScope},
    limits::optional_nanos,
    models,
};
use crate::money::NanoUsd;

/// The names are the store's and the key API's: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKind {
    /// LiteLLM: limits under a name; a key takes those that it does not set.
    Budget,
    Team,
    User,
}

impl GroupKind {
    pub(crate) const ALL: [Self; 3] = [Self::Budget, Self::Team, Self::User];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Team => "team",
            Self::User => "user",
        }
    }

    /// Where its keys spend together; the keys of a named budget do not.
    pub(crate) const fn scope(self) -> Option<SharedScope> {
        match self {
            Self::Budget => None,
            Self::Team => Some(SharedScope::Team),
            Self::User => Some(SharedScope::User),
        }
    }

    /// The account of the group of this id.
    pub(crate) fn account(self, id: &str) -> Option<SharedAccount> {
        let scope = self.scope()?;
        Some(SharedAccount {
            scope,
            id: Arc::from(id),
            window: None,
        })
    }
}

/// A group as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) kind: GroupKind,
    pub(crate) id: String,
    pub(crate) alias: Option<String>,
    /// Of a user.
    pub(crate) email: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) terms: Terms,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl Group {
    /// It is being changed. Two changes at one moment are told apart.
    pub(crate) fn touch(&mut self, now: DateTime<Utc>) {
        self.updated_at = now.max(self.updated_at + Duration::microseconds(1));
    }
}

/// What binds the keys of a group, in JSON as the store keeps it. A name that is
/// not known is damage, since without it a key would have a rule less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Terms {
    /// Of a team or a user, as a key's: empty = every model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<String>,
    /// Of a team: none of its keys works.
    pub(crate) blocked: bool,
    /// Of a team or a user what its keys spend together, of a named budget what
    /// each of them may.
    #[serde(with = "optional_nanos", skip_serializing_if = "Option::is_none")]
    pub(crate) max_budget: Option<NanoUsd>,
    #[serde(with = "optional_nanos", skip_serializing_if = "Option::is_none")]
    pub(crate) soft_budget: Option<NanoUsd>,
    /// Of a team or a user the duration, and the rates of its keys together.
    pub(crate) limits: Limits,
}

/// The terms of a key's groups; none where it names none, or one that nobody
/// has made: then the name is a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) budget: Option<Arc<Terms>>,
    pub(crate) team: Option<Arc<Terms>>,
    pub(crate) user: Option<Arc<Terms>>,
}

impl Groups {
    /// LiteLLM: what is a user's binds his own keys, not those of a team.
    pub(super) fn binding(&self) -> Option<(GroupKind, &Terms)> {
        let team = self.team.as_deref().map(|team| (GroupKind::Team, team));
        let user = || self.user.as_deref().map(|user| (GroupKind::User, user));
        team.or_else(user)
    }

    /// The group whose models leave this one out.
    pub(super) fn denying(&self, model: &str) -> Option<GroupKind> {
        let (kind, terms) = self.binding()?;
        (!models::allows(&terms.models, model)).then_some(kind)
    }

    /// By whose rates its calls are counted besides its own. LiteLLM: a user's
    /// count his keys of a team too, other than his budget.
    pub(super) fn counting(
        &self,
        team_id: Option<&str>,
        user_id: Option<&str>,
    ) -> Vec<(SharedAccount, &Limits)> {
        let team = (GroupKind::Team, team_id, &self.team);
        let user = (GroupKind::User, user_id, &self.user);
        let counted = [team, user].into_iter().filter_map(|(kind, id, terms)| {
            let account = kind.account(id?)?;
            Some((account, &terms.as_deref()?.limits))
        });
        counted.collect()
    }

    /// Whether a budget bounds what its keys spend together.
    pub(super) fn is_capped(&self) -> bool {
        self.binding()
            .is_some_and(|(_, terms)| terms.max_budget.is_some())
    }
}
