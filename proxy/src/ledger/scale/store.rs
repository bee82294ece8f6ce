//! The store as the ledger sees it: the rules of `store::ledger::batch` on a map,
//! and how many statements each batch would have been.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::key::AccountId;
use crate::ledger::account::{AHEAD_DIVISOR, Standing};
use crate::ledger::entry::{Amounts, Claim, Grant, Outcome};
use crate::money::NanoUsd;

/// What a replica writes.
#[derive(Debug)]
pub(super) enum Write {
    Post {
        accounts: Arc<[AccountId]>,
        cost: NanoUsd,
        releases: Amounts,
    },
    Return(AccountId, NanoUsd),
    Claim(Claim),
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) rows: HashMap<AccountId, Row>,
    /// By replica and account: what its death would leave behind.
    allotments: HashMap<(usize, AccountId), i64>,
    pub(super) statements: u64,
    pub(super) batches: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) limit: Option<i64>,
    pub(super) posted: i64,
    pub(super) allotted: i64,
    /// Until when the last batch that touched it keeps it locked, in µs.
    pub(super) locked_until: u64,
}

#[derive(Debug, Default)]
struct Change {
    posted: i64,
    released: i64,
    allotted: i64,
}

/// A batch that was committed.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) outcomes: Vec<Outcome>,
    /// Before the first account is locked, and from then on.
    pub(super) before: u64,
    pub(super) locking: u64,
    pub(super) touched: Vec<AccountId>,
}

/// That many rows or accounts go in so many statements.
fn statements(many: u64) -> u64 {
    many.div_ceil(256)
}

impl Row {
    pub(super) fn standing(&self) -> Standing {
        Standing {
            limit: self.limit.map(NanoUsd::from_nanos),
            posted: NanoUsd::from_nanos(self.posted),
            allotted: NanoUsd::from_nanos(self.allotted),
            period: None,
        }
    }

    fn left(&self) -> i64 {
        let limit = self.limit.unwrap_or(i64::MAX / 4);
        limit - self.posted - self.allotted
    }
}

impl Store {
    /// All of a batch, or panics where a cap is broken.
    pub(super) fn apply(&mut self, replica: usize, batch: &[Write]) -> Applied {
        let mut changes = BTreeMap::<AccountId, Change>::new();
        let (mut rows, mut shared_rows) = (0, 0);
        for write in batch {
            match write {
                Write::Post {
                    accounts,
                    cost,
                    releases,
                } => {
                    rows += 1;
                    shared_rows += accounts.len() as u64 - 1;
                    for (account, release) in accounts.iter().zip(releases) {
                        let change = changes.entry(account.clone()).or_default();
                        change.posted += cost.nanos();
                        change.released += release.nanos();
                    }
                }
                Write::Return(account, amount) => {
                    let change = changes.entry(account.clone()).or_default();
                    change.released += amount.nanos();
                }
                Write::Claim(claim) => {
                    for (_, account) in claim.asked() {
                        changes.entry(account.clone()).or_default();
                    }
                }
            }
        }
        for (account, change) in &changes {
            let row = self.rows.get_mut(account).expect("a row");
            row.posted += change.posted;
            row.allotted -= change.released;
            assert!(row.allotted >= 0, "more was returned than allotted");
        }
        let outcomes = batch.iter().map(|write| match write {
            Write::Claim(claim) => self.claim(claim, &mut changes),
            Write::Post { .. } | Write::Return(..) => Outcome::Returned,
        });
        let outcomes = outcomes.collect();
        // To begin, the process's mark and the rows; then the accounts and the commit.
        let before = 2 + [rows, shared_rows].map(statements).iter().sum::<u64>();
        let [mut changed, mut grown, mut shrunk] = [0_u64; 3];
        for (account, change) in &changes {
            let moved = change.allotted - change.released;
            let is_changed = [change.posted, change.released, change.allotted] != [0; 3];
            changed += u64::from(is_changed);
            grown += u64::from(moved > 0);
            shrunk += u64::from(moved < 0);
            let own = self.allotments.entry((replica, account.clone()));
            *own.or_default() += moved;
            self.check(account);
        }
        let accounts = [changes.len() as u64, changed, grown, shrunk];
        // Locked, written, and moved up and down; then the commit.
        let locking = 1 + accounts.map(statements).iter().sum::<u64>();
        self.statements += before + locking;
        self.batches += 1;
        Applied {
            outcomes,
            before,
            locking,
            touched: changes.into_keys().collect(),
        }
    }

    fn claim(&mut self, claim: &Claim, changes: &mut BTreeMap<AccountId, Change>) -> Outcome {
        let mut grants = Vec::new();
        for (at, account) in claim.asked() {
            let row = self.rows.get_mut(account).expect("a row");
            let least = claim.least[at].nanos();
            if row.left() < least {
                let standing = row.standing();
                self.take_back(claim, &grants, changes);
                return Outcome::Refused { at, standing };
            }
            let ahead = claim.ahead[at].nanos();
            let ahead = match row.limit {
                None => ahead,
                Some(_) => ahead.min((row.left() - least) / AHEAD_DIVISOR),
            };
            let amount = least + ahead;
            row.allotted += amount;
            changes.entry(account.clone()).or_default().allotted += amount;
            grants.push(Grant {
                at,
                amount: NanoUsd::from_nanos(amount),
                standing: row.standing(),
            });
        }
        Outcome::Granted(grants)
    }

    fn take_back(
        &mut self,
        claim: &Claim,
        grants: &[Grant],
        changes: &mut BTreeMap<AccountId, Change>,
    ) {
        for grant in grants {
            let account = &claim.accounts[grant.at];
            let row = self.rows.get_mut(account).expect("a row");
            row.allotted -= grant.amount.nanos();
            changes.entry(account.clone()).or_default().allotted -= grant.amount.nanos();
        }
    }

    /// What a dead replica had allotted becomes an estimate.
    pub(super) fn bury(&mut self, replica: usize) {
        let dead = self
            .allotments
            .extract_if(|(owner, _), _| *owner == replica);
        for ((_, account), amount) in dead.collect::<Vec<_>>() {
            let row = self.rows.get_mut(&account).expect("a row");
            row.allotted -= amount;
            row.posted += amount;
            // Its row, its totals.
            self.statements += 2;
            self.check(&account);
        }
    }

    /// The invariant: no cap is ever broken, because no call costs more than its
    /// hold.
    fn check(&self, account: &AccountId) {
        let row = &self.rows[account];
        let used = row.posted + row.allotted;
        assert!(
            row.limit.is_none_or(|limit| used <= limit),
            "{account:?} is over its limit: {row:?}"
        );
    }
}
