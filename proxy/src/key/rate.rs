//! Owns the names of what a key's calls are counted by: requests and tokens a
//! minute, calls at the same time, of the key and of one of its models. Pure;
//! how much is used is the ledger's to know.

use std::{collections::BTreeMap, sync::Arc};

use super::{KeyHash, Limits};

/// One way to count. The place of its limit is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rate {
    Requests,
    Tokens,
    Slots,
    ModelRequests,
    ModelTokens,
}

/// What one call of a key is counted by. Made when the key is read, so that a
/// call allocates nothing for it.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    /// [`super::Key::account`]: counts go on when the key is regenerated.
    pub(crate) account: KeyHash,
    /// Where one of the limits is the model's own.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) limits: [Option<u64>; Rate::ALL.len()],
}

/// The rates of a key by the model that is called; none is no limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllRates {
    usual: Option<Arc<Rates>>,
    models: BTreeMap<String, Arc<Rates>>,
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

impl Rates {
    pub(crate) fn limit(&self, rate: Rate) -> Option<u64> {
        self.limits[rate as usize]
    }
}

impl AllRates {
    pub(super) fn new(account: KeyHash, limits: &Limits) -> Self {
        let of = |model: Option<&str>| {
            let of_model = |by_model: &BTreeMap<String, u64>| {
                model.and_then(|model| by_model.get(model).copied())
            };
            let limits = [
                limits.rpm,
                limits.tpm,
                limits.parallel,
                of_model(&limits.model_rpm),
                of_model(&limits.model_tpm),
            ];
            let model = model.map(Arc::from);
            Rates {
                account,
                model,
                limits,
            }
        };
        let models = limits.model_rpm.keys().chain(limits.model_tpm.keys());
        let usual = of(None);
        Self {
            usual: (usual.limits != [None; Rate::ALL.len()]).then(|| Arc::new(usual)),
            models: models
                .map(|model| (model.clone(), Arc::new(of(Some(model)))))
                .collect(),
        }
    }

    /// Of a call of this model.
    pub(crate) fn of(&self, model: &str) -> Option<&Arc<Rates>> {
        self.models.get(model).or(self.usual.as_ref())
    }
}
