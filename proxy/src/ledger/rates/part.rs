//! The part of each limit that this process has of a store which others share:
//! what it asks the store for, what it gives back, and what it makes of the
//! answers. Pure, as [`super::Gauges`] is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{Cell, Change, Fit};
use super::{Full, Gauge, Gauges, Moment, OWN, least, limited};
use crate::key::{AccountId, Quota, Rate, Rates};

/// One change of what this process has of one limit.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Of a key, a team or a user.
    pub(crate) account: AccountId,
    /// Where the limit is that of a model.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) rate: Rate,
    /// Zero for calls at once, which know no minute.
    pub(crate) minute: i64,
    pub(crate) limit: u64,
    /// Goes back.
    pub(crate) returned: u64,
    /// Used beyond what was allotted: it counts whatever the limit says.
    pub(crate) debt: u64,
    /// What this process has then, without what is granted.
    pub(crate) held: u64,
    /// Less than this is of no use. Zero asks for nothing.
    pub(crate) least: u64,
    /// What all the calls that wait need.
    pub(crate) demand: u64,
    /// Besides, for calls to come.
    pub(crate) ahead: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) granted: u64,
    /// What all processes have now.
    pub(crate) stands: u64,
}

/// Why a call is short after the store has answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shortage {
    pub(super) full: Full,
    /// The store has more now.
    pub(super) may_fit: bool,
    /// Other processes have some of it, and may not need it.
    pub(super) others_have: bool,
}

/// What calls that wait need of one limit.
#[derive(Debug)]
struct Demand {
    limit: u64,
    sum: u64,
    least: u64,
}

type Place = (AccountId, Rate, Option<Arc<str>>);

impl Gauges {
    /// What these calls, each with its tokens, need of the store.
    pub(super) fn asks<'a>(
        &mut self,
        calls: impl Iterator<Item = (&'a Rates, u64)>,
        at: Moment,
    ) -> Vec<Ask> {
        let mut demands = HashMap::<Place, Demand>::new();
        let quotas = |(rates, tokens): (&'a Rates, u64)| {
            let quotas = rates.iter();
            quotas.map(move |(account, quota)| (account, quota, tokens))
        };
        for (account, quota, tokens) in calls.flat_map(quotas) {
            for (rate, limit) in limited(quota) {
                let model = quota.model.clone().filter(|_| rate.is_of_model());
                let of = demands.entry((account.clone(), rate, model));
                let need = least(rate, tokens);
                let demand = of.or_insert(Demand {
                    limit,
                    sum: 0,
                    least: need,
                });
                // Calls from before and after a change of it may wait together.
                demand.limit = demand.limit.min(limit);
                demand.sum = demand.sum.saturating_add(need);
                demand.least = demand.least.min(need);
            }
        }
        let asked = demands.into_iter().filter_map(|(place, demand)| {
            let gauge = self.gauge(&place.0, at.minute);
            gauge.ask(place, &demand, at)
        });
        asked.collect()
    }

    /// What this process has of its limits and no call uses. It is gone from
    /// here when this returns, and may be granted to others once it is written.
    pub(super) fn give_back(&mut self, account: &AccountId, minute: i64) -> Vec<Ask> {
        let Some(gauge) = self.gauges.get_mut(account) else {
            return Vec::new();
        };
        gauge.turn(minute);
        gauge.changes(account, |cell| cell.give_back())
    }

    /// The same of all.
    pub(super) fn give_all_back(&mut self, minute: i64) -> Vec<Ask> {
        let all = self.gauges.keys().cloned().collect::<Vec<_>>();
        let each = all.iter().flat_map(|one| self.give_back(one, minute));
        each.collect()
    }

    /// What has been idle for long, and what the store does not know yet.
    pub(super) fn sweep(&mut self, at: Moment) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (account, gauge) in &mut self.gauges {
            gauge.turn(at.minute);
            asks.extend(gauge.changes(account, |cell| cell.sweep(at.now)));
        }
        asks
    }

    /// None where the store says that this process is dead. What is of a minute
    /// that has passed meanwhile is void.
    pub(super) fn answered(&mut self, ask: &Ask, answer: Option<Answer>) {
        let Some(cell) = self.asked(ask) else {
            return;
        };
        match answer {
            Some(Answer { granted, stands }) => cell.answered(ask.debt, granted, stands),
            None => cell.unanswered(),
        }
    }

    fn asked(&mut self, ask: &Ask) -> Option<&mut Cell> {
        let gauge = self.gauges.get_mut(&ask.account)?;
        let is_current = ask.rate == Rate::Slots || ask.minute == gauge.minute;
        is_current.then(|| gauge.cell(ask.model.as_ref(), ask.rate))?
    }

    /// By which limits a call is short, at most one of each quota, what nobody can
    /// give first; none where all of it fits.
    pub(super) fn shortages(&mut self, rates: &Rates, tokens: u64, at: Moment) -> Vec<Shortage> {
        let quotas = rates.iter().enumerate();
        let short = |(place, (account, quota))| self.shortage(place, account, quota, (tokens, at));
        let mut short = quotas.filter_map(short).collect::<Vec<_>>();
        short.sort_by_key(|it| (it.may_fit, it.others_have));
        short
    }

    fn shortage(
        &mut self,
        place: usize,
        account: &AccountId,
        quota: &Quota,
        (tokens, at): (u64, Moment),
    ) -> Option<Shortage> {
        let gauge = self.gauges.get_mut(account)?;
        for (rate, limit) in limited(quota) {
            let need = least(rate, tokens);
            let cell = gauge.cell(quota.model.as_ref(), rate)?;
            if cell.fit(limit, need, true, at.now) != Fit::Fits {
                let full = Full::new(place, rate, cell, limit);
                return Some(Shortage {
                    may_fit: full.left >= need,
                    others_have: cell.others() > 0,
                    full,
                });
            }
        }
        None
    }

    /// For a while no such call is worth asking the store for.
    pub(super) fn refuse(&mut self, rates: &Rates, full: Full, tokens: u64, at: Moment) {
        let Full { quota, rate, .. } = full;
        let (account, quota) = rates.at(quota);
        let gauge = self.gauge(account, at.minute);
        if let (Some(cell), Some(limit)) =
            (gauge.cell(quota.model.as_ref(), rate), quota.limit(rate))
        {
            cell.refuse(limit, least(rate, tokens), at.now);
        }
    }

    /// Nobody takes this process for dead until then.
    pub(super) fn lives_until(&mut self, until: Duration) {
        self.alive_until = until;
    }

    /// This process was taken for dead: its slots have been given to others. What
    /// its calls use is claimed anew.
    pub(super) fn lose_slots(&mut self) {
        self.alive_until = Duration::ZERO;
        for gauge in self.gauges.values_mut() {
            gauge.own[Rate::Slots as usize].lose();
        }
    }

    /// Whether others would take slots of this process for free if it were dead.
    pub(super) fn has_slots(&self) -> bool {
        let has = |gauge: &Gauge| gauge.own[Rate::Slots as usize].is_in_use();
        self.gauges.values().any(has)
    }
}

impl Gauge {
    fn ask(&mut self, (account, rate, model): Place, demand: &Demand, at: Moment) -> Option<Ask> {
        let cell = self.cell(model.as_ref(), rate)?;
        let free = cell.free();
        let missing = demand.sum.checked_sub(free).filter(|it| *it > 0)?;
        let change = cell.ask(at.now);
        Some(Ask {
            limit: demand.limit,
            least: demand.least.saturating_sub(free).max(1),
            demand: missing,
            ..told((account, rate, model), self.minute, &change)
        })
    }

    /// Of all of its limits.
    fn changes(
        &mut self,
        account: &AccountId,
        change: impl Fn(&mut Cell) -> Option<Change>,
    ) -> Vec<Ask> {
        let Self {
            minute,
            own,
            models,
        } = self;
        let own = Rate::ALL.into_iter().zip(own);
        let own = own.map(|(rate, cell)| (rate, None, cell));
        let models = models.iter_mut().flat_map(|models| models.iter_mut());
        let of_models = models.flat_map(|(model, cells)| {
            let rates = Rate::ALL.into_iter().skip(OWN);
            rates
                .zip(cells)
                .map(move |(rate, cell)| (rate, Some(model), cell))
        });
        let asks = own.chain(of_models).filter_map(|(rate, model, cell)| {
            let change = change(cell)?;
            let place = (account.clone(), rate, model.cloned());
            Some(told(place, *minute, &change))
        });
        asks.collect()
    }
}

fn told((account, rate, model): Place, minute: i64, change: &Change) -> Ask {
    Ask {
        account,
        model,
        rate,
        minute: match rate {
            Rate::Slots => 0,
            _ => minute,
        },
        limit: 0,
        returned: change.returned,
        debt: change.debt,
        held: change.held,
        least: 0,
        demand: 0,
        ahead: change.ahead,
    }
}
