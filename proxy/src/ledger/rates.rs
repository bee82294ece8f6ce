//! How much of its rates each key, team and user has used: requests and tokens in
//! the minute under way, and the calls that run.
//!
//! It is pure like the accounts: no clock, no lock and no I/O. A call takes all
//! that it needs of all that count it or nothing, tokens as an upper bound, and
//! settles once. Where
//! processes share a store, a call takes from the part of the limit that this
//! process has claimed there (`part`), which one task sees to (`keeper`); else
//! all of the limit is this process's.

mod cell;
pub(super) mod keeper;
mod part;

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

use self::cell::{Cell, Fit};
pub(crate) use self::part::{Answer, Ask};
use crate::key::{AccountId, Quota, Rate, Rates};

/// Gauges that are remembered before those are looked for that need not be.
const GAUGES_MIN: usize = 10_000;
/// Limits of a key, team or user itself; the others are of a model.
const OWN: usize = 3;

/// Amounts by [`Rate`].
pub(crate) type Counts = [u64; Rate::ALL.len()];

#[derive(Debug)]
pub(super) struct Gauges {
    gauges: HashMap<AccountId, Gauge>,
    /// When so many are known, those without use are forgotten.
    forget_at: usize,
    /// Other processes count with the same limits.
    is_shared: bool,
    /// Until then nobody takes this process for dead, and its slots for free.
    alive_until: Duration,
}

/// Of one key, team or user. LiteLLM: minutes are those of the clock.
#[derive(Debug, Default)]
struct Gauge {
    minute: i64,
    own: [Cell; OWN],
    /// None where no model has a limit of its own, as of most keys.
    models: Option<Box<Models>>,
}

type Models = HashMap<Arc<str>, [Cell; Rate::ALL.len() - OWN]>;

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
    /// The place of its quota among those that count the call.
    pub(super) quota: usize,
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
            gauges: HashMap::default(),
            forget_at: GAUGES_MIN,
            is_shared,
            alive_until: Duration::ZERO,
        }
    }

    /// Takes one request, its tokens and a slot of each that counts the call, or
    /// nothing of any.
    pub(super) fn take(&mut self, rates: &Rates, tokens: u64, at: Moment) -> Result<Taken, NoRoom> {
        self.forget(at.minute);
        let (is_shared, is_alive) = (self.is_shared, self.is_alive(at.now));
        let mut is_short = false;
        for (place, (account, quota)) in rates.iter().enumerate() {
            let gauge = self.gauge(account, at.minute);
            for (rate, limit) in limited(quota) {
                let Some(cell) = gauge.cell(quota.model.as_ref(), rate) else {
                    continue;
                };
                match cell.fit(limit, least(rate, tokens), is_shared, at.now) {
                    Fit::Fits => is_short |= rate == Rate::Slots && !is_alive,
                    Fit::Short => is_short = true,
                    Fit::Full => return Err(NoRoom::Full(Full::new(place, rate, cell, limit))),
                }
            }
        }
        if is_short {
            return Err(NoRoom::Short);
        }
        self.change(rates, |_, rate, cell| {
            cell.draw(needed(rate, tokens), at.now);
        });
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
        self.change(rates, |minute, rate, Cell { used, .. }| {
            let is_same_minute = minute == taken.minute;
            match rate {
                Rate::Slots => *used = used.saturating_sub(1),
                Rate::Requests | Rate::ModelRequests if is_same_minute => {
                    *used = used.saturating_sub(requests);
                }
                Rate::Tokens | Rate::ModelTokens if is_same_minute => {
                    *used = used.saturating_sub(taken.tokens).saturating_add(tokens);
                }
                _ => {}
            }
        });
    }

    /// How much is left of each limit of each quota as far as this process knows;
    /// nothing where there is none.
    pub(super) fn left(&mut self, rates: &Rates, minute: i64) -> Vec<Counts> {
        let of = |(account, quota)| self.left_of(account, quota, minute);
        rates.iter().map(of).collect()
    }

    fn left_of(&mut self, account: &AccountId, quota: &Quota, minute: i64) -> Counts {
        let mut left = quota.limits.map(Option::unwrap_or_default);
        if let Some(gauge) = self.gauges.get_mut(account) {
            gauge.turn(minute);
            for (rate, limit) in limited(quota) {
                if let Some(cell) = gauge.cell(quota.model.as_ref(), rate) {
                    left[rate as usize] = cell.left(limit);
                }
            }
        }
        left
    }

    /// Calls that hold a slot, of all that count them.
    #[cfg(test)]
    pub(super) fn slots(&self) -> u64 {
        let slots = |gauge: &Gauge| gauge.own[Rate::Slots as usize].used;
        self.gauges.values().map(slots).sum()
    }

    /// In the minute that is under way.
    fn gauge(&mut self, account: &AccountId, minute: i64) -> &mut Gauge {
        let gauge = self.gauges.entry(account.clone()).or_default();
        gauge.turn(minute);
        gauge
    }

    /// Changes the counts that these rates limit, each with its minute, and no
    /// others: what is not limited is not counted.
    fn change(&mut self, rates: &Rates, change: impl Fn(i64, Rate, &mut Cell)) {
        for (account, quota) in rates.iter() {
            let Some(gauge) = self.gauges.get_mut(account) else {
                continue;
            };
            for (rate, _) in limited(quota) {
                let minute = gauge.minute;
                if let Some(cell) = gauge.cell(quota.model.as_ref(), rate) {
                    change(minute, rate, cell);
                }
            }
        }
    }

    fn is_alive(&self, now: Duration) -> bool {
        !self.is_shared || now < self.alive_until
    }

    fn forget(&mut self, minute: i64) {
        if self.gauges.len() >= self.forget_at {
            let is_used = |gauge: &Gauge| {
                gauge.minute == minute || gauge.own[Rate::Slots as usize].is_in_use()
            };
            self.gauges.retain(|_, gauge| is_used(gauge));
            self.forget_at = GAUGES_MIN.max(self.gauges.len().saturating_mul(2));
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
            self.models = None;
        }
    }

    /// None for a limit of a model where there is no model.
    fn cell(&mut self, model: Option<&Arc<str>>, rate: Rate) -> Option<&mut Cell> {
        if !rate.is_of_model() {
            return self.own.get_mut(rate as usize);
        }
        let model = Arc::clone(model?);
        let models = self.models.get_or_insert_default();
        models
            .entry(model)
            .or_default()
            .get_mut(rate as usize - OWN)
    }
}

impl Full {
    fn new(quota: usize, rate: Rate, cell: &Cell, limit: u64) -> Self {
        let left = cell.left(limit);
        Self { quota, rate, left }
    }
}

fn limited(quota: &Quota) -> impl Iterator<Item = (Rate, u64)> {
    let limits = Rate::ALL.into_iter().zip(quota.limits);
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
