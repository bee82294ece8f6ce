//! What one call has set aside, as a guard: it settles once, and a call that
//! ends any other way is still resolved.
//!
//! It owns the two ways out of a hold: a settlement with a row, and a release
//! without one where nothing was sent to a provider. `api` makes no hold by
//! itself; the ledger hands them out.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::entry::Entry;
use super::writer::Command;
use super::{Ledger, RequestId, Shared};
use crate::key::KeyHash;
use crate::money::NanoUsd;
use crate::price::{Price, Usage};
use crate::store::usage::UsageRow;

/// What is known of a call before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request_id: RequestId,
    /// None for the master key.
    pub(crate) key: Option<KeyHash>,
    pub(crate) model: String,
    pub(crate) deployment_id: String,
    /// Frozen here, so that a reload cannot change a call under way. None is
    /// free of charge.
    pub(crate) price: Option<Price>,
    pub(crate) streamed: bool,
    pub(crate) started_at: DateTime<Utc>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settlement {
    pub(crate) usage: Usage,
    pub(crate) cost: NanoUsd,
    /// The cost is a bound, because the provider gave no count.
    pub(crate) estimated: bool,
    /// The provider's HTTP status; 0 where it gave none.
    pub(crate) status: u16,
}

/// An amount held in one account. Dropping it frees the amount.
#[derive(Debug)]
pub(super) struct Reserved {
    shared: Arc<Shared>,
    account: KeyHash,
    amount: NanoUsd,
}

/// A call's hold. Settle it; dropped unsettled it charges its whole amount as
/// an estimate once [`Hold::mark_sent`] was called, else it charges nothing.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Ledger,
    call: Call,
    /// What the call can cost at most.
    upper: NanoUsd,
    /// None for the master key.
    reserved: Option<Reserved>,
    sent: bool,
    resolved: bool,
}

impl Reserved {
    pub(super) fn new(shared: &Arc<Shared>, account: KeyHash, amount: NanoUsd) -> Self {
        Self {
            shared: Arc::clone(shared),
            account,
            amount,
        }
    }

    /// Two reservations of one account as one.
    pub(super) fn join(mut self, mut other: Self) -> Self {
        self.amount = self.amount.saturating_add(other.amount);
        other.amount = NanoUsd::ZERO;
        self
    }

    /// Replaces the reservation by a cost; answers what allotment goes with it.
    fn settle(mut self, cost: NanoUsd) -> NanoUsd {
        let held = std::mem::take(&mut self.amount);
        let now = self.shared.now();
        let mut accounts = self.shared.accounts();
        accounts
            .get_mut(&self.account)
            .map_or(NanoUsd::ZERO, |account| account.settle(held, cost, now))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let amount = std::mem::take(&mut self.amount);
        if amount > NanoUsd::ZERO {
            self.shared.release(self.account, amount);
        }
    }
}

impl Hold {
    pub(super) fn new(
        ledger: Ledger,
        call: Call,
        upper: NanoUsd,
        reserved: Option<Reserved>,
    ) -> Self {
        Self {
            ledger,
            call,
            upper,
            reserved,
            sent: false,
            resolved: false,
        }
    }

    /// From here on the provider may count: only a settlement can make the call
    /// cheaper than its hold.
    pub(crate) fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// What the call can cost at most.
    pub(crate) fn upper(&self) -> NanoUsd {
        self.upper
    }

    pub(crate) fn call(&self) -> &Call {
        &self.call
    }

    /// What `usage` costs at the price that was frozen.
    pub(crate) fn cost_of(&self, usage: Usage) -> NanoUsd {
        let cost = |price: Price| price.cost(usage);
        self.call.price.map_or(NanoUsd::ZERO, cost)
    }

    /// Settles the call. The row and the total are committed by the writer; the
    /// account's spend in memory includes them at once.
    pub(crate) fn settle(mut self, settlement: Settlement) {
        self.resolve(settlement);
    }

    fn resolve(&mut self, settlement: Settlement) {
        if std::mem::replace(&mut self.resolved, true) {
            return;
        }
        let release = self
            .reserved
            .take()
            .map_or(NanoUsd::ZERO, |reserved| reserved.settle(settlement.cost));
        let shared = &self.ledger.0;
        let row = Box::new(UsageRow {
            request_id: self.call.request_id,
            key: self.call.key,
            model: std::mem::take(&mut self.call.model),
            deployment_id: std::mem::take(&mut self.call.deployment_id),
            usage: settlement.usage,
            cost: settlement.cost,
            estimated: settlement.estimated,
            streamed: self.call.streamed,
            status: settlement.status,
            started_at: self.call.started_at,
            finished_at: shared.clock.now(),
        });
        shared.send(Command::Write(Entry::Post { row, release }));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.sent && !self.resolved {
            let cost = self.upper;
            self.resolve(Settlement {
                cost,
                estimated: true,
                ..Settlement::default()
            });
        }
    }
}
