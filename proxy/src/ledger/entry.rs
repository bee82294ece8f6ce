//! What the ledger writes and what the store answers: plain data between the
//! two.
//!
//! The ledger's writer makes entries, `store::ledger` applies a batch of them
//! in one transaction. Neither knows more of the other than this.

use crate::key::KeyHash;
use crate::ledger::account::Standing;
use crate::money::NanoUsd;
use crate::store::usage::UsageRow;

/// One change of the store's books.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Claim(Claim),
    /// Write the row, add its cost to its account's posted total and take
    /// `release` off the allotment; nothing at all if the row is there already.
    Post {
        row: Box<UsageRow>,
        release: NanoUsd,
    },
    /// Take an amount off the allotment.
    Return {
        account: KeyHash,
        amount: NanoUsd,
    },
}

/// Allot `least` of the account to this process, and `ahead` besides if both
/// fit under the limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) account: KeyHash,
    pub(crate) least: NanoUsd,
    pub(crate) ahead: NanoUsd,
}

/// What became of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted {
        amount: NanoUsd,
        standing: Standing,
    },
    Refused {
        standing: Standing,
    },
    Posted,
    /// The request had settled before; nothing changed.
    AlreadyPosted,
    Returned,
}
