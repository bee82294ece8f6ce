//! The one task that changes the books: it takes everything that is queued,
//! commits it as one transaction, and then answers.
//!
//! It owns the order of entries, their retries while the store is down, and the
//! sweep of idle allotments. It never decides about a request. It ends when the
//! ledger is dropped.

mod contact;
mod others;
mod unknown;

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use self::contact::Contact;
use self::others::Others;
use self::unknown::{Unknown, granted};
use super::claim::{ClaimError, Waiting};
use super::entry::{Entry, Return};
use super::{Shared, recover_dead};
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::store::Store;
use crate::store::ledger::process::register;
use crate::store::ledger::standings::standings;
use crate::store::ledger::{ApplyError, apply};

/// Commands taken into one transaction at most.
pub(super) const BATCH_MAX: usize = 512;
/// How often idle allotments are looked for, and a failed batch is tried again.
const TICK: Duration = Duration::from_millis(500);
/// How often a process without work says that it lives, where others share its
/// store; and how often it looks for one that does not.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);
/// Between two batches of postings alone, so that a store sees ten a second of a
/// busy process; a claim takes along at once what has come together.
pub(super) const LINGER: Duration = Duration::from_millis(100);
/// This many claims in one batch are a crowd: more will come within a moment.
const CROWD: usize = 4;
/// Between two batches while there is a crowd. To write a batch costs more than
/// what is in it, and a fast disk would be asked for one for every other call.
const GATHER: Duration = Duration::from_millis(1);
/// An account that nothing has used for this long leaves memory.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// How often such are looked for, among all.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What the ledger asks of its writer.
#[derive(Debug)]
pub(super) enum Command {
    Claim(Waiting),
    /// A posting or a return: it must reach the store, however long it takes.
    Write(Entry),
    /// The limits of these accounts may have changed in the store.
    Refresh(Vec<AccountId>),
    /// Other processes are to give back what they do not use of this account.
    Ask(AccountId),
    /// Another process asks for what no call holds of this account.
    Asked(AccountId),
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
    /// By which name the store knows this process.
    process: Uuid,
    /// The number of the last batch that was begun.
    batch: i64,
    /// When the last batch was begun.
    written: Option<Instant>,
    /// How many claims were in it.
    claimed: usize,
    /// When accounts to forget were last looked for.
    forgot: Instant,
    others: Others,
    contact: Contact,
    unknown: Option<Unknown>,
}

impl Writer {
    pub(super) fn new(
        shared: Weak<Shared>,
        store: Store,
        commands: mpsc::UnboundedReceiver<Command>,
        process: Uuid,
    ) -> Self {
        Self {
            shared,
            store,
            commands,
            owed: Vec::new(),
            stale: Vec::new(),
            process,
            batch: 0,
            written: None,
            claimed: 0,
            forgot: Instant::now(),
            others: Others::default(),
            contact: Contact::new(Instant::now()),
            unknown: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut received = Vec::with_capacity(BATCH_MAX);
        loop {
            let due = self.written.map_or_else(Instant::now, |at| at + LINGER);
            tokio::select! {
                count = self.commands.recv_many(&mut received, BATCH_MAX) => {
                    if count == 0 {
                        break;
                    }
                    self.gather(&mut received).await;
                }
                () = tokio::time::sleep_until(due), if !self.owed.is_empty() => {}
                _ = tick.tick() => {
                    self.sweep();
                    self.show_up().await;
                }
            }
            let (claims, flushes) = self.sort(&mut received);
            let is_wanted = self.give_back() || !claims.is_empty() || !flushes.is_empty();
            if is_wanted || Instant::now() >= due {
                self.write(claims).await;
            }
            self.forget();
            self.tell_others().await;
            self.refresh().await;
            for flushed in flushes {
                // Who no longer waits does not mind.
                let _not_waiting = flushed.send(());
            }
        }
        self.write(Vec::new()).await;
    }

    /// Waits for the rest of a crowd.
    async fn gather(&mut self, received: &mut Vec<Command>) {
        let due = self.written.map(|at| at + GATHER);
        if let Some(due) = due.filter(|_| self.claimed >= CROWD) {
            tokio::time::sleep_until(due).await;
            while received.len() < BATCH_MAX
                && let Ok(command) = self.commands.try_recv()
            {
                received.push(command);
            }
        }
    }

    fn sort(&mut self, received: &mut Vec<Command>) -> (Vec<Waiting>, Vec<oneshot::Sender<()>>) {
        let (mut claims, mut flushes) = (Vec::new(), Vec::new());
        for command in received.drain(..) {
            match command {
                Command::Claim((_, waiter)) if waiter.is_gone() => {}
                Command::Claim(waiting) => claims.push(waiting),
                Command::Write(entry) => self.owed.push(entry),
                Command::Refresh(accounts) => self.stale.extend(accounts),
                Command::Ask(account) => self.others.ask(account),
                Command::Asked(account) => self.others.want(account),
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
        self.written = Some(Instant::now());
        self.claimed = claims.len();
        if !self.resolve_unknown().await {
            answer_all(claims, ClaimError::StoreUnavailable);
            return;
        }
        // A claim from before this process went on under another name is void.
        let is_current = |(claim, _): &Waiting| claim.process == self.process;
        let (claims, void) = claims.into_iter().partition(is_current);
        answer_all(void, ClaimError::Swept);
        let owed = self.owed.len();
        let claimed = claims.iter().map(|(claim, _)| Entry::Claim(claim.clone()));
        self.owed.extend(claimed);
        self.batch += 1;
        let applied = apply(&self.store, self.process, self.batch, &self.owed).await;
        self.owed.truncate(owed);
        match applied {
            Ok(outcomes) => {
                self.contact.made(Instant::now());
                self.drop_owed(owed);
                if let Some(shared) = self.shared.upgrade() {
                    shared.answer(claims, outcomes.into_iter().skip(owed));
                }
            }
            Err(ApplyError::Swept) => {
                let answer = self.start_again().await;
                answer_all(claims, answer);
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    entries = owed + claims.len(),
                    "writing the ledger"
                );
                if let ApplyError::Unknown { outcomes, .. } = error {
                    let granted = granted(&claims, outcomes.into_iter().skip(owed));
                    self.unknown = Some(Unknown { owed, granted });
                }
                answer_all(claims, ClaimError::StoreUnavailable);
            }
        }
    }

    /// Goes on under another name, because the store has posted all that was
    /// allotted under this one. What is owed goes off those postings. Answers what
    /// to say to the claims of the batch that was not written.
    async fn start_again(&mut self) -> ClaimError {
        let process = Uuid::new_v4();
        if let Err(error) = register(&self.store, process).await {
            tracing::error!(%error, "registering with the ledger again");
            return ClaimError::StoreUnavailable;
        }
        tracing::warn!(
            "this process was taken for dead: it goes on, and what was posted for it is put right"
        );
        let lost = std::mem::replace(&mut self.process, process);
        self.batch = 0;
        let Some(shared) = self.shared.upgrade() else {
            return ClaimError::StoreUnavailable;
        };
        let free = shared.books().start_again(process);
        for (account, amount) in free {
            self.owe_return(lost, account, amount);
        }
        ClaimError::Swept
    }

    /// Where others share the store: says that this process lives, and posts what
    /// those that do not had allotted.
    async fn show_up(&mut self) {
        let is_due = self.store.is_shared() && self.contact.is_older_than(HEARTBEAT);
        if !is_due || !self.resolve_unknown().await {
            return;
        }
        self.batch += 1;
        match apply(&self.store, self.process, self.batch, &[]).await {
            Ok(_) => {
                self.contact.made(Instant::now());
                self.bury_the_dead().await;
            }
            Err(ApplyError::Swept) => {
                self.start_again().await;
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "showing up");
            }
        }
    }

    async fn bury_the_dead(&self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        if self.contact.is_firm()
            && let Err(error) = recover_dead(&self.store, &shared.clock).await
        {
            tracing::error!(%error, "recovering what a dead process left");
        }
    }

    /// After the claims of a batch, which tell of limits too: here alone an
    /// account's limit changes in memory, so it follows the store's order.
    async fn refresh(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let stale = std::mem::take(&mut self.stale);
        if stale.is_empty() {
            return;
        }
        match standings(&self.store, &stale).await {
            Ok(found) => {
                for account in &stale {
                    let standing = found.get(account).copied().unwrap_or_default();
                    shared.refresh(account, standing);
                }
            }
            Err(error) => {
                tracing::error!(%error, "reading limits again");
                self.stale = stale;
            }
        }
    }

    fn sweep(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        // What is given back now cannot be claimed again: calls live on it.
        if !self.store.is_well() {
            return;
        }
        let now = shared.now();
        let returns = shared.books().sweep(now);
        for (account, amount) in returns {
            self.owe_return(self.process, account, amount);
        }
    }

    /// What is owed is not in the store, which an account is loaded again from.
    fn forget(&mut self) {
        if !self.owed.is_empty() || self.forgot.elapsed() < FORGET_EVERY {
            return;
        }
        self.forgot = Instant::now();
        if let Some(shared) = self.shared.upgrade() {
            let now = shared.now();
            shared.books().forget(FORGET_AFTER, now);
        }
    }

    fn owe_return(&mut self, process: Uuid, account: AccountId, amount: NanoUsd) {
        self.owed.push(Entry::Return(Box::new(Return {
            process,
            account,
            amount,
        })));
        if let Some(shared) = self.shared.upgrade() {
            shared.backlog.grow();
        }
    }

    fn drop_owed(&mut self, count: usize) {
        let recorded = self.owed.drain(..count).collect::<Vec<_>>();
        // Elsewhere nobody asks what is not in the store yet.
        let sharing = self.shared.upgrade().filter(|it| it.store.is_shared());
        if let Some(shared) = sharing {
            let mut books = shared.books();
            for entry in recorded {
                if let Entry::Post(posting) = entry {
                    books.recorded(&posting.row.accounts, posting.row.cost);
                }
            }
        }
        self.settle_backlog(count);
    }

    fn settle_backlog(&self, count: usize) {
        if let Some(shared) = self.shared.upgrade() {
            shared.backlog.shrink(count);
        }
    }
}

fn answer_all(claims: Vec<Waiting>, answer: ClaimError) {
    for (_, waiting) in claims {
        waiting.fail(answer);
    }
}

#[cfg(test)]
mod tests;
