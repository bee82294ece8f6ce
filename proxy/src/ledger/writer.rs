//! The one task that changes the books: it takes everything that is queued,
//! commits it as one transaction, and then answers.
//!
//! It owns the order of entries, their retries while the store is down, and the
//! sweep of idle allotments. It never decides about a request. It ends when the
//! ledger is dropped.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::entry::{Claim, Entry, Outcome};
use super::{ClaimAnswer, ClaimError, Shared};
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::store::Store;
use crate::store::ledger::window::opened;
use crate::store::ledger::{ApplyError, applied_batch, apply};

/// Commands taken into one transaction at most.
const BATCH_MAX: usize = 512;
/// How often idle allotments are looked for, and a failed batch is tried again.
const TICK: Duration = Duration::from_millis(500);
/// An account that nothing has used for this long leaves memory.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// What the ledger asks of its writer.
#[derive(Debug)]
pub(super) enum Command {
    Claim {
        claim: Claim,
        answer: oneshot::Sender<ClaimAnswer>,
    },
    /// A posting or a return: it must reach the store, however long it takes.
    Write(Entry),
    /// The limits of these accounts may have changed in the store.
    Refresh(Vec<AccountId>),
    /// Answers once all that was queued before has been tried.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Weak<Shared>,
    store: Store,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Entries that must reach the store and have not.
    owed: Vec<Entry>,
    /// Accounts whose limits are to be read again.
    stale: Vec<AccountId>,
    /// The number of the last batch that was begun.
    batch: i64,
    unknown: Option<Unknown>,
}

/// A batch whose commit failed, so that nobody knows what became of it.
#[derive(Debug)]
struct Unknown {
    /// How many of the entries owed were in it.
    owed: usize,
    /// What it allotted to requests that have been told no since.
    granted: Vec<(AccountId, NanoUsd)>,
}

type Waiting = (Claim, oneshot::Sender<ClaimAnswer>);

impl Writer {
    pub(super) fn new(
        shared: Weak<Shared>,
        store: Store,
        commands: mpsc::UnboundedReceiver<Command>,
        batch: i64,
    ) -> Self {
        Self {
            shared,
            store,
            commands,
            owed: Vec::new(),
            stale: Vec::new(),
            batch,
            unknown: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut received = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                count = self.commands.recv_many(&mut received, BATCH_MAX) => {
                    if count == 0 {
                        break;
                    }
                }
                _ = tick.tick() => self.sweep(),
            }
            let (claims, flushes) = self.sort(&mut received);
            self.write(claims).await;
            self.refresh().await;
            for flushed in flushes {
                // Who no longer waits does not mind.
                let _not_waiting = flushed.send(());
            }
        }
        self.write(Vec::new()).await;
    }

    fn sort(&mut self, received: &mut Vec<Command>) -> (Vec<Waiting>, Vec<oneshot::Sender<()>>) {
        let (mut claims, mut flushes) = (Vec::new(), Vec::new());
        for command in received.drain(..) {
            match command {
                Command::Claim { answer, .. } if answer.is_closed() => {}
                Command::Claim { claim, answer } => claims.push((claim, answer)),
                Command::Write(entry) => self.owed.push(entry),
                Command::Refresh(accounts) => self.stale.extend(accounts),
                Command::Flush(done) => flushes.push(done),
            }
        }
        (claims, flushes)
    }

    /// What is owed goes first: a return that came in together with a claim
    /// makes room for it.
    async fn write(&mut self, claims: Vec<Waiting>) {
        if self.owed.is_empty() && claims.is_empty() {
            return;
        }
        if !self.resolve_unknown().await {
            answer_unavailable(claims);
            return;
        }
        let owed = self.owed.len();
        let mut entries = self.owed.clone();
        entries.extend(claims.iter().map(|(claim, _)| Entry::Claim(claim.clone())));
        self.batch += 1;
        match apply(&self.store, self.batch, &entries).await {
            Ok(outcomes) => {
                self.drop_owed(owed);
                self.answer(claims, outcomes.into_iter().skip(owed));
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    entries = entries.len(),
                    "writing the ledger"
                );
                if let ApplyError::Unknown { outcomes, .. } = error {
                    let granted = granted(&claims, outcomes.into_iter().skip(owed));
                    self.unknown = Some(Unknown { owed, granted });
                }
                answer_unavailable(claims);
            }
        }
    }

    /// Finds out whether the batch of unknown fate is in the store, so that
    /// nothing counts twice. False while the store does not say.
    async fn resolve_unknown(&mut self) -> bool {
        let Some(unknown) = self.unknown.take() else {
            return true;
        };
        match applied_batch(&self.store).await {
            Ok(batch) if batch == self.batch => {
                self.drop_owed(unknown.owed);
                for (account, amount) in unknown.granted {
                    self.owe_return(account, amount);
                }
                true
            }
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "reading the ledger's last batch");
                self.unknown = Some(unknown);
                false
            }
        }
    }

    fn answer(&self, claims: Vec<Waiting>, outcomes: impl Iterator<Item = Outcome>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        for ((claim, answer), outcome) in claims.into_iter().zip(outcomes) {
            let result = shared.claimed(&claim, &outcome);
            // A request that has gone drops its reservation, which frees it.
            let _not_waiting = answer.send(result);
        }
    }

    /// After the claims of a batch, which tell of limits too: here alone an
    /// account's limit changes in memory, so it follows the store's order.
    async fn refresh(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut failed = Vec::new();
        for account in self.stale.drain(..) {
            match opened(&self.store, &account).await {
                Ok(standing) => shared.refresh(&account, standing.unwrap_or_default()),
                Err(error) => {
                    tracing::error!(%error, "reading a limit again");
                    failed.push(account);
                }
            }
        }
        self.stale = failed;
    }

    fn sweep(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let now = shared.now();
        let is_settled = self.owed.is_empty();
        let mut returns = Vec::new();
        shared.books().retain(|id, account| {
            let amount = account.sweep(now);
            if amount > NanoUsd::ZERO {
                returns.push((id.clone(), amount));
            }
            !(is_settled && account.is_idle_since(FORGET_AFTER, now))
        });
        for (account, amount) in returns {
            self.owe_return(account, amount);
        }
    }

    fn owe_return(&mut self, account: AccountId, amount: NanoUsd) {
        self.owed.push(Entry::Return { account, amount });
        if let Some(shared) = self.shared.upgrade() {
            shared.backlog.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn drop_owed(&mut self, count: usize) {
        self.owed.drain(..count);
        if let Some(shared) = self.shared.upgrade() {
            shared.backlog.fetch_sub(count, Ordering::Relaxed);
        }
    }
}

fn granted(
    claims: &[Waiting],
    outcomes: impl Iterator<Item = Outcome>,
) -> Vec<(AccountId, NanoUsd)> {
    let mut granted = Vec::new();
    for ((claim, _), outcome) in claims.iter().zip(outcomes) {
        if let Outcome::Granted(grants) = outcome {
            let amounts = grants.iter();
            granted.extend(amounts.map(|grant| (claim.accounts[grant.at].clone(), grant.amount)));
        }
    }
    granted
}

fn answer_unavailable(claims: Vec<Waiting>) {
    for (_, answer) in claims {
        let _not_waiting = answer.send(Err(ClaimError::StoreUnavailable));
    }
}

#[cfg(test)]
mod tests;
