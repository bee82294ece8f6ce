//! Owns the limits of one key besides its lifetime budget, as they are stored,
//! and the accounts that they make. Pure; what is used of a limit is the
//! ledger's to know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    KeyHash, Period,
    account::{SharedAccount, SharedScope},
};
use crate::money::NanoUsd;

/// An hour, a day, a week and a month; a call is held in each.
pub(crate) const BUDGET_LIMITS_MAX: usize = 4;
/// Models with limits of their own, of one key.
pub(crate) const LIMITED_MODELS_MAX: usize = 64;

/// In JSON as the store keeps it: what is not there is no limit. A name that is
/// not known is damage, since without it the key would have a limit less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// LiteLLM: after how long `max_budget` counts from zero again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budget_duration: Option<Period>,
    /// LiteLLM: several budgets that hold at the same time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) budget_limits: Vec<BudgetLimit>,
    /// LiteLLM: a budget by public model name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) model_max_budget: BTreeMap<String, BudgetLimit>,
    /// LiteLLM: `rpm_limit`, requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rpm: Option<u64>,
    /// LiteLLM: `tpm_limit`, tokens a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tpm: Option<u64>,
    /// LiteLLM: `max_parallel_requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parallel: Option<u64>,
    /// LiteLLM: `model_rpm_limit`, by public model name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) model_rpm: BTreeMap<String, u64>,
    /// LiteLLM: `model_tpm_limit`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) model_tpm: BTreeMap<String, u64>,
}

/// A budget; without a period it never counts from zero again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetLimit {
    #[serde(with = "nanos")]
    pub(crate) max_nanousd: NanoUsd,
    pub(crate) period: Option<Period>,
}

/// One of a key's budgets besides that of its lifetime.
#[derive(Clone, Debug)]
pub(crate) struct OwnBudget {
    pub(crate) account: SharedAccount,
    pub(crate) limit: Option<NanoUsd>,
    pub(crate) period: Option<Period>,
}

impl Limits {
    /// Whether a budget of these bounds what may be spent on this model.
    pub(super) fn caps(&self, model: &str) -> bool {
        !self.budget_limits.is_empty() || self.model_max_budget.contains_key(model)
    }

    /// These, and of `others` what these leave open. A budget and its duration go
    /// together, and are not taken here.
    pub(super) fn or(&self, others: &Self) -> Self {
        let mut all = self.clone();
        all.rpm = self.rpm.or(others.rpm);
        all.tpm = self.tpm.or(others.tpm);
        all.parallel = self.parallel.or(others.parallel);
        if self.model_max_budget.is_empty() {
            all.model_max_budget.clone_from(&others.model_max_budget);
        }
        all
    }

    /// The key's budgets besides that of its lifetime.
    pub(super) fn budgets(&self, hash: KeyHash, max_budget: Option<NanoUsd>) -> Vec<OwnBudget> {
        let of = |scope, what: &str, limit, period| OwnBudget {
            account: SharedAccount::of_key(scope, hash, what),
            limit,
            period,
        };
        let main = self.budget_duration.map(|period| {
            let what = period.to_string();
            of(SharedScope::KeyBudget, &what, max_budget, Some(period))
        });
        let limits = self.budget_limits.iter().map(|budget| {
            let what = budget.period.map(|period| period.to_string());
            let what = what.unwrap_or_default();
            let limit = Some(budget.max_nanousd);
            of(SharedScope::KeyLimit, &what, limit, budget.period)
        });
        let models = self.model_max_budget.iter().map(|(model, budget)| {
            let limit = Some(budget.max_nanousd);
            of(SharedScope::KeyModel, model, limit, budget.period)
        });
        main.into_iter().chain(limits).chain(models).collect()
    }
}

/// The same of an amount that may be none.
pub(super) mod optional_nanos {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::nanos;
    use crate::money::NanoUsd;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nanos(#[serde(with = "nanos")] NanoUsd);

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(in crate::key) fn serialize<S: Serializer>(
        amount: &Option<NanoUsd>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        amount.map(Nanos).serialize(serializer)
    }

    pub(in crate::key) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<NanoUsd>, D::Error> {
        Ok(Option::<Nanos>::deserialize(deserializer)?.map(|Nanos(amount)| amount))
    }
}

/// Nano-dollars as an integer, where JSON for clients has dollars.
mod nanos {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    use crate::money::NanoUsd;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(super) fn serialize<S: Serializer>(
        amount: &NanoUsd,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        amount.nanos().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NanoUsd, D::Error> {
        let nanos = i64::deserialize(deserializer)?;
        let amount = NanoUsd::from_nanos(nanos);
        if amount.nanos() != nanos {
            return Err(D::Error::custom("no amount of money"));
        }
        Ok(amount)
    }
}
