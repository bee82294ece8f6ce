//! Caps that provably hold: every call is held against its key's account before
//! it is sent, and settled once when its cost is known.
//!
//! It owns what this process has claimed from the store and the one writer that
//! changes the books. It never speaks HTTP and reads no configuration. `api`
//! holds and settles; `admin` tells it of changed limits; `app` opens it after
//! the store and drains it last.

pub(crate) mod account;
pub(crate) mod command;
pub(crate) mod entry;
mod hold;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use self::hold::{Call, Hold, Settlement};

use self::account::{Account, Take};
use self::entry::{Claim, Entry, Outcome};
use self::hold::Reserved;
use self::writer::{Command, Writer};
use crate::app::Tasks;
use crate::clock::Clock;
use crate::key::KeyHash;
use crate::money::NanoUsd;
use crate::store::ledger::recover::recover;
use crate::store::{self, Store, StoreError};

/// Postings that wait for a store which does not take them. Beyond this many no
/// call is admitted: spend that cannot be recorded must not be made.
const BACKLOG_MAX: usize = 10_000;
/// How long an admission waits for the store to answer a claim.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// A refused claim is tried again where the account has changed in the
/// meantime, so that a hold which was just released is not overlooked.
const CLAIM_TRIES: usize = 4;

/// Why a call is not admitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    /// The call's upper bound does not fit into what is left.
    #[error("budget exceeded")]
    Exceeded {
        spent: NanoUsd,
        limit: NanoUsd,
        needed: NanoUsd,
    },
    #[error("the ledger cannot reach its store")]
    StoreUnavailable,
}

/// The ledger of this process. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    accounts: Mutex<HashMap<KeyHash, Account>>,
    queue: mpsc::UnboundedSender<Command>,
    /// Entries that have been queued and not yet committed.
    backlog: AtomicUsize,
    store: Store,
    clock: Clock,
    started: Instant,
}

/// A claim's answer.
type ClaimAnswer = Result<Reserved, ClaimError>;

#[derive(Debug, Clone, Copy)]
enum ClaimError {
    Refused,
    StoreUnavailable,
}

impl Ledger {
    /// Recovers what a dead process left unsettled, then starts the writer.
    pub(crate) async fn open(
        store: &Store,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Self, StoreError> {
        for posting in recover(store, clock.now()).await? {
            tracing::warn!(
                key.hash = %posting.key,
                request_id = %posting.request_id,
                cost_nanousd = posting.amount.nanos(),
                "posted what a stopped process had allotted and not settled, as an estimate"
            );
        }
        let batch = store::ledger::applied_batch(store).await?;
        let (queue, commands) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            accounts: Mutex::default(),
            queue,
            backlog: AtomicUsize::new(0),
            store: store.clone(),
            clock,
            started: Instant::now(),
        });
        let writer = Writer::new(Arc::downgrade(&shared), store.clone(), commands, batch);
        tasks.spawn_service(writer.run());
        Ok(Self(shared))
    }

    /// Sets `upper` aside in the account of the call's key, or refuses. A call
    /// without a key (the master key's) has no account and is only recorded.
    pub(crate) async fn hold(&self, call: Call, upper: NanoUsd) -> Result<Hold, HoldError> {
        if self.0.backlog.load(Ordering::Relaxed) > BACKLOG_MAX {
            return Err(HoldError::StoreUnavailable);
        }
        let Some(key) = call.key else {
            return Ok(Hold::new(self.clone(), call, upper, None));
        };
        self.load(&key).await?;
        for attempt in 1..=CLAIM_TRIES {
            let before = self.changes(&key);
            match self.try_hold(key, upper).await {
                Ok(reserved) => {
                    return Ok(Hold::new(self.clone(), call, upper, Some(reserved)));
                }
                Err(ClaimError::StoreUnavailable) => return Err(HoldError::StoreUnavailable),
                Err(ClaimError::Refused) => {
                    if attempt == CLAIM_TRIES || before == self.changes(&key) {
                        break;
                    }
                }
            }
        }
        Err(self.exceeded(&key, upper))
    }

    /// Spend of a key as this process knows it, postings under way included.
    /// None where it has not seen the key: the store's total is right then.
    pub(crate) fn spend(&self, key: &KeyHash) -> Option<NanoUsd> {
        self.0.accounts().get(key).map(Account::posted)
    }

    /// `admin` has committed a new limit.
    pub(crate) async fn limit_changed(&self, key: &KeyHash, limit: Option<NanoUsd>) {
        self.return_all(key, |account| account.limit_changed(limit));
        self.flush().await;
    }

    /// `admin` has committed the key's deletion. What is under way still
    /// settles; the rest of the allotment goes back.
    pub(crate) async fn removed(&self, key: &KeyHash) {
        self.return_all(key, |_| ());
        self.flush().await;
    }

    /// Gives back what no request holds and waits until everything that was
    /// queued is in the store, or the store has refused it.
    pub(crate) async fn drain(&self) {
        let keys = self.0.accounts().keys().copied().collect::<Vec<_>>();
        for key in keys {
            self.return_all(&key, |_| ());
        }
        self.flush().await;
    }

    async fn flush(&self) {
        let (done, waiting) = oneshot::channel();
        self.0.send(Command::Flush(done));
        // An error means that the writer is gone, so nothing is left to wait for.
        let _gone = waiting.await;
    }

    fn return_all(&self, key: &KeyHash, change: impl FnOnce(&mut Account)) {
        let mut accounts = self.0.accounts();
        let Some(account) = accounts.get_mut(key) else {
            return;
        };
        change(account);
        let amount = account.give_back_all();
        drop(accounts);
        self.0.give_back(*key, amount);
    }

    async fn load(&self, key: &KeyHash) -> Result<(), HoldError> {
        if self.0.accounts().contains_key(key) {
            return Ok(());
        }
        let standing = store::ledger::standing(&self.0.store, key)
            .await
            .map_err(|error| {
                tracing::error!(%error, "reading an account");
                HoldError::StoreUnavailable
            })?
            .unwrap_or_default();
        let now = self.0.now();
        let mut accounts = self.0.accounts();
        accounts
            .entry(*key)
            .or_insert_with(|| Account::new(standing, now));
        Ok(())
    }

    async fn try_hold(&self, key: KeyHash, upper: NanoUsd) -> ClaimAnswer {
        let now = self.0.now();
        let take = match self.0.accounts().get_mut(&key) {
            Some(account) => account.take(upper, now),
            None => Take::Refused,
        };
        match take {
            Take::Held => Ok(Reserved::new(&self.0, key, upper)),
            Take::Refused => Err(ClaimError::Refused),
            Take::Short {
                partial,
                missing,
                ahead,
            } => {
                let partial = Reserved::new(&self.0, key, partial);
                let claimed = self.claim(key, missing, ahead).await?;
                Ok(partial.join(claimed))
            }
        }
    }

    async fn claim(&self, account: KeyHash, least: NanoUsd, ahead: NanoUsd) -> ClaimAnswer {
        let (answer, waiting) = oneshot::channel();
        let claim = Claim {
            account,
            least,
            ahead,
        };
        self.0.send(Command::Claim { claim, answer });
        match tokio::time::timeout(CLAIM_TIMEOUT, waiting).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(ClaimError::StoreUnavailable),
        }
    }

    fn changes(&self, key: &KeyHash) -> u64 {
        self.0.accounts().get(key).map_or(0, Account::changes)
    }

    fn exceeded(&self, key: &KeyHash, needed: NanoUsd) -> HoldError {
        let accounts = self.0.accounts();
        let account = accounts.get(key);
        HoldError::Exceeded {
            spent: account.map_or(NanoUsd::ZERO, Account::posted),
            limit: account.and_then(Account::limit).unwrap_or(NanoUsd::ZERO),
            needed,
        }
    }
}

impl Shared {
    /// The lock is never held across an await. A panic while it was held cannot
    /// leave an account half changed, because each change is one call.
    fn accounts(&self) -> MutexGuard<'_, HashMap<KeyHash, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn send(&self, command: Command) {
        if matches!(command, Command::Write(_)) {
            self.backlog.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.send(command).is_err() {
            tracing::error!("the ledger's writer is gone");
        }
    }

    fn give_back(&self, account: KeyHash, amount: NanoUsd) {
        if amount > NanoUsd::ZERO {
            self.send(Command::Write(Entry::Return { account, amount }));
        }
    }

    /// Takes the store's answer to a claim into the account.
    fn claimed(self: &Arc<Self>, claim: Claim, outcome: Outcome) -> ClaimAnswer {
        let now = self.now();
        let mut accounts = self.accounts();
        let account = accounts.get_mut(&claim.account);
        match (outcome, account) {
            (Outcome::Granted { amount, standing }, Some(account)) => {
                account.granted(amount, claim.least, standing);
                Ok(Reserved::new(self, claim.account, claim.least))
            }
            (Outcome::Refused { standing }, Some(account)) => {
                account.refused(claim.least, standing, now);
                Err(ClaimError::Refused)
            }
            // An account that waits for a claim holds its place in memory, and
            // the store answers a claim with nothing else.
            _ => Err(ClaimError::StoreUnavailable),
        }
    }

    /// Frees a hold of a call that cost nothing and leaves no row.
    fn release(&self, key: KeyHash, amount: NanoUsd) {
        let now = self.now();
        let surplus = match self.accounts().get_mut(&key) {
            Some(account) => {
                account.release(amount);
                account.give_back(now)
            }
            None => NanoUsd::ZERO,
        };
        self.give_back(key, surplus);
    }
}

/// Identifies one call, chosen by the gateway: what makes its settlement
/// idempotent.
pub(crate) type RequestId = Uuid;

#[cfg(test)]
mod tests;
