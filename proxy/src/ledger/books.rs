//! The accounts that this process knows, and what one call does to several of
//! them at once: all of it, or nothing.
//!
//! It is pure like the accounts in it: no clock, no lock and no I/O. The ledger
//! keeps it behind its lock and carries to the store what it asks for.

mod current;

use std::collections::hash_map::Entry;
use std::time::Duration;

use foldhash::HashMap;
use uuid::Uuid;

use self::current::Current;
use super::account::{Account, Standing, Take};
use super::entry::{Amounts, Claim, Grant, NOTHING};
use crate::key::{ACCOUNTS_MAX, AccountId, KeyHash};
use crate::money::NanoUsd;

#[derive(Debug, Clone, Default)]
pub(super) struct Books {
    /// By which name the store knows this process, and its allotments.
    process: Uuid,
    accounts: HashMap<AccountId, Account>,
    /// How many of them count from zero again.
    windowed: usize,
    /// Those that may have something allotted which no call holds, each once: the
    /// sweep, which every call waits for, looks at no others.
    unheld: Vec<AccountId>,
    /// Of the keys with budgets that count from zero again: one each, and one
    /// besides for each model with a budget of its own.
    current: HashMap<KeyHash, Vec<Current>>,
}

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
    pub(super) fn new(process: Uuid) -> Self {
        Self {
            process,
            ..Self::default()
        }
    }

    pub(super) fn process(&self) -> Uuid {
        self.process
    }

    /// Goes on under another name, with nothing allotted. Answers what was free of
    /// the allotments that were lost.
    pub(super) fn start_again(&mut self, process: Uuid) -> Vec<(AccountId, NanoUsd)> {
        self.process = process;
        let lost = self.accounts.iter_mut();
        lost.map(|(id, account)| (id.clone(), account.lose_allotment()))
            .filter(|(_, free)| *free > NanoUsd::ZERO)
            .collect()
    }

    pub(super) fn get(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &AccountId) -> Option<&mut Account> {
        self.accounts.get_mut(id)
    }

    /// Takes in an account unless it is there already.
    pub(super) fn insert(&mut self, id: AccountId, account: Account) {
        if let Entry::Vacant(place) = self.accounts.entry(id) {
            self.windowed += usize::from(account.period().is_some());
            place.insert(account);
        }
    }

    pub(super) fn ids(&self) -> Vec<AccountId> {
        self.accounts.keys().cloned().collect()
    }

    /// Takes out of this process what is allotted of accounts that nothing has used
    /// lately, and answers it: it must be returned to the store.
    pub(super) fn sweep(&mut self, now: Duration) -> Vec<(AccountId, NanoUsd)> {
        let mut returns = Vec::new();
        self.unheld.retain(|id| {
            let Some(account) = self.accounts.get_mut(id) else {
                return false;
            };
            let amount = account.sweep(now);
            if amount > NanoUsd::ZERO {
                returns.push((id.clone(), amount));
            }
            account.stays_listed()
        });
        returns
    }

    /// Forgets the accounts that nothing has used for so long, all of which is in the
    /// store. It looks at each one.
    pub(super) fn forget(&mut self, idle: Duration, now: Duration) {
        let mut windowed = 0;
        self.accounts.retain(|_, account| {
            let is_kept = !account.is_idle_since(idle, now);
            windowed += usize::from(is_kept && account.period().is_some());
            is_kept
        });
        self.windowed = windowed;
    }

    /// Tries to hold `need` in each of the accounts.
    pub(super) fn take(&mut self, ids: &[AccountId], need: NanoUsd, now: Duration) -> TakeAll {
        let mut held = NOTHING;
        let mut short = None::<Box<Short>>;
        for (at, id) in ids.iter().enumerate() {
            let Some(account) = self.accounts.get_mut(id) else {
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
        let Some(mut short) = short else {
            return TakeAll::Held;
        };
        for (id, amount) in held_of(ids, &held) {
            if let Some(account) = self.accounts.get_mut(id) {
                account.claim_begun(amount);
            }
        }
        short.held = held;
        TakeAll::Short(short)
    }

    /// A settlement is in the store.
    pub(super) fn recorded(&mut self, ids: &[AccountId], cost: NanoUsd) {
        for id in ids {
            if let Some(account) = self.accounts.get_mut(id) {
                account.recorded(cost);
            }
        }
    }

    /// What is posted of each of the accounts, whether it is in the store yet or not.
    pub(super) fn posted(&self, ids: &[AccountId]) -> Amounts {
        let mut posted = NOTHING;
        for (posted, id) in posted.iter_mut().zip(ids) {
            *posted = self.get(id).map_or(NanoUsd::ZERO, Account::posted);
        }
        posted
    }

    /// What a batch has told of an account.
    pub(super) fn stands(&mut self, id: &AccountId, standing: Standing) {
        if let Some(account) = self.accounts.get_mut(id) {
            account.stands(standing);
        }
    }

    /// The store granted what was claimed: the call that asked holds it.
    pub(super) fn granted(&mut self, claim: &Claim, grants: &[Grant]) {
        for Grant {
            at,
            amount,
            standing,
        } in grants
        {
            if let Some(account) = self.accounts.get_mut(&claim.accounts[*at]) {
                account.granted(*amount, claim.least[*at], *standing);
                list(&mut self.unheld, &claim.accounts[*at], account);
            }
        }
    }

    /// The store refused a claim because of the account at this place. What the
    /// call held already is released before; `changes` is what it was [`Short`] of.
    pub(super) fn refused(
        &mut self,
        claim: &Claim,
        at: usize,
        changes: u64,
        standing: Standing,
        now: Duration,
    ) {
        if let Some(account) = self.accounts.get_mut(&claim.accounts[at]) {
            account.refused(claim.least[at], changes, standing, now);
        }
    }

    /// Whether a claim that the store refused would have fitted, but for what
    /// others hold that wait for an answer too. `own` is what the call itself holds.
    pub(super) fn is_in_doubt(
        &self,
        claim: &Claim,
        at: usize,
        own: NanoUsd,
        standing: Standing,
    ) -> bool {
        let account = self.accounts.get(&claim.accounts[at]);
        account.is_some_and(|account| account.is_in_doubt(claim.least[at], own, standing))
    }

    /// Whether others could make room for a claim that the store refused.
    pub(super) fn could_fit(&self, claim: &Claim, at: usize, standing: Standing) -> bool {
        let account = self.accounts.get(&claim.accounts[at]);
        account.is_some_and(|account| account.could_fit(claim.least[at], standing))
    }

    /// What a call held while it claimed the rest is a hold like any other now, or
    /// is about to be released.
    pub(super) fn claim_ended(&mut self, ids: &[AccountId], partial: &Amounts) {
        for (id, amount) in held_of(ids, partial) {
            if let Some(account) = self.accounts.get_mut(id) {
                account.claim_ended(amount);
            }
        }
    }

    /// Frees a hold without a posting. Answers what goes back to the store.
    pub(super) fn release(&mut self, ids: &[AccountId], held: &Amounts, now: Duration) -> Amounts {
        let mut surplus = NOTHING;
        for (at, id) in ids.iter().enumerate() {
            if held[at] > NanoUsd::ZERO
                && let Some(account) = self.accounts.get_mut(id)
            {
                account.release(held[at]);
                surplus[at] = account.give_back(now);
                list(&mut self.unheld, id, account);
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
            if let Some(account) = self.accounts.get_mut(id) {
                releases[at] = account.settle(held[at], cost, now);
                list(&mut self.unheld, id, account);
            }
        }
        releases
    }

    /// Counts what could turn a refusal by this account into a grant.
    pub(super) fn changes(&self, id: &AccountId) -> u64 {
        self.accounts.get(id).map_or(0, Account::changes)
    }

    /// Undoes a take that nobody has seen, which is no change.
    fn untake(&mut self, ids: &[AccountId], held: &Amounts) {
        for (id, amount) in held_of(ids, held) {
            if let Some(account) = self.accounts.get_mut(id) {
                account.untake(amount);
            }
        }
    }
}

/// After each change that makes more of what is unheld.
fn list(unheld: &mut Vec<AccountId>, id: &AccountId, account: &mut Account) {
    if account.enlist() {
        unheld.push(id.clone());
    }
}

/// The accounts of which something is held, each with that.
fn held_of<'a>(
    ids: &'a [AccountId],
    held: &Amounts,
) -> impl Iterator<Item = (&'a AccountId, NanoUsd)> {
    let all = ids.iter().zip(*held);
    all.filter(|(_, amount)| *amount > NanoUsd::ZERO)
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
