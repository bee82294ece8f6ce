//! What the ledger, its writer and its holds have in common: the books in memory
//! behind one lock, and the queue of what is to be written.
//!
//! It decides nothing that takes time: each call locks, changes and returns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use uuid::Uuid;

use super::Windows;
use super::account::Standing;
use super::backlog::Backlog;
use super::books::{Books, TakeAll};
use super::entry::{Amounts, Entry, Return};
use super::rates::{Gauges, keeper};
use super::writer::Command;
use crate::clock::Clock;
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::store::Store;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) books: Mutex<Books>,
    /// Apart from the books, which most keys' rates have nothing to do with.
    pub(super) gauges: Mutex<Gauges>,
    /// Asks for more of a rate where others share the store.
    pub(super) keeper: mpsc::UnboundedSender<keeper::Command>,
    pub(super) queue: mpsc::UnboundedSender<Command>,
    pub(super) backlog: Backlog,
    /// How often a limit was read again after a change.
    pub(super) refreshed: AtomicU64,
    /// Another process has given back some of an account.
    pub(super) given: Notify,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) started: Instant,
}

impl Shared {
    /// The lock is never held across an await. A panic while it was held cannot
    /// leave an account half changed, because each change is one call.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn send(&self, command: Command) {
        if matches!(command, Command::Write(_)) {
            self.backlog.grow();
        }
        if self.queue.send(command).is_err() {
            tracing::error!("the ledger's writer is gone");
        }
    }

    /// With the name under which this process has what was taken. None where it has
    /// to be known first which windows of its budgets the call is charged to.
    pub(super) fn take(
        &self,
        ids: &[AccountId],
        need: NanoUsd,
        windows: Windows,
    ) -> Option<(Uuid, TakeAll)> {
        let now = self.now();
        let mut books = self.books();
        if windows == Windows::Unknown && books.has_windows() {
            return None;
        }
        Some((books.process(), books.take(ids, need, now)))
    }

    pub(super) fn give_back(&self, process: Uuid, account: &AccountId, amount: NanoUsd) {
        if amount > NanoUsd::ZERO {
            let account = account.clone();
            let entry = Entry::Return(Box::new(Return {
                process,
                account,
                amount,
            }));
            self.send(Command::Write(entry));
        }
    }

    /// What the store says of an account's definition now. An account that is being
    /// loaded meanwhile is loaded again.
    pub(super) fn refresh(&self, account: &AccountId, standing: Standing) {
        let mut books = self.books();
        self.refreshed.fetch_add(1, Ordering::Release);
        books.redefined(account, standing);
    }

    /// Frees a hold of a call that cost nothing and leaves no row.
    pub(super) fn release(
        &self,
        process: Uuid,
        accounts: &[AccountId],
        held: &Amounts,
        is_partial: bool,
    ) {
        let now = self.now();
        let mut books = self.books();
        // What was held under another name has been posted; it goes off that.
        let surplus = match books.process() == process {
            true if is_partial => {
                books.claim_ended(accounts, held);
                books.release(accounts, held, now)
            }
            true => books.release(accounts, held, now),
            false => *held,
        };
        drop(books);
        for (account, amount) in accounts.iter().zip(surplus) {
            self.give_back(process, account, amount);
        }
    }
}
