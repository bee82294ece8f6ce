//! What one call has taken of the rates of its key, and of its team and its user,
//! as a guard: whatever becomes of the call, its slots are free again.
//!
//! It owns the two ways out: a settlement, after which the request stays counted,
//! and a release of what was never sent. `api` takes a place before it holds
//! money, and the hold carries it from then on.

use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::rates::keeper::{Command, Waiting};
use super::rates::{Counts, Full, Gauges, NoRoom, Taken};
use super::{Ledger, Shared};
use crate::key::{AccountId, Rate, Rates};

/// In seconds.
pub(crate) const MINUTE: i64 = 60;

/// Why a call is not admitted.
#[derive(Debug)]
pub(crate) enum PlaceError {
    Exceeded(RateExceeded),
    /// What this process has of a limit is used, and the store that it shares with
    /// others does not answer.
    StoreUnavailable,
}

/// Why a call has no place.
#[derive(Debug)]
pub(crate) struct RateExceeded {
    /// Whose limit it is: the key's, its team's or its user's.
    pub(crate) account: AccountId,
    pub(crate) rate: Rate,
    pub(crate) limit: u64,
    pub(crate) left: u64,
    /// What the call would take of it.
    pub(crate) needed: u64,
    /// When the minute ends that it is counted in.
    pub(crate) resets_at: DateTime<Utc>,
}

/// What is left of all that a call was counted by.
#[derive(Debug)]
pub(crate) struct Left {
    /// By quota.
    pub(crate) counts: Vec<Counts>,
    /// Until the minute ends.
    pub(crate) resets_in_s: i64,
}

/// A call's place. Dropped, it was never used.
#[derive(Debug)]
#[must_use = "the call has no place once it is dropped"]
pub(crate) struct Place {
    shared: Arc<Shared>,
    rates: Rates,
    /// None once it is resolved.
    taken: Option<Taken>,
}

impl Ledger {
    /// Counts a call of up to `tokens` tokens, or refuses it. Where others count
    /// with the same limits, it waits for the store when this process's part of one
    /// is used up.
    pub(crate) async fn admit(&self, rates: &Rates, tokens: u64) -> Result<Place, PlaceError> {
        let shared = &self.0;
        let at = shared.moment();
        match shared.with_gauges(|all| all.take(rates, tokens, at)) {
            Ok(taken) => Ok(Place::new(shared, rates, taken)),
            Err(NoRoom::Full(full)) => Err(shared.exceeded(rates, tokens, full)),
            Err(NoRoom::Short) if !shared.store.is_well() => Err(PlaceError::StoreUnavailable),
            Err(NoRoom::Short) => {
                let (answer, waiting) = oneshot::channel();
                shared.ask(Command::Admit(Waiting::new(rates, tokens, answer)));
                waiting.await.unwrap_or(Err(PlaceError::StoreUnavailable))
            }
        }
    }

    /// Gives back what no call uses, where others share it.
    pub(super) async fn drain_rates(&self) {
        let (done, waiting) = oneshot::channel();
        self.0.ask(Command::Drain(done));
        // Nobody is there where nothing is shared.
        let _gone = waiting.await;
    }

    /// Calls that hold a slot, of all keys.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> u64 {
        self.0.with_gauges(|all| all.slots())
    }

    /// What is left now.
    pub(crate) fn left(&self, rates: &Rates) -> Left {
        let now = self.0.clock.now().timestamp();
        let minute = now.div_euclid(MINUTE);
        Left {
            counts: self.0.with_gauges(|all| all.left(rates, minute)),
            resets_in_s: MINUTE - now.rem_euclid(MINUTE),
        }
    }
}

impl Place {
    pub(super) fn new(shared: &Arc<Shared>, rates: &Rates, taken: Taken) -> Self {
        Self {
            shared: Arc::clone(shared),
            rates: rates.clone(),
            taken: Some(taken),
        }
    }

    /// The call has ended. Without a count of its tokens its bound stands.
    pub(super) fn settle(mut self, tokens: Option<u64>) {
        if let Some(taken) = self.taken.take() {
            let tokens = tokens.unwrap_or(taken.tokens);
            let rates = &self.rates;
            self.shared
                .with_gauges(|all| all.settle(rates, taken, tokens));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            let rates = &self.rates;
            self.shared.with_gauges(|all| all.release(rates, taken));
        }
    }
}

impl Shared {
    pub(super) fn exceeded(&self, rates: &Rates, tokens: u64, full: Full) -> PlaceError {
        let Full { quota, rate, left } = full;
        let (account, quota) = rates.at(quota);
        let minute = self.moment().minute;
        PlaceError::Exceeded(RateExceeded {
            account: account.clone(),
            rate,
            limit: quota.limit(rate).unwrap_or_default(),
            left,
            needed: match rate {
                Rate::Tokens | Rate::ModelTokens => tokens,
                Rate::Requests | Rate::ModelRequests | Rate::Slots => 1,
            },
            resets_at: DateTime::from_timestamp((minute + 1) * MINUTE, 0).unwrap_or_default(),
        })
    }

    pub(super) fn ask(&self, command: Command) {
        // Its answer's sender is gone with it then, which whoever waits notices.
        let _gone = self.keeper.send(command);
    }

    /// The lock is never held across an await; each change is one call.
    pub(super) fn with_gauges<T>(&self, change: impl FnOnce(&mut Gauges) -> T) -> T {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut gauges)
    }
}
