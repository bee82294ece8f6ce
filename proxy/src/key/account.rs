//! Owns the names of accounts: what a call of a key is charged to. A key has
//! one of its own, and may share others with many keys. Pure names; what an
//! account may spend and has spent is the ledger's.

use std::{fmt, sync::Arc};

use super::KeyHash;

/// More than any use of them; a call is held in each.
pub(crate) const SHARED_ACCOUNTS_MAX: usize = 8;
/// A key's own account and those that it shares.
pub(crate) const ACCOUNTS_MAX: usize = SHARED_ACCOUNTS_MAX + 1;

/// The scope of a key's own account, as the store and errors write it.
const KEY_SCOPE: &str = "key";

/// One account.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum AccountId {
    Key(KeyHash),
    Shared(SharedAccount),
}

/// An account that many keys draw on together. It outlives them all.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct SharedAccount {
    pub(crate) scope: SharedScope,
    pub(crate) id: Arc<str>,
}

/// What the keys of a shared account have in common. The names are a contract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum SharedScope {
    Role,
    Entity,
    Team,
    User,
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
            Self::Shared(shared) => shared.id.to_string(),
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
    pub(crate) fn parse(scope: &str, id: &str) -> Option<Self> {
        let scope = SharedScope::parse(scope)?;
        let id = Arc::from(id);
        Some(Self { scope, id })
    }
}

impl SharedScope {
    pub(crate) const ALL: [Self; 4] = [Self::Role, Self::Entity, Self::Team, Self::User];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Entity => "entity",
            Self::Team => "team",
            Self::User => "user",
        }
    }
}

/// As errors and the log name it.
impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(hash) => write!(f, "{KEY_SCOPE} {hash}"),
            Self::Shared(shared) => write!(f, "{} {}", shared.scope.as_str(), shared.id),
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
