//! How much of its rates each key has used: requests and tokens in the minute
//! under way, and the calls that run.
//!
//! It is pure like the accounts: no clock, no lock and no I/O. A call takes all
//! that it needs or nothing, tokens as an upper bound, and settles once. Counts
//! live in one process and end with it; a process that shares its keys with
//! others will claim its part of a limit as it claims its part of a budget.

use std::collections::HashMap;
use std::sync::Arc;

use crate::key::{KeyHash, Rate, Rates};

/// Keys that are remembered before those are looked for that need not be.
const KEYS_MIN: usize = 10_000;

/// Amounts by [`Rate`].
pub(crate) type Counts = [u64; Rate::ALL.len()];

#[derive(Debug)]
pub(super) struct Gauges {
    keys: HashMap<KeyHash, Gauge>,
    /// When so many are known, those without use are forgotten.
    forget_at: usize,
}

/// Of one key. LiteLLM: minutes are those of the clock.
#[derive(Debug, Default)]
struct Gauge {
    minute: i64,
    requests: u64,
    tokens: u64,
    slots: u64,
    /// Requests and tokens by model.
    models: HashMap<Arc<str>, (u64, u64)>,
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

impl Default for Gauges {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            forget_at: KEYS_MIN,
        }
    }
}

impl Gauges {
    /// Takes one request, its tokens and a slot, or nothing.
    pub(super) fn take(&mut self, rates: &Rates, tokens: u64, minute: i64) -> Result<Taken, Full> {
        self.forget(minute);
        let gauge = self.keys.entry(rates.account).or_default();
        gauge.turn(minute);
        let used = gauge.used(rates);
        for rate in Rate::ALL {
            let Some(limit) = rates.limit(rate) else {
                continue;
            };
            let left = limit.saturating_sub(used[rate as usize]);
            // What is spent admits no call at all, also one of no tokens.
            if left < needed(rate, tokens).max(1) {
                return Err(Full { rate, left });
            }
        }
        gauge.change(rates, |rate, count| {
            *count = count.saturating_add(needed(rate, tokens));
        });
        Ok(Taken { tokens, minute })
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
        gauge.change(rates, |rate, count| match rate {
            Rate::Slots => *count = count.saturating_sub(1),
            Rate::Requests | Rate::ModelRequests if is_same_minute => {
                *count = count.saturating_sub(requests);
            }
            Rate::Tokens | Rate::ModelTokens if is_same_minute => {
                *count = count.saturating_sub(taken.tokens).saturating_add(tokens);
            }
            _ => {}
        });
    }

    /// How much is left of each limit; nothing where there is none.
    pub(super) fn left(&mut self, rates: &Rates, minute: i64) -> Counts {
        let used = self.keys.get_mut(&rates.account).map(|gauge| {
            gauge.turn(minute);
            gauge.used(rates)
        });
        let used = used.unwrap_or_default();
        Rate::ALL.map(|rate| {
            let limit = rates.limit(rate).unwrap_or_default();
            limit.saturating_sub(used[rate as usize])
        })
    }

    /// Calls that hold a slot, of all keys.
    #[cfg(test)]
    pub(super) fn slots(&self) -> u64 {
        self.keys.values().map(|gauge| gauge.slots).sum()
    }

    fn forget(&mut self, minute: i64) {
        if self.keys.len() >= self.forget_at {
            let is_used = |gauge: &Gauge| gauge.minute == minute || gauge.slots > 0;
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
            (self.minute, self.requests, self.tokens) = (minute, 0, 0);
            self.models.clear();
        }
    }

    fn used(&self, rates: &Rates) -> Counts {
        let model = rates
            .model
            .as_ref()
            .and_then(|model| self.models.get(model));
        let (requests, tokens) = model.copied().unwrap_or_default();
        [self.requests, self.tokens, self.slots, requests, tokens]
    }

    /// Changes the counts that these rates limit, and no others: what is not
    /// limited is not counted.
    fn change(&mut self, rates: &Rates, change: impl Fn(Rate, &mut u64)) {
        let mut none = (0, 0);
        let (requests, tokens) = match &rates.model {
            Some(model) => match self.models.get_mut(model) {
                Some(counts) => counts,
                None => self.models.entry(Arc::clone(model)).or_default(),
            },
            None => &mut none,
        };
        let counts = [
            &mut self.requests,
            &mut self.tokens,
            &mut self.slots,
            requests,
            tokens,
        ];
        for (rate, count) in Rate::ALL.into_iter().zip(counts) {
            if rates.limit(rate).is_some() {
                change(rate, count);
            }
        }
    }
}

const fn needed(rate: Rate, tokens: u64) -> u64 {
    match rate {
        Rate::Tokens | Rate::ModelTokens => tokens,
        Rate::Requests | Rate::ModelRequests | Rate::Slots => 1,
    }
}

#[cfg(test)]
mod tests;
