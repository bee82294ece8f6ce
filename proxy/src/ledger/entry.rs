//! What the ledger writes and what the store answers: plain data between the
//! two.
//!
//! The ledger's writer makes entries, `store::ledger` applies a batch of them
//! in one transaction. Neither knows more of the other than this.

use std::sync::Arc;

use uuid::Uuid;

use crate::key::{ACCOUNTS_MAX, AccountId};
use crate::ledger::account::Standing;
use crate::money::NanoUsd;
use crate::store::usage::UsageRow;

/// An amount for each account of a call, in their order; nothing beyond them.
/// It has a fixed size, so that a call allocates nothing for it.
pub(crate) type Amounts = [NanoUsd; ACCOUNTS_MAX];

pub(crate) const NOTHING: Amounts = [NanoUsd::ZERO; ACCOUNTS_MAX];

/// One change of the store's books. Boxed, because thousands wait for a batch, and each
/// of them is moved several times on its way.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Claim(Box<Claim>),
    Post(Box<Posting>),
    Return(Box<Return>),
}

/// Write the row, add its cost to the posted total of each of its accounts and
/// take the releases off their allotments; nothing at all if the row is there
/// already.
#[derive(Debug, Clone)]
pub(crate) struct Posting {
    pub(crate) row: UsageRow,
    /// Whose allotments they are.
    pub(crate) process: Uuid,
    pub(crate) releases: Amounts,
}

/// Take an amount off the allotment of this process.
#[derive(Debug, Clone)]
pub(crate) struct Return {
    pub(crate) process: Uuid,
    pub(crate) account: AccountId,
    pub(crate) amount: NanoUsd,
}

/// Allot `least` of each account to this process, in all of them or in none,
/// and `ahead` besides where both fit under the limit. Nothing is asked of an
/// account whose `least` is nothing.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// By which name the call that asks knows this process.
    pub(crate) process: Uuid,
    pub(crate) accounts: Arc<[AccountId]>,
    pub(crate) least: Amounts,
    pub(crate) ahead: Amounts,
}

impl Claim {
    /// The accounts that are asked, each with its place.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (usize, &AccountId)> {
        let accounts = self.accounts.iter().enumerate();
        accounts.filter(|(at, _)| self.least[*at] > NanoUsd::ZERO)
    }
}

/// What a claim was granted of the account at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) at: usize,
    pub(crate) amount: NanoUsd,
    pub(crate) standing: Standing,
}

/// What became of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted(Vec<Grant>),
    /// The account at this place has no room; nothing was allotted in any.
    Refused {
        at: usize,
        standing: Standing,
    },
    Posted,
    /// The request had settled before; nothing changed.
    AlreadyPosted,
    Returned,
}
