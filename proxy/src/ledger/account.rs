//! The state machine of one account in one process: what it has claimed from
//! the store, what its requests hold of that, and what has been posted.
//!
//! It is pure: it has no clock, no lock and no I/O. It says what to claim, what
//! to post and what to give back; the ledger carries that to the store and
//! tells it the answer. `held ≤ allotted` is true after every call.

mod burn;
mod idle;

use std::time::Duration;

use self::burn::{Burn, Moment};
pub(crate) use self::idle::IDLE;
use crate::key::Period;
use crate::money::NanoUsd;

/// A spent account asks the store once a second at most.
const REFUSAL_LIFE: Duration = Duration::from_secs(1);
/// Claiming ahead takes at most this part of what is left, so that it shrinks
/// as the limit comes near.
pub(crate) const AHEAD_DIVISOR: i64 = 8;

/// One account as one process sees it. There are as many as keys that call, so
/// it is kept small.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    limit: Option<NanoUsd>,
    posted: NanoUsd,
    /// The part of it that is not in the store yet; where others share the store.
    unposted: NanoUsd,
    allotted: NanoUsd,
    held: NanoUsd,
    /// The part of it that is held by calls which wait for an answer to a claim.
    pending: NanoUsd,
    burn: Burn,
    touched: Moment,
    changes: u64,
    rare: Option<Box<Rare>>,
    /// Among those that the sweep looks at.
    is_listed: bool,
}

/// What is true of few accounts.
#[derive(Debug, Clone, Default)]
struct Rare {
    period: Option<Period>,
    /// When something was last asked for ahead and has not been answered.
    asked_ahead: Option<Duration>,
    refusal: Option<Refusal>,
}

/// What the store says of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    pub(crate) limit: Option<NanoUsd>,
    pub(crate) posted: NanoUsd,
    /// Outstanding allotments of all processes.
    pub(crate) allotted: NanoUsd,
    /// Of a budget that counts from zero again: its calls are charged to the
    /// accounts of its windows.
    pub(crate) period: Option<Period>,
}

/// A request's first try to be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// The whole amount is held.
    Held,
    /// `partial` is held; `missing` must be claimed, and `ahead` besides if the
    /// store has it.
    Short {
        partial: NanoUsd,
        missing: NanoUsd,
        ahead: NanoUsd,
    },
    /// The store has said no to as little less than a second ago, and nothing
    /// has changed since.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    amount: NanoUsd,
    until: Duration,
}

impl Account {
    pub(crate) fn new(standing: Standing, now: Duration) -> Self {
        let mut account = Self {
            limit: standing.limit,
            posted: standing.posted,
            touched: Moment::from(now),
            ..Self::default()
        };
        account.period_changed(standing.period);
        account
    }

    /// Tries to hold `need` from what is allotted already.
    pub(crate) fn take(&mut self, need: NanoUsd, now: Duration) -> Take {
        self.touched = Moment::from(now);
        // A call that costs nothing needs no allotment, but a spent account
        // admits no call at all (LiteLLM: spend at or above the cap).
        let is_spent = self.limit.is_some_and(|limit| self.posted >= limit);
        if need == NanoUsd::ZERO && is_spent {
            return Take::Refused;
        }
        let free = self.free();
        if free >= need {
            // What is left over was granted under the limit of its time, which
            // may have been lowered since.
            if self.exceeds(self.held.saturating_add(need)) {
                return match self.pending {
                    NanoUsd::ZERO => Take::Refused,
                    // It may go again; the store knows.
                    _ => Take::Short {
                        partial: NanoUsd::ZERO,
                        missing: need,
                        ahead: NanoUsd::ZERO,
                    },
                };
            }
            self.held = self.held.saturating_add(need);
            return Take::Held;
        }
        let missing = need.saturating_sub(free);
        let refused = |refusal: Refusal| now < refusal.until && missing >= refusal.amount;
        if self.refusal().is_some_and(refused) {
            return Take::Refused;
        }
        self.held = self.allotted;
        let ahead = self.ahead(missing, now);
        if ahead > NanoUsd::ZERO {
            self.rare().asked_ahead = Some(now);
        }
        Take::Short {
            partial: free,
            missing,
            ahead,
        }
    }

    /// The store granted `amount`; the request that asked holds `missing` of it.
    pub(crate) fn granted(&mut self, amount: NanoUsd, missing: NanoUsd, standing: Standing) {
        self.limit = standing.limit;
        self.forget_refusal();
        if amount > missing {
            if let Some(rare) = &mut self.rare {
                rare.asked_ahead = None;
            }
            // Who was refused because of it finds it here.
            self.change();
        }
        self.allotted = self.allotted.saturating_add(amount);
        self.held = self.held.saturating_add(missing.min(amount));
    }

    /// The store refused `missing`. What the request held already is released
    /// before. It is remembered where the account has not changed since the request
    /// looked, `changes` ago, and nobody holds anything that may go again.
    pub(crate) fn refused(
        &mut self,
        missing: NanoUsd,
        changes: u64,
        standing: Standing,
        now: Duration,
    ) {
        self.limit = standing.limit;
        if self.changes != changes || self.pending > NanoUsd::ZERO {
            return;
        }
        let smaller = |refusal: Refusal| refusal.until > now && refusal.amount < missing;
        if !self.refusal().is_some_and(smaller) {
            self.rare().refusal = Some(Refusal {
                amount: missing,
                until: now + REFUSAL_LIFE,
            });
        }
    }

    /// Whether `missing` would have fitted into what the store says, but for what
    /// others than the request itself hold while they wait for the store.
    pub(crate) fn is_in_doubt(&self, missing: NanoUsd, own: NanoUsd, standing: Standing) -> bool {
        let others = self.pending.saturating_sub(own);
        let used = standing.posted.saturating_add(standing.allotted);
        let least = used.saturating_sub(others).saturating_add(missing);
        others > NanoUsd::ZERO && standing.limit.is_some_and(|limit| least <= limit)
    }

    /// Whether `missing`, which the store refuses, would fit if no other process had
    /// anything of the account that its calls do not use.
    pub(crate) fn could_fit(&self, missing: NanoUsd, standing: Standing) -> bool {
        let alone = standing.posted.saturating_add(self.allotted);
        standing.allotted > self.allotted
            && standing
                .limit
                .is_none_or(|limit| alone.saturating_add(missing) <= limit)
    }

    /// A request that holds this much must claim more, here or of another account.
    pub(crate) fn claim_begun(&mut self, held: NanoUsd) {
        self.pending = self.pending.saturating_add(held);
    }

    /// Its claim is answered.
    pub(crate) fn claim_ended(&mut self, held: NanoUsd) {
        self.pending = self.pending.saturating_sub(held);
    }

    /// Undoes a [`Account::take`] before anyone could be refused because of it.
    pub(crate) fn untake(&mut self, held: NanoUsd) {
        self.held = self.held.saturating_sub(held);
    }

    /// Frees a hold without a posting. What is free beyond the account's burn
    /// is for [`Account::give_back`] to return.
    pub(crate) fn release(&mut self, held: NanoUsd) {
        self.held = self.held.saturating_sub(held);
        if held > NanoUsd::ZERO {
            self.change();
        }
    }

    /// Replaces a hold by what the request cost. Answers how much allotment
    /// leaves this process with the posting.
    pub(crate) fn settle(&mut self, held: NanoUsd, actual: NanoUsd, now: Duration) -> NanoUsd {
        self.touched = Moment::from(now);
        self.held = self.held.saturating_sub(held);
        self.posted = self.posted.saturating_add(actual);
        self.unposted = self.unposted.saturating_add(actual);
        self.burn.add(actual, now);
        let spent = held.min(actual);
        self.allotted = self.allotted.saturating_sub(spent);
        self.change();
        spent.saturating_add(self.give_back(now))
    }

    /// What was settled is in the store.
    pub(crate) fn recorded(&mut self, actual: NanoUsd) {
        self.unposted = self.unposted.saturating_sub(actual);
    }

    /// The store has said where the account stands, as of what is recorded: others
    /// may have spent too.
    pub(crate) fn stands(&mut self, standing: Standing) {
        self.posted = standing.posted.saturating_add(self.unposted);
    }

    /// Takes out of this process what is free beyond a second of the account's
    /// burn, and answers it: it must be returned to the store. Beyond the limit
    /// nothing is kept, because nothing may be held of it.
    pub(crate) fn give_back(&mut self, now: Duration) -> NanoUsd {
        if self.exceeds(self.allotted) {
            return self.give_back_all();
        }
        let surplus = self.free().saturating_sub(self.burn.a_second(now));
        self.allotted = self.allotted.saturating_sub(surplus);
        surplus
    }

    /// Takes out all that is free.
    pub(crate) fn give_back_all(&mut self) -> NanoUsd {
        let free = self.free();
        self.allotted = self.held;
        free
    }

    /// This process was taken for dead, and all that it had allotted has been
    /// posted. Answers what no call holds of it.
    pub(crate) fn lose_allotment(&mut self) -> NanoUsd {
        let free = self.free();
        (self.held, self.allotted) = (NanoUsd::ZERO, NanoUsd::ZERO);
        self.pending = NanoUsd::ZERO;
        self.change();
        free
    }

    /// An operator changed the limit: what was refused may fit now.
    pub(crate) fn limit_changed(&mut self, limit: Option<NanoUsd>) {
        self.limit = limit;
        self.change();
    }

    /// An operator corrected what was spent, by this many nano-dollars.
    pub(crate) fn corrected(&mut self, by: i64) {
        let posted = self.posted.nanos().saturating_add(by);
        self.posted = NanoUsd::from_nanos(posted.max(0));
        self.change();
    }

    pub(crate) fn period_changed(&mut self, period: Option<Period>) {
        if period.is_some() || self.rare.is_some() {
            self.rare().period = period;
        }
    }

    /// Settled so far, postings under way included.
    pub(crate) fn posted(&self) -> NanoUsd {
        self.posted
    }

    pub(crate) fn limit(&self) -> Option<NanoUsd> {
        self.limit
    }

    pub(crate) fn period(&self) -> Option<Period> {
        self.rare.as_ref().and_then(|rare| rare.period)
    }

    /// Set aside by calls of this process that are under way.
    pub(crate) fn held(&self) -> NanoUsd {
        self.held
    }

    #[cfg(test)]
    pub(crate) fn pending(&self) -> NanoUsd {
        self.pending
    }

    /// What this process has of it, held or not.
    #[cfg(test)]
    pub(crate) fn allotted(&self) -> NanoUsd {
        self.allotted
    }

    /// Counts what could turn a refusal into a grant.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    fn free(&self) -> NanoUsd {
        self.allotted.saturating_sub(self.held)
    }

    /// Whether `amount` besides what is posted is more than the limit.
    fn exceeds(&self, amount: NanoUsd) -> bool {
        let total = self.posted.saturating_add(amount);
        self.limit.is_some_and(|limit| total > limit)
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn refusal(&self) -> Option<Refusal> {
        self.rare.as_ref().and_then(|rare| rare.refusal)
    }

    fn forget_refusal(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.refusal = None;
        }
    }

    fn change(&mut self) {
        self.changes += 1;
        self.forget_refusal();
    }

    /// Once for all the calls that find nothing left while the store answers.
    fn ahead(&self, missing: NanoUsd, now: Duration) -> NanoUsd {
        let is_recent = |asked| now.saturating_sub(asked) < REFUSAL_LIFE;
        let asked = self.rare.as_ref().and_then(|rare| rare.asked_ahead);
        if asked.is_some_and(is_recent) {
            return NanoUsd::ZERO;
        }
        let burn = self.burn.a_second(now);
        let Some(limit) = self.limit else {
            return burn;
        };
        let used = self
            .posted
            .saturating_add(self.allotted)
            .saturating_add(missing);
        let left = limit.saturating_sub(used);
        burn.min(NanoUsd::from_nanos(left.nanos() / AHEAD_DIVISOR))
    }
}

#[cfg(test)]
mod tests;
