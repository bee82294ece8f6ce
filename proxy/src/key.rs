//! Owns the virtual key as the rest of the gateway sees it: parsed, typed and
//! shared. Knows no storage and no HTTP. `token` reads what callers present,
//! `hash` is the identity, `cache` keeps known keys in memory.

mod account;
mod cache;
mod cidr;
mod group;
mod hash;
mod limits;
mod metadata;
mod models;
mod rate;
mod routes;
mod rules;
mod scopes;
mod seal;
mod token;
mod window;

use std::{borrow::Cow, sync::Arc};

use chrono::{DateTime, Duration, Utc};

pub(crate) use self::{
    account::{
        ACCOUNTS_MAX, AccountId, SHARED_ACCOUNTS_MAX, SharedAccount, SharedScope, accounts, own_key,
    },
    cache::{Cache, Invalidation},
    cidr::Cidr,
    group::{Group, GroupKind, Groups, Terms},
    hash::KeyHash,
    limits::{BUDGET_LIMITS_MAX, BudgetLimit, LIMITED_MODELS_MAX, Limits, OwnBudget},
    metadata::Metadata,
    rate::{AllRates, Quota, Rate, Rates},
    routes::allows,
    rules::{Budgets, Own, Rules},
    scopes::{Scope, Scopes},
    seal::{Seal, Seals, WeakPepper},
    token::{Token, TokenError},
    window::{Period, Window, use_time_zone},
};
use crate::money::NanoUsd;

/// One virtual key: what it is called and what it may do. Its spend lives in
/// the ledger, its secret nowhere. What stands in [`Own`] and in [`Rules`] is read
/// and changed as if it stood here.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Changed by [`Key::take_value`] alone.
    pub(crate) hash: KeyHash,
    /// Masked form for people, `sk-...abcd`.
    pub(crate) key_name: Box<str>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) blocked: bool,
    pub(crate) own: Arc<Own>,
}

/// LiteLLM: `key_type`, a preset of `allowed_routes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyType {
    #[default]
    Default,
    LlmApi,
    Management,
    ReadOnly,
}

impl KeyType {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "default" => Some(Self::Default),
            "llm_api" => Some(Self::LlmApi),
            "management" => Some(Self::Management),
            "read_only" => Some(Self::ReadOnly),
            _ => None,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::LlmApi => "llm_api",
            Self::Management => "management",
            Self::ReadOnly => "read_only",
        }
    }

    /// LiteLLM: the group that the preset stands for.
    pub(crate) fn routes(self) -> Vec<String> {
        let group = match self {
            Self::Default => return Vec::new(),
            Self::LlmApi => "llm_api_routes",
            Self::Management => "management_routes",
            Self::ReadOnly => "info_routes",
        };
        vec![group.to_owned()]
    }
}

impl Key {
    /// A key that may do everything an ordinary key may, without an end.
    pub(crate) fn new(hash: KeyHash, key_name: String, now: DateTime<Utc>) -> Self {
        Self {
            hash,
            key_name: key_name.into(),
            expires_at: None,
            created_at: now,
            updated_at: now,
            blocked: false,
            own: Arc::default(),
        }
    }

    /// An expiry is the first moment at which the key is refused.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }

    /// It is being changed. Two changes at one moment are told apart.
    pub(crate) fn touch(&mut self, now: DateTime<Utc>) {
        self.updated_at = now.max(self.updated_at + Duration::microseconds(1));
    }

    /// Under which its account stands: the hash of its first value, which stays
    /// when the key is regenerated.
    pub(crate) fn account(&self) -> KeyHash {
        self.own.account.unwrap_or(self.hash)
    }

    /// Its account stands under another hash than that of its value.
    pub(crate) fn keep_account(&mut self, account: KeyHash) {
        let account = Some(account).filter(|account| *account != self.hash);
        if self.own.account != account {
            self.account = account;
        }
    }

    /// It is regenerated, and keeps its account.
    pub(crate) fn take_value(&mut self, hash: KeyHash, key_name: String) {
        let account = self.account();
        (self.hash, self.key_name) = (hash, key_name.into());
        self.keep_account(account);
    }

    /// Its own account, which no other key draws on.
    pub(crate) fn own_account(&self) -> AccountId {
        AccountId::Key(self.account())
    }

    /// The accounts that it shares with other keys by its `shared_budgets`.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &SharedAccount> {
        self.charged.iter().take(self.shared_count)
    }

    /// Where its calls are held and charged: its own account first, then those
    /// that it shares, then that of its group, then its further budgets, each
    /// without a window. Most keys have no further ones: for those it is put
    /// together here, so that it need not stay in memory.
    pub(crate) fn accounts(&self) -> Arc<[AccountId]> {
        match &self.budgets {
            Some(budgets) => Arc::clone(&budgets.usual),
            None => accounts(self.account(), self.charged.iter().cloned()),
        }
    }

    /// Where a call of this model is held and charged.
    pub(crate) fn accounts_of(&self, model: &str) -> Arc<[AccountId]> {
        let budgets = self.budgets.as_ref();
        let of_model = budgets.and_then(|budgets| budgets.models.get(model));
        of_model.map_or_else(|| self.accounts(), Arc::clone)
    }

    /// [`Key::accounts_of`] each model that has a budget of its own.
    pub(crate) fn accounts_of_models(&self) -> impl Iterator<Item = &Arc<[AccountId]>> {
        let budgets = self.budgets.iter();
        budgets.flat_map(|budgets| budgets.models.values())
    }

    /// Charges its calls to these shared accounts besides what is its own and its
    /// group's; to be called again when its limits or its groups change.
    pub(crate) fn charge_to(&mut self, shared: Vec<SharedAccount>) {
        let (of_models, usual): (Vec<_>, Vec<_>) = self
            .own_budgets()
            .into_iter()
            .map(|budget| budget.account)
            .partition(|account| account.scope == SharedScope::KeyModel);
        self.shared_count = shared.len();
        // A call is held in each account once.
        let of_group = self.group_account().filter(|one| !shared.contains(one));
        self.charged = shared.into_iter().chain(of_group).collect();
        let has_budgets = !of_models.is_empty() || !usual.is_empty();
        self.budgets = has_budgets.then(|| {
            let all = self.charged.iter().cloned().chain(usual);
            let usual = accounts(self.account(), all);
            let with = |of_model: SharedAccount| {
                let model = of_model.of_what().to_owned();
                let all = usual.iter().cloned();
                (model, all.chain([AccountId::Shared(of_model)]).collect())
            };
            let models = of_models.into_iter().map(with).collect();
            Arc::new(Budgets { usual, models })
        });
        let (team_id, user_id) = (self.team_id.as_deref(), self.user_id.as_deref());
        let counting = self.groups.counting(team_id, user_id);
        let rates = AllRates::new(&self.terms().1, &counting);
        // Few keys have the user in common, but many all else.
        let is_of_user = counting
            .iter()
            .any(|(who, _)| who.scope == SharedScope::User);
        (self.user_rates, self.rates) = match is_of_user {
            true => (Some(Arc::new(rates)), AllRates::default()),
            false => (None, rates),
        };
    }

    /// What a call of this model is counted by: by its account, because counts go
    /// on when it is regenerated. None where it has no limit.
    pub(crate) fn rates_of(&self, model: &str) -> Option<Rates> {
        let rates = self.user_rates.as_deref().unwrap_or(&self.rates);
        rates.of(self.account(), model)
    }

    /// What it spends together with the other keys of its team, or of its user.
    fn group_account(&self) -> Option<SharedAccount> {
        let (kind, _) = self.groups.binding()?;
        let id = match kind {
            GroupKind::Budget => &self.budget_id,
            GroupKind::Team => &self.team_id,
            GroupKind::User => &self.user_id,
        };
        kind.account(id.as_deref()?)
    }

    /// Its cap and its limits, with what its named budget adds. LiteLLM: its own
    /// come first; a cap and its duration go together, so that the duration of
    /// one never widens the cap of the other.
    fn terms(&self) -> (Option<NanoUsd>, Cow<'_, Limits>) {
        let Some(budget) = &self.groups.budget else {
            return (self.max_budget, Cow::Borrowed(&self.limits));
        };
        let mut limits = self.limits.or(&budget.limits);
        if self.max_budget.is_none() && budget.max_budget.is_some() {
            limits.budget_duration = budget.limits.budget_duration;
        }
        (self.max_budget.or(budget.max_budget), Cow::Owned(limits))
    }

    /// What its account may spend in its lifetime.
    pub(crate) fn lifetime_budget(&self) -> Option<NanoUsd> {
        let (max_budget, limits) = self.terms();
        max_budget.filter(|_| limits.budget_duration.is_none())
    }

    /// Its cap, of its own or of its named budget.
    pub(crate) fn cap(&self) -> Option<NanoUsd> {
        self.terms().0
    }

    /// After how long its cap counts from zero again; none where it never does.
    pub(crate) fn budget_period(&self) -> Option<Period> {
        self.terms().1.budget_duration
    }

    /// Its budgets besides that of its lifetime.
    pub(crate) fn own_budgets(&self) -> Vec<OwnBudget> {
        let (max_budget, limits) = self.terms();
        limits.budgets(self.account(), max_budget)
    }

    /// From here on its answers warn.
    pub(crate) fn warns_from(&self) -> Option<NanoUsd> {
        let of_budget = || self.groups.budget.as_ref()?.soft_budget;
        self.soft_budget.or_else(of_budget)
    }

    /// Whether any cap bounds what it may spend on this model.
    pub(crate) fn is_capped(&self, model: &str) -> bool {
        let (max_budget, limits) = self.terms();
        max_budget.is_some()
            || self.shared_count > 0
            || self.groups.is_capped()
            || limits.caps(model)
    }

    /// The model that a call by this name is for. What it stands for must be
    /// among its `models`.
    pub(crate) fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// Who leaves this public name out: the key itself, or its group.
    pub(crate) fn denied(&self, model: &str) -> Option<Denies> {
        if !models::allows(&self.models, model) {
            return Some(Denies::Key);
        }
        self.groups.denying(model).map(Denies::Group)
    }

    /// Whether its team is out of service, and with it the key.
    pub(crate) fn is_blocked_by_team(&self) -> bool {
        self.groups.team.as_ref().is_some_and(|team| team.blocked)
    }
}

/// Whose `models` leave a model out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denies {
    Key,
    Group(GroupKind),
}

/// A key without rules, for the tests of every module.
#[cfg(test)]
pub(crate) fn fixture(text: &str) -> Key {
    let name = "sk-...test".to_owned();
    Key::new(KeyHash::of(text), name, DateTime::UNIX_EPOCH)
}
