//! The accounts that this process knows, and what one call does to several of
//! them at once: all of it, or nothing.
//!
//! It is pure like the accounts in it: no clock, no lock and no I/O. The ledger
//! keeps it behind its lock and carries to the store what it asks for.

use std::collections::HashMap;
use std::time::Duration;

use super::account::{Account, Standing, Take};
use super::entry::{Amounts, Claim, Grant, NOTHING};
use crate::key::{ACCOUNTS_MAX, AccountId};
use crate::money::NanoUsd;

#[derive(Debug, Clone, Default)]
pub(super) struct Books(HashMap<AccountId, Account>);

/// A call's first try to be admitted, in all its accounts.
#[derive(Debug, Clone)]
pub(super) enum TakeAll {
    /// The whole amount is held in each account.
    Held,
    Short(Box<Short>),
    /// The account at this place is known to have no room; nothing is held.
    Refused(usize),
    /// The account at this place has not been loaded; nothing is held.
    Unknown(usize),
}

/// What is held already, and what must be claimed besides.
#[derive(Debug, Clone)]
pub(super) struct Short {
    pub(super) held: Amounts,
    pub(super) missing: Amounts,
    pub(super) ahead: Amounts,
    /// [`Books::changes`] of each account at this moment.
    pub(super) changes: [u64; ACCOUNTS_MAX],
}

impl Books {
    pub(super) fn get(&self, id: &AccountId) -> Option<&Account> {
        self.0.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &AccountId) -> Option<&mut Account> {
        self.0.get_mut(id)
    }

    /// Takes in an account unless it is there already.
    pub(super) fn insert(&mut self, id: AccountId, account: Account) {
        self.0.entry(id).or_insert(account);
    }

    pub(super) fn ids(&self) -> Vec<AccountId> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&AccountId, &mut Account) -> bool) {
        self.0.retain(keep);
    }

    /// Tries to hold `need` in each of the accounts.
    pub(super) fn take(&mut self, ids: &[AccountId], need: NanoUsd, now: Duration) -> TakeAll {
        let mut held = NOTHING;
        let mut short = None::<Box<Short>>;
        for (at, id) in ids.iter().enumerate() {
            let Some(account) = self.0.get_mut(id) else {
                self.untake(ids, &held);
                return TakeAll::Unknown(at);
            };
            match account.take(need, now) {
                Take::Held => held[at] = need,
                Take::Refused => {
                    self.untake(ids, &held);
                    return TakeAll::Refused(at);
                }
                Take::Short {
                    partial,
                    missing,
                    ahead,
                } => {
                    held[at] = partial;
                    let short = short.get_or_insert_with(Box::default);
                    (short.missing[at], short.ahead[at]) = (missing, ahead);
                    short.changes[at] = account.changes();
                }
            }
        }
        short.map_or(TakeAll::Held, |mut short| {
            short.held = held;
            TakeAll::Short(short)
        })
    }

    /// The store granted what was claimed: the call that asked holds it.
    pub(super) fn granted(&mut self, claim: &Claim, grants: &[Grant]) {
        for Grant {
            at,
            amount,
            standing,
        } in grants
        {
            if let Some(account) = self.0.get_mut(&claim.accounts[*at]) {
                account.granted(*amount, claim.least[*at], *standing);
            }
        }
    }

    /// The store refused a claim because of the account at this place. What the
    /// call held already is released apart.
    pub(super) fn refused(&mut self, claim: &Claim, at: usize, standing: Standing, now: Duration) {
        if let Some(account) = self.0.get_mut(&claim.accounts[at]) {
            account.refused(claim.least[at], standing, now);
        }
    }

    /// Frees a hold without a posting. Answers what goes back to the store.
    pub(super) fn release(&mut self, ids: &[AccountId], held: &Amounts, now: Duration) -> Amounts {
        let mut surplus = NOTHING;
        for (at, id) in ids.iter().enumerate() {
            if held[at] > NanoUsd::ZERO
                && let Some(account) = self.0.get_mut(id)
            {
                account.release(held[at]);
                surplus[at] = account.give_back(now);
            }
        }
        surplus
    }

    /// Replaces a hold by what the call cost, in each of its accounts. Answers
    /// how much allotment leaves this process with the posting.
    pub(super) fn settle(
        &mut self,
        ids: &[AccountId],
        held: &Amounts,
        cost: NanoUsd,
        now: Duration,
    ) -> Amounts {
        let mut releases = NOTHING;
        for (at, id) in ids.iter().enumerate() {
            if let Some(account) = self.0.get_mut(id) {
                releases[at] = account.settle(held[at], cost, now);
            }
        }
        releases
    }

    /// Counts what could turn a refusal by this account into a grant.
    pub(super) fn changes(&self, id: &AccountId) -> u64 {
        self.0.get(id).map_or(0, Account::changes)
    }

    /// Undoes a take that nobody has seen, which is no change.
    fn untake(&mut self, ids: &[AccountId], held: &Amounts) {
        for (id, amount) in ids.iter().zip(held) {
            if let Some(account) = self.0.get_mut(id) {
                account.untake(*amount);
            }
        }
    }
}

impl Default for Short {
    fn default() -> Self {
        Self {
            held: NOTHING,
            missing: NOTHING,
            ahead: NOTHING,
            changes: [0; ACCOUNTS_MAX],
        }
    }
}

#[cfg(test)]
mod tests;
