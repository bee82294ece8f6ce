//! One batch of the ledger: rows, then each account once, however many calls were
//! charged to it, so that a batch costs the store a few statements however many
//! calls and accounts there are. What it comes to is decided here, in memory; the
//! tables take it as one transaction where processes share them, and through the
//! journal where there is one process.

mod in_journal;
mod in_tables;

use foldhash::{HashMap, HashSet};
use uuid::Uuid;

use super::ApplyError;
use super::accounts::Accounts;
use super::grant::grant;
use crate::key::AccountId;
use crate::ledger::entry::{Claim, Entry, NOTHING, Outcome, Posting};
use crate::money::NanoUsd;
use crate::store::usage::UsageRow;
use crate::store::{Database, Store};

/// Applies entries, all or none, and marks the process with `batch`. Postings and
/// returns go first, whatever their place, and make room for the claims.
pub(crate) async fn apply(
    store: &Store,
    process: Uuid,
    batch: i64,
    entries: &[Entry],
) -> Result<Vec<Outcome>, ApplyError> {
    match &store.database {
        // What goes off an estimate is in the tables.
        Database::Sqlite(local) if !entries.iter().any(|entry| is_late(entry, process)) => {
            in_journal::apply(store, &local.journal, (process, batch), entries).await
        }
        Database::Sqlite(_) | Database::Postgres(_) => {
            in_tables::apply(store, process, batch, entries).await
        }
    }
}

/// Whether it is about an allotment of a process that was taken for dead.
fn is_late(entry: &Entry, process: Uuid) -> bool {
    match entry {
        Entry::Post(posting) => posting.process != process,
        Entry::Return(it) => it.process != process,
        Entry::Claim(_) => false,
    }
}

fn rows(entries: &[Entry]) -> Vec<&UsageRow> {
    let rows = entries.iter().filter_map(|entry| match entry {
        Entry::Post(posting) => Some(&posting.row),
        Entry::Return(_) | Entry::Claim(_) => None,
    });
    rows.collect()
}

/// What a batch does to its accounts.
#[derive(Default)]
struct Changes {
    of: HashMap<AccountId, Change>,
    /// What goes off the estimates of processes that were taken for dead.
    late: Vec<Late>,
}

#[derive(Default)]
struct Change {
    posted_nanos: i64,
    released: NanoUsd,
    allotted: NanoUsd,
}

struct Late {
    owner: Uuid,
    account: AccountId,
    amount: NanoUsd,
}

impl Changes {
    /// What the entries do, but for the claims, which are only counted in. A posting
    /// does nothing unless its row is among those that are `written`.
    fn of(process: Uuid, entries: &[Entry], mut written: HashSet<Uuid>) -> (Self, Vec<Outcome>) {
        let mut changes = Self::default();
        let outcomes = entries.iter().map(|entry| match entry {
            Entry::Post(posting) if written.remove(&posting.row.request_id) => {
                changes.post(process, posting);
                Outcome::Posted
            }
            Entry::Post(_) => Outcome::AlreadyPosted,
            Entry::Return(it) => {
                changes.add((process, it.process), &it.account, 0, it.amount);
                Outcome::Returned
            }
            Entry::Claim(claim) => {
                for (_, account) in claim.asked() {
                    changes.get(account);
                }
                // Answered by `settle`.
                Outcome::Returned
            }
        });
        let outcomes = outcomes.collect();
        (changes, outcomes)
    }

    /// Carries out what has come together, and then answers the claims.
    fn settle(&mut self, entries: &[Entry], outcomes: &mut [Outcome], rows: &mut Accounts) {
        for (account, change) in &self.of {
            if let Some(row) = rows.get(account) {
                row.post(change.posted_nanos);
                row.release(change.released);
            }
        }
        for (entry, outcome) in entries.iter().zip(outcomes) {
            if let Entry::Claim(claim) = entry {
                *outcome = self.claim(rows, claim);
            }
        }
    }

    fn get(&mut self, account: &AccountId) -> &mut Change {
        self.of.entry(account.clone()).or_default()
    }

    fn post(&mut self, process: Uuid, posting: &Posting) {
        let row = &posting.row;
        for (account, release) in row.accounts.iter().zip(posting.releases) {
            let cost = row.cost.nanos();
            self.add((process, posting.process), account, cost, release);
        }
    }

    /// Posts so much, and takes an amount off the allotment of `owner`. Where that
    /// process was taken for dead, its allotment has become an estimate, and it goes
    /// off that.
    fn add(
        &mut self,
        (process, owner): (Uuid, Uuid),
        account: &AccountId,
        posted_nanos: i64,
        amount: NanoUsd,
    ) {
        let change = self.get(account);
        change.posted_nanos = change.posted_nanos.saturating_add(posted_nanos);
        if owner == process {
            change.released = change.released.saturating_add(amount);
        } else {
            let account = account.clone();
            self.late.push(Late {
                owner,
                account,
                amount,
            });
        }
    }

    fn claim(&mut self, rows: &mut Accounts, claim: &Claim) -> Outcome {
        let outcome = grant(rows.rows(), claim, &NOTHING);
        if let Outcome::Granted(grants) = &outcome {
            for grant in grants {
                let change = self.get(&claim.accounts[grant.at]);
                change.allotted = change.allotted.saturating_add(grant.amount);
            }
        }
        outcome
    }
}
