//! Owns the names of accounts: what a call of a key is charged to. A key has
//! one of its own, and may share others with many keys. Pure names; what an
//! account may spend and has spent is the ledger's.

use std::{fmt, sync::Arc};

use super::{BUDGET_LIMITS_MAX, KeyHash, Window};

/// More than any use of them; a call is held in each.
pub(crate) const SHARED_ACCOUNTS_MAX: usize = 8;
/// A key's own account, those that it shares, that of its team or user, and its
/// budgets besides: the one that counts from zero again, the further ones, and
/// one of the called model.
pub(crate) const ACCOUNTS_MAX: usize = 1 + SHARED_ACCOUNTS_MAX + 1 + 1 + BUDGET_LIMITS_MAX + 1;

/// The scope of a key's own account, as the store and errors write it.
const KEY_SCOPE: &str = "key";

/// Stands between an id and a window; the key API takes no id with a control
/// character in it.
const WINDOW_SEPARATOR: char = '\t';

/// Stands between a key's hash and which of its budgets it is.
const KEY_SEPARATOR: char = '/';

/// One account.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum AccountId {
    Key(KeyHash),
    Shared(SharedAccount),
}

/// An account that many keys draw on together, or a further budget of one key.
/// It outlives them all. Where its budget counts from zero again, each window is
/// an account of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct SharedAccount {
    pub(crate) scope: SharedScope,
    pub(crate) id: Arc<str>,
    /// None for the budget as a whole, which holds its definition.
    pub(crate) window: Option<Window>,
}

/// What the keys of a shared account have in common. The names are a contract.
/// The last three are a key's own; what they are told apart by begins with its
/// hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum SharedScope {
    Role,
    Entity,
    Team,
    User,
    /// LiteLLM: `max_budget` of a key with a `budget_duration`.
    KeyBudget,
    /// LiteLLM: an entry of `budget_limits`.
    KeyLimit,
    /// LiteLLM: an entry of `model_max_budget`.
    KeyModel,
}

impl AccountId {
    pub(crate) fn scope(&self) -> &'static str {
        match self {
            Self::Key(_) => KEY_SCOPE,
            Self::Shared(shared) => shared.scope.as_str(),
        }
    }

    /// Tells the accounts of a scope apart.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Key(hash) => hash.to_string(),
            Self::Shared(shared) => shared.subject(),
        }
    }

    /// The account that the store keeps under these two.
    pub(crate) fn parse(scope: &str, subject: &str) -> Option<Self> {
        if scope == KEY_SCOPE {
            return KeyHash::from_hex(subject).map(Self::Key);
        }
        SharedAccount::parse(scope, subject).map(Self::Shared)
    }
}

impl SharedAccount {
    /// A further budget of one key; `what` tells those of a scope apart.
    pub(super) fn of_key(scope: SharedScope, hash: KeyHash, what: &str) -> Self {
        let id = Arc::from(format!("{hash}{KEY_SEPARATOR}{what}"));
        Self {
            scope,
            id,
            window: None,
        }
    }

    /// What tells a key's budget apart from its others: a duration or a model.
    pub(crate) fn of_what(&self) -> &str {
        let parts = self.id.split_once(KEY_SEPARATOR);
        parts.map_or("", |(_hash, what)| what)
    }

    pub(crate) fn parse(scope: &str, subject: &str) -> Option<Self> {
        let scope = SharedScope::parse(scope)?;
        let (id, window) = match subject.split_once(WINDOW_SEPARATOR) {
            Some((id, window)) => (id, Some(Window::parse(window)?)),
            None => (subject, None),
        };
        let id = Arc::from(id);
        Some(Self { scope, id, window })
    }

    /// As [`AccountId::subject`].
    pub(crate) fn subject(&self) -> String {
        match self.window {
            Some(window) => format!("{}{WINDOW_SEPARATOR}{window}", self.id),
            None => self.id.to_string(),
        }
    }

    /// The account of one window of this budget.
    pub(crate) fn during(&self, window: Window) -> Self {
        Self {
            window: Some(window),
            ..self.clone()
        }
    }
}

impl SharedScope {
    /// Those that keys share.
    pub(crate) const ALL: [Self; 4] = [Self::Role, Self::Entity, Self::Team, Self::User];

    /// A key's own.
    const OWN: [Self; 3] = [Self::KeyBudget, Self::KeyLimit, Self::KeyModel];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain(Self::OWN);
        all.find(|scope| scope.as_str() == name)
    }

    pub(crate) fn is_shared(self) -> bool {
        Self::ALL.contains(&self)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Entity => "entity",
            Self::Team => "team",
            Self::User => "user",
            Self::KeyBudget => "key_budget",
            Self::KeyLimit => "key_limit",
            Self::KeyModel => "key_model",
        }
    }
}

/// As errors and the log name it.
impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(hash) => write!(f, "{KEY_SCOPE} {hash}"),
            Self::Shared(shared) => {
                write!(f, "{} {}", shared.scope.as_str(), shared.id)?;
                shared
                    .window
                    .map_or(Ok(()), |window| write!(f, " in {window}"))
            }
        }
    }
}

/// All accounts of a key, its own first.
pub(crate) fn accounts(
    hash: KeyHash,
    shared: impl IntoIterator<Item = SharedAccount>,
) -> Arc<[AccountId]> {
    let shared = shared.into_iter().map(AccountId::Shared);
    std::iter::once(AccountId::Key(hash))
        .chain(shared)
        .collect()
}

/// The key among a call's accounts; none for the master key's calls.
pub(crate) fn own_key(accounts: &[AccountId]) -> Option<KeyHash> {
    match accounts.first() {
        Some(AccountId::Key(hash)) => Some(*hash),
        Some(AccountId::Shared(_)) | None => None,
    }
}
