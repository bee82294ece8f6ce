//! Caps that provably hold: every call is held against its key's account, and
//! those that the key shares, before it is sent, and settled once when its cost
//! is known.
//!
//! It owns what this process has claimed from the store and the one writer that
//! changes the books. It never speaks HTTP and reads no configuration. `api`
//! holds and settles; `admin` tells it of changed limits; `app` opens it after
//! the store and drains it last.

pub(crate) mod account;
mod backlog;
mod books;
mod claim;
pub(crate) mod command;
mod elsewhere;
pub(crate) mod entry;
mod hold;
mod place;
mod position;
mod rates;
mod refresh;
mod shared;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use self::hold::{Call, Hold, Settlement};
pub(crate) use self::place::{Left, MINUTE, Place, PlaceError, RateExceeded};
pub(crate) use self::position::Position;
pub(crate) use self::rates::{Answer, Ask};
pub(crate) use self::refresh::Refresh;

use self::account::Account;
use self::backlog::Backlog;
use self::books::{Books, TakeAll};
use self::claim::{CLAIM_TIMEOUT, ClaimError, PATIENCE};
use self::hold::Reserved;
use self::rates::Gauges;
use self::rates::keeper::Keeper;
use self::shared::Shared;
use self::writer::{Command, Writer};
use crate::app::Tasks;
use crate::clock::Clock;
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::store::ledger::process::register;
use crate::store::ledger::recover::recover;
use crate::store::{self, Store, StoreError};

/// How often it is looked whether much has come together that is committed and
/// not in the tables, where these are not shared.
const SETTLE_LOOK: Duration = Duration::from_secs(1);
/// How long the disk may lack a claim that was answered at once.
const KEEP_CLAIMS: Duration = Duration::from_millis(100);
/// How long an admission waits for the store to tell of an account.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1);
/// A refused claim is tried again where the account has changed in the
/// meantime, so that a hold which was just released is not overlooked.
const CLAIM_TRIES: usize = 4;

/// Why a call is not admitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    /// The call's upper bound does not fit into what is left of this account.
    #[error("the budget of {account} is exceeded")]
    Exceeded {
        account: AccountId,
        spent: NanoUsd,
        limit: NanoUsd,
        needed: NanoUsd,
    },
    #[error("the ledger cannot reach its store")]
    StoreUnavailable,
}

/// Whether the accounts of a call are those of the windows of this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Windows {
    Known,
    Unknown,
}

/// The ledger of this process. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Shared>);

impl Ledger {
    /// Recovers what a dead process left unsettled where no other can (on SQLite;
    /// the writer does it elsewhere), and starts the writer.
    pub(crate) async fn open(
        store: &Store,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Self, StoreError> {
        if !store.is_shared() {
            recover_dead(store, &clock).await?;
        }
        let process = Uuid::new_v4();
        register(store, process).await?;
        let (queue, commands) = mpsc::unbounded_channel();
        let (keeper, asked) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            books: Mutex::new(Books::new(process)),
            gauges: Mutex::new(Gauges::new(store.is_shared())),
            keeper,
            queue,
            backlog: Backlog::default(),
            refreshed: AtomicU64::new(0),
            given: Notify::new(),
            store: store.clone(),
            clock,
            started: Instant::now(),
        });
        let writer = Writer::new(Arc::downgrade(&shared), store.clone(), commands, process);
        tasks.spawn_service(writer.run());
        if store.is_shared() {
            let keeper = Keeper::new(Arc::downgrade(&shared), store.clone(), asked, process);
            tasks.spawn_service(keeper.run());
        } else {
            tasks.spawn_service(keep_settled(Arc::downgrade(&shared)));
            tasks.spawn_service(keep_claims(Arc::downgrade(&shared)));
        }
        Ok(Self(shared))
    }

    /// Sets `upper` aside in each account of the call, or in none and refuses. A
    /// call without accounts (the master key's) is only recorded.
    /// Where a budget counts from zero again, the call is charged to the window
    /// of this moment, also when it settles in a later one.
    pub(crate) async fn hold(&self, mut call: Call, upper: NanoUsd) -> Result<Hold, HoldError> {
        if !self.0.backlog.has_room(&self.0.store).await {
            return Err(HoldError::StoreUnavailable);
        }
        // Of such a call nothing would be in the store if this process died.
        if call.accounts.is_empty() && !self.0.store.is_well() {
            return Err(HoldError::StoreUnavailable);
        }
        let given = Arc::clone(&call.accounts);
        let (started, mut tries) = (Instant::now(), 0);
        let (mut windows, mut patient_until) = (Windows::Unknown, None);
        loop {
            let is_last = patient_until.is_some_and(|until| until <= Instant::now());
            let Some((process, taken)) = self.0.take(&call.accounts, upper, windows) else {
                call.accounts = self.current(&given).await?;
                windows = Windows::Known;
                continue;
            };
            let refusing = match taken {
                TakeAll::Held => {
                    let reserved = Reserved::whole(&self.0, &call.accounts, upper, process);
                    return Ok(Hold::new(self.clone(), call, upper, reserved));
                }
                TakeAll::Unknown(at) => {
                    self.load(&call.accounts[at]).await?;
                    windows = Windows::Unknown;
                    continue;
                }
                TakeAll::Refused(at) => at,
                TakeAll::Short(short) => match self
                    .claim(&call.accounts, &short, process, is_last)
                    .await
                {
                    Ok(reserved) => return Ok(Hold::new(self.clone(), call, upper, reserved)),
                    Err(ClaimError::StoreUnavailable) => return Err(HoldError::StoreUnavailable),
                    Err(ClaimError::Swept) => continue,
                    Err(ClaimError::Refused {
                        at,
                        in_doubt,
                        ask_others,
                    }) => {
                        tries += usize::from(!in_doubt);
                        let changes = self.0.books().changes(&call.accounts[at]);
                        let may_fit = changes != short.changes[at] && tries < CLAIM_TRIES;
                        if (in_doubt || may_fit) && started.elapsed() < CLAIM_TIMEOUT {
                            continue;
                        }
                        if ask_others {
                            let until = Instant::now() + PATIENCE;
                            let until = *patient_until.get_or_insert(until);
                            self.ask_others(&call.accounts[at], until).await;
                            continue;
                        }
                        at
                    }
                },
            };
            return Err(self.exceeded(&call.accounts[refusing], upper));
        }
    }

    async fn current(&self, given: &Arc<[AccountId]>) -> Result<Arc<[AccountId]>, HoldError> {
        loop {
            let now = self.0.clock.now();
            let current = self.0.books().current(given, now);
            match current {
                Ok(current) => return Ok(current),
                Err(unknown) => self.load(&given[unknown]).await?,
            }
        }
    }

    /// Spend of an account where only this process can know it, postings under way
    /// included. None where the store's total is right, after [`Ledger::flush`]:
    /// for an account that this process has not seen, and where others share it.
    pub(crate) fn spend(&self, account: &AccountId) -> Option<NanoUsd> {
        match self.0.store.is_shared() {
            true => None,
            false => self.known_spend(account),
        }
    }

    /// Spend of an account as this process knows it, without asking anybody.
    pub(crate) fn known_spend(&self, account: &AccountId) -> Option<NanoUsd> {
        self.0.books().get(account).map(Account::posted)
    }

    /// An operator has corrected what the account has spent, by this many
    /// nano-dollars. Told after the commit; a difference, because calls are
    /// posted meanwhile.
    pub(crate) fn corrected(&self, account: &AccountId, by: i64) {
        if let Some(account) = self.0.books().get_mut(account) {
            account.corrected(by);
        }
    }

    /// Taken before a change to these accounts or their keys is committed, and
    /// dropped or [`Refresh::done`] before its answer.
    pub(crate) fn refresh_on_drop(&self, accounts: Vec<AccountId>) -> Refresh {
        Refresh {
            ledger: self.clone(),
            accounts,
        }
    }

    /// Gives back what no request holds and waits until everything that was
    /// queued is in the store, or the store has refused it.
    pub(crate) async fn drain(&self) {
        let accounts = self.0.books().ids();
        for account in &accounts {
            self.return_all(account);
        }
        self.drain_rates().await;
        self.flush().await;
    }

    /// The last of all: this process is not waited for any longer.
    pub(crate) async fn leave(&self) -> Result<(), StoreError> {
        let process = self.0.books().process();
        store::ledger::process::leave(&self.0.store, process).await
    }

    /// Waits until what this process has posted so far is in the store, or the
    /// store has refused it.
    pub(crate) async fn flush(&self) {
        let (done, waiting) = oneshot::channel();
        self.0.send(Command::Flush(done));
        // An error means that the writer is gone, so nothing is left to wait for.
        let _gone = waiting.await;
    }

    fn return_all(&self, account: &AccountId) {
        let mut books = self.0.books();
        let amount = books.get_mut(account).map(Account::give_back_all);
        let process = books.process();
        drop(books);
        self.0
            .give_back(process, account, amount.unwrap_or_default());
    }

    /// A limit that changed while it was read is read again.
    async fn load(&self, account: &AccountId) -> Result<(), HoldError> {
        loop {
            let before = self.0.refreshed.load(Ordering::Acquire);
            // Rare, and else the larger part of what a call takes in memory.
            let opened = Box::pin(store::ledger::window::opened(&self.0.store, account));
            let standing = self
                .0
                .store
                .within(LOAD_TIMEOUT, opened)
                .await
                .map_err(|error| {
                    tracing::error!(%error, "reading an account");
                    HoldError::StoreUnavailable
                })?
                .unwrap_or_default();
            let now = self.0.now();
            let mut books = self.0.books();
            if self.0.refreshed.load(Ordering::Acquire) == before {
                books.insert(account.clone(), Account::new(standing, now));
                return Ok(());
            }
        }
    }

    fn exceeded(&self, id: &AccountId, needed: NanoUsd) -> HoldError {
        let books = self.0.books();
        let account = books.get(id);
        HoldError::Exceeded {
            account: id.clone(),
            spent: account.map_or(NanoUsd::ZERO, Account::posted),
            limit: account.and_then(Account::limit).unwrap_or(NanoUsd::ZERO),
            needed,
        }
    }
}

/// Keeps small what is committed and not in the tables yet.
async fn keep_settled(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(SETTLE_LOOK).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Err(error) = shared.store.settle_if_due().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "folding the journal"
            );
        }
    }
}

/// Apart from [`keep_settled`], which takes its time.
async fn keep_claims(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(KEEP_CLAIMS).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.store.keep_claims().await;
    }
}

/// Posts what dead processes had allotted, and says so.
async fn recover_dead(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    for posting in recover(store, clock.now()).await? {
        tracing::warn!(
            account = %posting.account,
            request_id = %posting.request_id,
            cost_nanousd = posting.amount.nanos(),
            "posted what a stopped process had allotted and not settled, as an estimate"
        );
    }
    Ok(())
}

/// Identifies one call, chosen by the gateway: what makes its settlement
/// idempotent.
pub(crate) type RequestId = Uuid;

#[cfg(test)]
mod scale;
#[cfg(test)]
mod tests;
