//! Owns why keys were refused last: for the log and for `/key/info`, never for
//! the answer to who was refused. In memory alone, because whoever has an old
//! key could otherwise make the store write.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};

use crate::key::KeyHash;

/// Starting afresh is cheaper than keeping an order of use.
const KEYS_MAX: usize = 10_000;

/// Why a key was refused. The names are for operators and may be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Unknown,
    /// No key looks like it: it is mistyped, or was never one.
    Malformed,
    /// An earlier value of a regenerated key, whose time is over.
    Regenerated,
    Address,
    Blocked,
    /// Its team is.
    TeamBlocked,
    Expired,
    /// It has no seal, or another one than its value's.
    Seal,
    Route,
    AdminOnly,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Malformed => "malformed",
            Self::Regenerated => "regenerated",
            Self::Address => "address",
            Self::Blocked => "blocked",
            Self::TeamBlocked => "team_blocked",
            Self::Expired => "expired",
            Self::Seal => "seal",
            Self::Route => "route",
            Self::AdminOnly => "admin_only",
        }
    }
}

type Known = HashMap<KeyHash, (Reason, DateTime<Utc>)>;

/// A cheap handle on what is remembered. Only keys that exist are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Mutex<Known>>);

impl Refusals {
    pub(crate) fn last(&self, key: KeyHash) -> Option<(Reason, DateTime<Utc>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).copied()
    }

    pub(super) fn remember(&self, key: KeyHash, reason: Reason, at: DateTime<Utc>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS_MAX && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, (reason, at));
    }
}

/// One line a refusal, with the hash of what was presented.
pub(super) fn log(hash: KeyHash, reason: Reason) {
    tracing::info!(key.hash = %hash, reason = reason.as_str(), "key refused");
}
