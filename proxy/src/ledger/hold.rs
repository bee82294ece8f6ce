//! What one call has set aside, as a guard: it settles once, and a call that
//! ends any other way is still resolved.
//!
//! It owns the two ways out of a hold: a settlement with a row, and a release
//! without one where nothing was sent to a provider. `api` makes no hold by
//! itself; the ledger hands them out.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::entry::{Amounts, Entry, NOTHING, Posting};
use super::place::Place;
use super::writer::Command;
use super::{HoldError, Ledger, RequestId, Shared};
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::price::{Price, Usage};
use crate::store::usage::UsageRow;

/// What is known of a call before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request_id: RequestId,
    /// [`crate::key::Key::accounts`]; none for the master key, whose calls are
    /// only recorded.
    pub(crate) accounts: Arc<[AccountId]>,
    pub(crate) model: Arc<str>,
    pub(crate) deployment_id: Arc<str>,
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

impl Settlement {
    /// The provider's count; none where it gave none.
    fn tokens(&self) -> Option<u64> {
        let usage = self.usage;
        let total = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        (!self.estimated).then_some(total)
    }
}

/// What is held of each account of a call. Dropping it frees the amounts.
#[derive(Debug)]
pub(super) struct Reserved {
    shared: Arc<Shared>,
    accounts: Arc<[AccountId]>,
    held: Amounts,
    /// The name under which this process holds it.
    process: Uuid,
    /// The rest is being claimed: it may be refused yet.
    is_partial: bool,
}

/// A call's hold. Settle it; dropped unsettled it charges its whole amount as
/// an estimate once [`Hold::mark_sent`] was called, else it charges nothing.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Ledger,
    call: Call,
    /// What the call can cost at most.
    upper: NanoUsd,
    /// None once it is resolved.
    reserved: Option<Reserved>,
    /// None where the key has no rates.
    place: Option<Place>,
    sent: bool,
}

impl Reserved {
    pub(super) fn new(
        shared: &Arc<Shared>,
        accounts: &Arc<[AccountId]>,
        held: Amounts,
        process: Uuid,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            accounts: Arc::clone(accounts),
            held,
            process,
            is_partial: false,
        }
    }

    /// What [`super::books::Short`] holds.
    pub(super) fn partial(
        shared: &Arc<Shared>,
        accounts: &Arc<[AccountId]>,
        held: Amounts,
        process: Uuid,
    ) -> Self {
        let mut partial = Self::new(shared, accounts, held, process);
        partial.is_partial = true;
        partial
    }

    /// Of the account at this place.
    pub(super) fn held_of(&self, at: usize) -> NanoUsd {
        self.held[at]
    }

    /// `amount` held of each account.
    pub(super) fn whole(
        shared: &Arc<Shared>,
        accounts: &Arc<[AccountId]>,
        amount: NanoUsd,
        process: Uuid,
    ) -> Self {
        let mut held = NOTHING;
        for (held, _) in held.iter_mut().zip(accounts.iter()) {
            *held = amount;
        }
        Self::new(shared, accounts, held, process)
    }

    /// Two reservations of one call as one: its partial one and the rest.
    pub(super) fn join(mut self, mut other: Self) -> Self {
        if std::mem::take(&mut self.is_partial) {
            let mut books = self.shared.books();
            if books.process() == self.process {
                books.claim_ended(&self.accounts, &self.held);
            }
        }
        for (held, more) in self.held.iter_mut().zip(&mut other.held) {
            *held = held.saturating_add(std::mem::take(more));
        }
        self
    }

    /// Replaces the reservation by a cost; answers what allotment goes with it,
    /// and whose. Where this process was taken for dead meanwhile, the whole hold
    /// has been posted, and goes off that posting.
    fn settle(mut self, cost: NanoUsd) -> (Uuid, Amounts) {
        let held = std::mem::replace(&mut self.held, NOTHING);
        let now = self.shared.now();
        let mut books = self.shared.books();
        let process = books.process();
        if process == self.process {
            return (process, books.settle(&self.accounts, &held, cost, now));
        }
        let surplus = books.settle(&self.accounts, &NOTHING, cost, now);
        drop(books);
        for (account, amount) in self.accounts.iter().zip(surplus) {
            self.shared.give_back(process, account, amount);
        }
        (self.process, held)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.held != NOTHING {
            let (accounts, held) = (&self.accounts, &self.held);
            self.shared
                .release(self.process, accounts, held, self.is_partial);
        }
    }
}

impl Hold {
    pub(super) fn new(ledger: Ledger, call: Call, upper: NanoUsd, reserved: Reserved) -> Self {
        Self {
            ledger,
            call,
            upper,
            reserved: Some(reserved),
            place: None,
            sent: false,
        }
    }

    /// Keeps the call's place until it is settled or dropped.
    pub(crate) fn keep(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// From here on the provider may count: only a settlement can make the call
    /// cheaper than its hold, and what was claimed for it outlives this process. After
    /// an error the call is not sent.
    pub(crate) async fn mark_sent(&mut self) -> Result<(), HoldError> {
        let written = self.ledger.0.store.write_claims().await;
        written.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a call is not sent: its claim is not written");
            HoldError::StoreUnavailable
        })?;
        self.sent = true;
        Ok(())
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
        let Some(reserved) = self.reserved.take() else {
            return;
        };
        let (process, releases) = reserved.settle(settlement.cost);
        if let Some(place) = self.place.take() {
            place.settle(settlement.tokens());
        }
        let shared = &self.ledger.0;
        let row = UsageRow {
            request_id: self.call.request_id,
            accounts: Arc::clone(&self.call.accounts),
            model: Arc::clone(&self.call.model),
            deployment_id: Arc::clone(&self.call.deployment_id),
            usage: settlement.usage,
            cost: settlement.cost,
            estimated: settlement.estimated,
            streamed: self.call.streamed,
            status: settlement.status,
            started_at: self.call.started_at,
            finished_at: shared.clock.now(),
        };
        let posting = Box::new(Posting {
            row,
            process,
            releases,
        });
        shared.send(Command::Write(Entry::Post(posting)));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.sent {
            let cost = self.upper;
            self.resolve(Settlement {
                cost,
                estimated: true,
                ..Settlement::default()
            });
        }
    }
}
