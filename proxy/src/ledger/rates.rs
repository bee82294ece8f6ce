//! How much of its rates each key has used: requests and tokens in the minute
//! under way, and the calls that run.
//!
//! It is pure like the accounts: no clock, no lock and no I/O. A call takes all
//! that it needs or nothing, tokens as an upper bound, and settles once. Where
//! processes share a store, a call takes from the part of the limit that this
//! process has claimed there (`part`), which one task sees to (`keeper`); else
//! all of the limit is this process's.

mod cell;
pub(super) mod keeper;
mod part;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::cell::{Cell, Fit};
pub(crate) use self::part::{Answer, Ask};
use crate::key::{KeyHash, Rate, Rates};

/// Keys that are remembered before those are looked for that need not be.
const KEYS_MIN: usize = 10_000;
/// Limits of a key itself; the others are of a model.
const OWN: usize = 3;

/// Amounts by [`Rate`].
pub(crate) type Counts = [u64; Rate::ALL.len()];

#[derive(Debug)]
pub(super) struct Gauges {
    keys: HashMap<KeyHash, Gauge>,
    /// When so many are known, those without use are forgotten.
    forget_at: usize,
    /// Other processes count with the same limits.
    is_shared: bool,
    /// Until then nobody takes this process for dead, and its slots for free.
    alive_until: Duration,
}

/// Of one key. LiteLLM: minutes are those of the clock.
#[derive(Debug, Default)]
struct Gauge {
    minute: i64,
    own: [Cell; OWN],
    models: HashMap<Arc<str>, [Cell; Rate::ALL.len() - OWN]>,
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Minutes since 1970 on the clock that all share.
    pub(super) minute: i64,
    /// Since the ledger was opened.
    pub(super) now: Duration,
}

/// What one call has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) tokens: u64,
    /// The minute that it is counted in, whenever it ends.
    pub(super) minute: i64,
}

/// The limit that has no room, and how much is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) rate: Rate,
    pub(super) left: u64,
}

/// Why a call has taken nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    Full(Full),
    /// The store has to be asked for more.
    Short,
}

impl Gauges {
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            keys: HashMap::new(),
            forget_at: KEYS_MIN,
            is_shared,
            alive_until: Duration::ZERO,
        }
    }

    /// Takes one request, its tokens and a slot, or nothing.
    pub(super) fn take(&mut self, rates: &Rates, tokens: u64, at: Moment) -> Result<Taken, NoRoom> {
        self.forget(at.minute);
        let (is_shared, is_alive) = (self.is_shared, self.is_alive(at.now));
        let gauge = self.keys.entry(rates.account).or_default();
        gauge.turn(at.minute);
        let mut is_short = false;
        for (rate, limit) in limited(rates) {
            let Some(cell) = gauge.cell(rates.model.as_ref(), rate) else {
                continue;
            };
            match cell.fit(limit, least(rate, tokens), is_shared, at.now) {
                Fit::Fits => is_short |= rate == Rate::Slots && !is_alive,
                Fit::Short => is_short = true,
                Fit::Full => {
                    let left = cell.left(limit);
                    return Err(NoRoom::Full(Full { rate, left }));
                }
            }
        }
        if is_short {
            return Err(NoRoom::Short);
        }
        gauge.change(rates, |rate, cell| cell.draw(needed(rate, tokens), at.now));
        Ok(Taken {
            tokens,
            minute: at.minute,
        })
    }

    /// The call has ended and used so many tokens; its request stays counted.
    pub(super) fn settle(&mut self, rates: &Rates, taken: Taken, tokens: u64) {
        self.end(rates, taken, 0, tokens);
    }

    /// The call was never made.
    pub(super) fn release(&mut self, rates: &Rates, taken: Taken) {
        self.end(rates, taken, 1, 0);
    }

    fn end(&mut self, rates: &Rates, taken: Taken, requests: u64, tokens: u64) {
        let Some(gauge) = self.keys.get_mut(&rates.account) else {
            return;
        };
        let is_same_minute = gauge.minute == taken.minute;
        gauge.change(rates, |rate, Cell { used, .. }| match rate {
            Rate::Slots => *used = used.saturating_sub(1),
            Rate::Requests | Rate::ModelRequests if is_same_minute => {
                *used = used.saturating_sub(requests);
            }
            Rate::Tokens | Rate::ModelTokens if is_same_minute => {
                *used = used.saturating_sub(taken.tokens).saturating_add(tokens);
            }
            _ => {}
        });
    }

    /// How much is left of each limit as far as this process knows; nothing where
    /// there is none.
    pub(super) fn left(&mut self, rates: &Rates, minute: i64) -> Counts {
        let mut left = rates.limits.map(Option::unwrap_or_default);
        if let Some(gauge) = self.keys.get_mut(&rates.account) {
            gauge.turn(minute);
            for (rate, limit) in limited(rates) {
                if let Some(cell) = gauge.cell(rates.model.as_ref(), rate) {
                    left[rate as usize] = cell.left(limit);
                }
            }
        }
        left
    }

    /// Calls that hold a slot, of all keys.
    #[cfg(test)]
    pub(super) fn slots(&self) -> u64 {
        let slots = |gauge: &Gauge| gauge.own[Rate::Slots as usize].used;
        self.keys.values().map(slots).sum()
    }

    fn is_alive(&self, now: Duration) -> bool {
        !self.is_shared || now < self.alive_until
    }

    fn forget(&mut self, minute: i64) {
        if self.keys.len() >= self.forget_at {
            let is_used = |gauge: &Gauge| {
                gauge.minute == minute || gauge.own[Rate::Slots as usize].is_in_use()
            };
            self.keys.retain(|_, gauge| is_used(gauge));
            self.forget_at = KEYS_MIN.max(self.keys.len().saturating_mul(2));
        }
    }
}

impl Gauge {
    /// Another minute than the one before counts from zero, also where the clock
    /// was set back.
    fn turn(&mut self, minute: i64) {
        if self.minute != minute {
            self.minute = minute;
            self.own[Rate::Requests as usize].turn();
            self.own[Rate::Tokens as usize].turn();
            self.models.clear();
        }
    }

    /// None for a limit of a model where there is no model.
    fn cell(&mut self, model: Option<&Arc<str>>, rate: Rate) -> Option<&mut Cell> {
        if !rate.is_of_model() {
            return self.own.get_mut(rate as usize);
        }
        let model = model?;
        if !self.models.contains_key(model) {
            self.models.insert(Arc::clone(model), Default::default());
        }
        self.models.get_mut(model)?.get_mut(rate as usize - OWN)
    }

    /// Changes the counts that these rates limit, and no others: what is not
    /// limited is not counted.
    fn change(&mut self, rates: &Rates, change: impl Fn(Rate, &mut Cell)) {
        for (rate, _) in limited(rates) {
            if let Some(cell) = self.cell(rates.model.as_ref(), rate) {
                change(rate, cell);
            }
        }
    }
}

fn limited(rates: &Rates) -> impl Iterator<Item = (Rate, u64)> {
    let limits = Rate::ALL.into_iter().zip(rates.limits);
    limits.filter_map(|(rate, limit)| limit.map(|limit| (rate, limit)))
}

const fn needed(rate: Rate, tokens: u64) -> u64 {
    match rate {
        Rate::Tokens | Rate::ModelTokens => tokens,
        Rate::Requests | Rate::ModelRequests | Rate::Slots => 1,
    }
}

/// What is spent admits no call at all, also one of no tokens.
fn least(rate: Rate, tokens: u64) -> u64 {
    needed(rate, tokens).max(1)
}

#[cfg(test)]
pub(super) mod model;
#[cfg(test)]
mod tests;
