//! What this process and the others that share its store tell each other of
//! allotments: who is short asks, and who holds what no call of its own uses
//! gives it back and says so.

use std::time::Duration;

use tokio::time::Instant;

use super::Writer;
use crate::key::AccountId;
use crate::ledger::account::Account;
use crate::ledger::claim::PATIENCE;
use crate::money::NanoUsd;
use crate::store::ledger::give_back::{Kind, Word, tell};

/// Asked once for all the calls that are short at the same time.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(PATIENCE.as_millis() as u64 / 2);

#[derive(Debug, Default)]
pub(super) struct Others {
    /// When they were asked, of late.
    asked: Vec<(AccountId, Instant)>,
    to_ask: Vec<AccountId>,
    /// They ask for these.
    wanted: Vec<AccountId>,
}

impl Others {
    pub(super) fn ask(&mut self, account: AccountId) {
        self.asked
            .retain(|(_, at)| at.elapsed() < ASKED_AGAIN_AFTER);
        if !self.asked.iter().any(|(asked, _)| *asked == account) {
            self.asked.push((account.clone(), Instant::now()));
            self.to_ask.push(account);
        }
    }

    pub(super) fn want(&mut self, account: AccountId) {
        self.wanted.push(account);
    }
}

impl Writer {
    /// Takes out of memory what others ask for. True where that, or what was to go
    /// back already, is to be written at once.
    pub(super) fn give_back(&mut self) -> bool {
        let Some(shared) = self.shared.upgrade() else {
            return false;
        };
        for account in self.others.wanted.clone() {
            let free = {
                let mut books = shared.books();
                books.get_mut(&account).map(Account::give_back_all)
            };
            let free = free.unwrap_or_default();
            if free > NanoUsd::ZERO {
                self.owe_return(self.process, account, free);
            }
        }
        if self.owed.is_empty() {
            self.others.wanted.clear();
        }
        !self.others.wanted.is_empty()
    }

    /// After a batch: asks others, and tells them what they may claim now.
    pub(super) async fn tell_others(&mut self) {
        let asked = std::mem::take(&mut self.others.to_ask);
        let given = std::mem::take(&mut self.others.wanted);
        // What the store has not taken is told by nobody.
        let given = given.into_iter().filter(|_| self.owed.is_empty());
        let asked = asked.into_iter().map(|account| (Kind::Asked, account));
        let words = asked.chain(given.map(|account| (Kind::Given, account)));
        for (kind, account) in words.collect::<Vec<_>>() {
            let process = self.process;
            let word = Word {
                kind,
                process,
                account,
            };
            if let Err(error) = tell(&self.store, &word).await {
                tracing::warn!(%error, "other processes are not told of an allotment");
            }
        }
    }
}
