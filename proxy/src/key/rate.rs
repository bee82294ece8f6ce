//! Owns the names of what a key's calls are counted by: requests and tokens a
//! minute, calls at the same time, of the key and of one of its models, and the
//! same of the team and the user whose keys are counted together. Pure; how much
//! is used is the ledger's to know.

use std::{collections::BTreeMap, iter, sync::Arc};

use super::{AccountId, KeyHash, Limits, SharedAccount};

/// One way to count. The place of its limit is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rate {
    Requests,
    Tokens,
    Slots,
    ModelRequests,
    ModelTokens,
}

/// The limits of one that a call is counted for: its key, its team or its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// The team or the user, all of whose keys are counted together; none is the
    /// key itself.
    pub(crate) group: Option<AccountId>,
    /// Where one of the limits is the model's own.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) limits: [Option<u64>; Rate::ALL.len()],
}

/// All that one call of a key is counted by.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    key: AccountId,
    quotas: Arc<Quotas>,
}

/// The key's own first, each of another account, and none without a limit.
type Quotas = [Quota];

/// What the calls of a key are counted by, by the model that is called; none is no
/// limit. It says nothing of the key itself: keys with the same rules share it, and
/// it is made when a key is read, so that a call allocates nothing for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllRates {
    usual: Option<Arc<Quotas>>,
    /// Empty where no model has a limit of its own, as of most keys.
    models: BTreeMap<String, Arc<Quotas>>,
}

impl Rate {
    pub(crate) const ALL: [Self; 5] = [
        Self::Requests,
        Self::Tokens,
        Self::Slots,
        Self::ModelRequests,
        Self::ModelTokens,
    ];

    pub(crate) const fn is_of_model(self) -> bool {
        matches!(self, Self::ModelRequests | Self::ModelTokens)
    }

    /// LiteLLM: as its errors name it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Requests | Self::ModelRequests => "requests",
            Self::Tokens | Self::ModelTokens => "tokens",
            Self::Slots => "max_parallel_requests",
        }
    }
}

impl Quota {
    fn new(group: Option<AccountId>, limits: &Limits, model: Option<&str>) -> Self {
        let of_model =
            |by_model: &BTreeMap<String, u64>| model.and_then(|model| by_model.get(model).copied());
        let (model_rpm, model_tpm) = (of_model(&limits.model_rpm), of_model(&limits.model_tpm));
        let is_of_model = model_rpm.or(model_tpm).is_some();
        Self {
            group,
            model: model.filter(|_| is_of_model).map(Arc::from),
            limits: [
                limits.rpm,
                limits.tpm,
                limits.parallel,
                model_rpm,
                model_tpm,
            ],
        }
    }

    pub(crate) fn limit(&self, rate: Rate) -> Option<u64> {
        self.limits[rate as usize]
    }

    fn is_limited(&self) -> bool {
        self.limits != [None; Rate::ALL.len()]
    }
}

impl Rates {
    /// Each quota, and whose it is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AccountId, &Quota)> {
        self.quotas.iter().map(|quota| (self.whose(quota), quota))
    }

    /// The one at this place among them.
    pub(crate) fn at(&self, place: usize) -> (&AccountId, &Quota) {
        let quota = &self.quotas[place];
        (self.whose(quota), quota)
    }

    fn whose<'a>(&'a self, quota: &'a Quota) -> &'a AccountId {
        quota.group.as_ref().unwrap_or(&self.key)
    }
}

/// What one call is counted by, for the tests of every module.
#[cfg(test)]
impl<const N: usize> From<[(AccountId, Quota); N]> for Rates {
    fn from(all: [(AccountId, Quota); N]) -> Self {
        let is_key = |id: &AccountId| matches!(id, AccountId::Key(_));
        let key = all.iter().map(|(id, _)| id).find(|id| is_key(id)).cloned();
        let quota = |(id, quota): (AccountId, Quota)| Quota {
            group: Some(id).filter(|id| !is_key(id)),
            ..quota
        };
        Self {
            key: key.unwrap_or_else(|| AccountId::Key(KeyHash::of("sk-unlimited"))),
            quotas: all.into_iter().map(quota).collect(),
        }
    }
}

impl AllRates {
    /// Of a key by its own limits, and by those that it has together with others.
    pub(super) fn new(limits: &Limits, groups: &[(SharedAccount, &Limits)]) -> Self {
        let of = |model: Option<&str>| {
            let own = Quota::new(None, limits, model);
            let groups = groups.iter().map(|(account, limits)| {
                Quota::new(Some(AccountId::Shared(account.clone())), limits, model)
            });
            let all = iter::once(own).chain(groups);
            let quotas: Arc<Quotas> = all.filter(Quota::is_limited).collect();
            (!quotas.is_empty()).then_some(quotas)
        };
        let all = iter::once(limits).chain(groups.iter().map(|(_, limits)| *limits));
        let models = all.flat_map(|it| it.model_rpm.keys().chain(it.model_tpm.keys()));
        let of_model = |model: &String| Some((model.clone(), of(Some(model))?));
        Self {
            usual: of(None),
            models: models.filter_map(of_model).collect(),
        }
    }

    /// Of a call of this model by a key of this account.
    pub(super) fn of(&self, key: KeyHash, model: &str) -> Option<Rates> {
        let quotas = self.models.get(model).or(self.usual.as_ref())?;
        Some(Rates {
            key: AccountId::Key(key),
            quotas: Arc::clone(quotas),
        })
    }
}
