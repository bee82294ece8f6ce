//! Owns what a key says besides its name and its times, as it is kept in memory.
//! Most keys have little of their own, and the keys of a role have the same rules:
//! they share one copy. What is changed is copied first. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    AccountId, AllRates, Cidr, Groups, Key, KeyHash, KeyType, Limits, Metadata, Scopes, Seal,
    SharedAccount,
};
use crate::money::NanoUsd;

/// So many different rules are looked through for those of a key that is read.
const LATELY_MAX: usize = 64;

/// What is a key's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// [`Key::account`], where that is not the hash of its value.
    pub(crate) account: Option<KeyHash>,
    /// Set where the key was looked up by a value that it had before it was
    /// regenerated: the first moment at which that one is refused.
    pub(crate) value_ends_at: Option<DateTime<Utc>>,
    /// Of the value that it was looked up by; none before there was a pepper, and
    /// none in the cache, where it has been looked at.
    pub(crate) seal: Option<Seal>,
    pub(crate) alias: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) user_id: Option<String>,
    /// [`Rules::rates`], where the keys of its user are counted together.
    pub(crate) user_rates: Option<Arc<AllRates>>,
    /// None where it has no budget of its own but that of its lifetime. Made by
    /// [`Key::charge_to`].
    pub(crate) budgets: Option<Arc<Budgets>>,
    pub(crate) rules: Arc<Rules>,
}

/// Where the calls of a key are charged that has budgets of its own besides that
/// of its lifetime.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// As [`Key::accounts`].
    pub(super) usual: Arc<[AccountId]>,
    /// The same for the models that have a budget of their own.
    pub(super) models: BTreeMap<String, Arc<[AccountId]>>,
}

/// What a key may have in common with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Public model names and patterns; empty = every model.
    pub(crate) models: Vec<String>,
    /// LiteLLM: names of its own, and the public name that each stands for.
    pub(crate) aliases: BTreeMap<String, String>,
    /// From here on its answers warn; it refuses nothing. [`Key::warns_from`].
    pub(crate) soft_budget: Option<NanoUsd>,
    /// Cap, of its lifetime or of each `budget_duration`; none = no cap; zero
    /// refuses the first call.
    pub(crate) max_budget: Option<NanoUsd>,
    pub(crate) limits: Limits,
    /// Its `shared_budgets`, then that of its group. Made by [`Key::charge_to`].
    pub(crate) charged: Vec<SharedAccount>,
    /// How many of them are its `shared_budgets`.
    pub(crate) shared_count: usize,
    /// [`Key::rates_of`] but for the key. Made by [`Key::charge_to`].
    pub(crate) rates: AllRates,
    pub(crate) key_type: KeyType,
    /// Paths or LiteLLM's route groups; empty = every route a key may call.
    pub(crate) allowed_routes: Vec<String>,
    /// What an admin key may do; empty = an ordinary key, which calls models.
    pub(crate) scopes: Scopes,
    /// From where it may be used; empty = from anywhere.
    pub(crate) allowed_cidrs: Vec<Cidr>,
    pub(crate) team_id: Option<String>,
    /// LiteLLM: the named budget from which it takes what it does not set.
    pub(crate) budget_id: Option<String>,
    /// The terms of user, team and named budget as they were when the key was read.
    pub(crate) groups: Groups,
}

impl Deref for Key {
    type Target = Own;

    fn deref(&self) -> &Own {
        &self.own
    }
}

impl DerefMut for Key {
    fn deref_mut(&mut self) -> &mut Own {
        Arc::make_mut(&mut self.own)
    }
}

impl Deref for Own {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        &self.rules
    }
}

impl DerefMut for Own {
    fn deref_mut(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.rules)
    }
}

impl Own {
    /// Whether it says nothing but its rules.
    fn is_plain(&self) -> bool {
        let Self {
            account,
            value_ends_at,
            seal,
            alias,
            metadata,
            user_id,
            user_rates,
            budgets,
            rules: _,
        } = self;
        account.is_none()
            && value_ends_at.is_none()
            && seal.is_none()
            && alias.is_none()
            && metadata.is_empty()
            && user_id.is_none()
            && user_rates.is_none()
            && budgets.is_none()
    }
}

/// What keys without anything of their own say that were read lately, the latest
/// last.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<Arc<Own>>);

impl Lately {
    /// Makes a key that is about to stay in memory as small as it can be.
    pub(super) fn share(&mut self, key: &mut Key) {
        if key.seal.is_some() {
            key.seal = None;
        }
        let known = self.0.iter().position(|plain| plain.rules == key.own.rules);
        let plain = match known.and_then(|at| self.0.remove(at)) {
            Some(plain) => plain,
            None if key.own.is_plain() => Arc::clone(&key.own),
            None => Arc::new(Own {
                rules: Arc::clone(&key.own.rules),
                ..Own::default()
            }),
        };
        if key.own.is_plain() {
            key.own = Arc::clone(&plain);
        } else {
            Arc::make_mut(&mut key.own).rules = Arc::clone(&plain.rules);
        }
        if self.0.len() >= LATELY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixture;

    fn shared(lately: &mut Lately, mut key: Key) -> Key {
        lately.share(&mut key);
        key
    }

    #[test]
    fn keys_of_a_role_keep_one_copy_and_change_their_own() {
        let mut lately = Lately::default();
        let of_role = |text: &str, models: &[&str]| {
            let mut key = fixture(text);
            key.models = models.iter().map(|name| (*name).to_owned()).collect();
            key
        };
        let first = shared(&mut lately, of_role("sk-one", &["gpt"]));
        let second = shared(&mut lately, of_role("sk-two", &["gpt"]));
        let mut named = of_role("sk-three", &["gpt"]);
        named.alias = Some("three".to_owned());
        let mut named = shared(&mut lately, named);
        let other = shared(&mut lately, of_role("sk-four", &["claude"]));
        assert!(Arc::ptr_eq(&first.own, &second.own));
        assert!(Arc::ptr_eq(&first.own.rules, &named.own.rules));
        assert_eq!(named.alias.as_deref(), Some("three"));
        assert_eq!((second.hash, &second.alias), (KeyHash::of("sk-two"), &None));
        assert_eq!(other.models, ["claude"]);
        named.models.push("claude".to_owned());
        assert_eq!(first.models, ["gpt"]);
        assert_eq!(named.models, ["gpt", "claude"]);
    }

    #[test]
    fn keys_with_the_same_limits_share_them_and_are_counted_apart() {
        let mut lately = Lately::default();
        let keys = ["sk-one", "sk-two"].map(|text| {
            let mut key = fixture(text);
            key.limits.rpm = Some(5);
            key.charge_to(Vec::new());
            shared(&mut lately, key)
        });
        assert!(Arc::ptr_eq(&keys[0].own, &keys[1].own));
        for key in &keys {
            let rates = key.rates_of("gpt").unwrap();
            let counted = rates.iter().map(|(whose, quota)| (whose, quota.limits[0]));
            assert_eq!(counted.collect::<Vec<_>>(), [(&key.own_account(), Some(5))]);
        }
    }

    #[test]
    fn what_was_read_long_ago_is_forgotten() {
        let mut lately = Lately::default();
        for budget in 0..LATELY_MAX as i64 + 9 {
            let mut key = fixture("sk-one");
            key.max_budget = Some(NanoUsd::from_nanos(budget));
            let key = shared(&mut lately, key);
            assert_eq!(key.max_budget, Some(NanoUsd::from_nanos(budget)));
            shared(&mut lately, fixture("sk-two"));
        }
        assert_eq!(lately.0.len(), LATELY_MAX);
        let last = shared(&mut lately, fixture("sk-two"));
        assert!(lately.0.iter().any(|plain| Arc::ptr_eq(plain, &last.own)));
    }
}
