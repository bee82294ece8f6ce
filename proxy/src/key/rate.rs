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
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    /// Of a key [`super::Key::account`]: counts go on when it is regenerated. Of a
    /// team or a user one for all of its keys.
    pub(crate) account: AccountId,
    /// Where one of the limits is the model's own.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) limits: [Option<u64>; Rate::ALL.len()],
}

/// All that one call of a key is counted by: the key's own first, each of another
/// account, and none without a limit. Made when the key is read, so that a call
/// allocates nothing for it.
pub(crate) type Rates = [Quota];

/// The rates of a key by the model that is called; none is no limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllRates {
    usual: Option<Arc<Rates>>,
    /// None where no model has a limit of its own, as of most keys.
    models: Option<Arc<BTreeMap<String, Arc<Rates>>>>,
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
    fn new(account: AccountId, limits: &Limits, model: Option<&str>) -> Self {
        let of_model =
            |by_model: &BTreeMap<String, u64>| model.and_then(|model| by_model.get(model).copied());
        let (model_rpm, model_tpm) = (of_model(&limits.model_rpm), of_model(&limits.model_tpm));
        let is_of_model = model_rpm.or(model_tpm).is_some();
        Self {
            account,
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

impl AllRates {
    /// Of a key by its own limits, and by those that it has together with others.
    pub(super) fn new(
        account: KeyHash,
        limits: &Limits,
        groups: &[(SharedAccount, &Limits)],
    ) -> Self {
        let of = |model: Option<&str>| {
            let own = Quota::new(AccountId::Key(account), limits, model);
            let groups = groups.iter().map(|(account, limits)| {
                Quota::new(AccountId::Shared(account.clone()), limits, model)
            });
            let all = iter::once(own).chain(groups);
            let rates: Arc<Rates> = all.filter(Quota::is_limited).collect();
            (!rates.is_empty()).then_some(rates)
        };
        let all = iter::once(limits).chain(groups.iter().map(|(_, limits)| *limits));
        let models = all.flat_map(|it| it.model_rpm.keys().chain(it.model_tpm.keys()));
        let of_model = |model: &String| Some((model.clone(), of(Some(model))?));
        let models: BTreeMap<_, _> = models.filter_map(of_model).collect();
        Self {
            usual: of(None),
            models: (!models.is_empty()).then(|| Arc::new(models)),
        }
    }

    /// Of a call of this model.
    pub(crate) fn of(&self, model: &str) -> Option<&Arc<Rates>> {
        let of_model = self.models.as_ref().and_then(|models| models.get(model));
        of_model.or(self.usual.as_ref())
    }
}
