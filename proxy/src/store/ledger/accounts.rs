//! The rows of some accounts, within a transaction: read and locked together,
//! changed in memory, written together. However many they are, the store sees a
//! few statements.
//!
//! Every process locks them in the order of their names, so that none waits for
//! another in a circle.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use foldhash::HashMap;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row as _};

use super::{ALLOTTED_MAX_NANOS, read_standing};
use crate::key::AccountId;
use crate::ledger::account::Standing;
use crate::money::NanoUsd;
use crate::store::Database;
use crate::store::many::filled::{self, SIZES, chunks};
use crate::store::many::full;

/// An account's scope and subject.
type Name = (String, String);

pub(in crate::store) type Rows = HashMap<AccountId, Row>;

/// What is there of the accounts that were asked for.
#[derive(Debug, Default)]
pub(in crate::store) struct Accounts(Rows);

/// An account as it stands in the store, with what has been changed since.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Row {
    standing: Standing,
    corrected_nanos: i64,
    is_changed: bool,
}

/// What batches change of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Total {
    pub(in crate::store) posted: NanoUsd,
    /// By how much an operator has corrected what is posted.
    pub(in crate::store) corrected_nanos: i64,
    pub(in crate::store) allotted: NanoUsd,
}

const ASKED: &str = "WITH asked (scope, subject) AS (VALUES ";

/// SQLite has one writer, which needs no locks. It goes through what is asked for
/// and looks each up, because a cross join keeps its order.
static READ_SQLITE: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        ASKED,
        2,
        ")
         SELECT account.scope, account.subject, limit_nanousd, posted_nanousd, corrected_nanousd,
             allotted_nanousd, budget_duration
         FROM asked CROSS JOIN account
         WHERE account.scope = asked.scope AND account.subject = asked.subject",
    )
});

static READ_POSTGRES: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        ASKED,
        2,
        r#")
         SELECT account.scope, account.subject, limit_nanousd, posted_nanousd, corrected_nanousd,
             allotted_nanousd, budget_duration
         FROM asked JOIN account
             ON account.scope = asked.scope AND account.subject = asked.subject
         ORDER BY account.scope COLLATE "C", account.subject COLLATE "C"
         FOR UPDATE OF account"#,
    )
});

/// A change that would break a limit is not written, whatever has computed it.
static WRITE: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH new (scope, subject, posted, corrected, allotted) AS (VALUES ",
        5,
        ")
         UPDATE account SET posted_nanousd = new.posted, corrected_nanousd = new.corrected,
             allotted_nanousd = new.allotted
         FROM new
         WHERE account.scope = new.scope AND account.subject = new.subject
             AND (new.allotted <= account.allotted_nanousd OR account.limit_nanousd IS NULL
                 OR new.posted + new.allotted <= account.limit_nanousd)",
    )
});

/// As [`WRITE`], of what has been decided and committed before, on SQLite. The rows
/// are there: nobody removes one while a process knows it. Told so, SQLite looks each
/// up once; for an update from a list it would do so five times.
static RECORD: LazyLock<[String; full::SIZES.len()]> = LazyLock::new(|| {
    full::texts(
        "INSERT OR FAIL INTO account
             (scope, subject, posted_nanousd, corrected_nanousd, allotted_nanousd) VALUES ",
        5,
        " ON CONFLICT (scope, subject) DO UPDATE SET posted_nanousd = excluded.posted_nanousd,
             corrected_nanousd = excluded.corrected_nanousd,
             allotted_nanousd = excluded.allotted_nanousd",
    )
});

fn name(account: &AccountId) -> Name {
    (account.scope().to_owned(), account.subject())
}

fn in_order<'a>(accounts: impl Iterator<Item = &'a AccountId>) -> Vec<Name> {
    let names: BTreeMap<Name, ()> = accounts.map(|account| (name(account), ())).collect();
    names.into_keys().collect()
}

impl Accounts {
    pub(in crate::store) async fn lock(
        connection: &mut AnyConnection,
        database: &Database,
        accounts: impl Iterator<Item = &AccountId>,
    ) -> Result<Self, sqlx::Error> {
        let texts = match database {
            Database::Sqlite(_) => &READ_SQLITE,
            Database::Postgres(_) => &READ_POSTGRES,
        };
        let mut found = HashMap::default();
        for (size, names) in chunks(&in_order(accounts)) {
            let mut query = sqlx::query::<Any>(texts[size].as_str());
            for name in names {
                query = query
                    .bind(name.map(|(scope, _)| scope.clone()))
                    .bind(name.map(|(_, subject)| subject.clone()));
            }
            for row in query.fetch_all(&mut *connection).await? {
                let (scope, subject): (String, String) =
                    (row.try_get("scope")?, row.try_get("subject")?);
                let damaged = || sqlx::Error::Decode("no account".into());
                let account = AccountId::parse(&scope, &subject).ok_or_else(damaged)?;
                let read = Row {
                    standing: read_standing(&row)?,
                    corrected_nanos: row.try_get("corrected_nanousd")?,
                    is_changed: false,
                };
                found.insert(account, read);
            }
        }
        Ok(Self(found))
    }

    pub(in crate::store) fn get(&mut self, account: &AccountId) -> Option<&mut Row> {
        self.0.get_mut(account)
    }

    pub(super) fn rows(&mut self) -> &mut Rows {
        &mut self.0
    }

    pub(in crate::store) fn insert(&mut self, account: AccountId, row: Row) {
        self.0.insert(account, row);
    }

    pub(in crate::store) fn into_rows(self) -> impl Iterator<Item = (AccountId, Row)> {
        self.0.into_iter()
    }

    /// Where those stand that have been changed.
    pub(in crate::store) fn changed(&self) -> Vec<(AccountId, Total)> {
        let changed = self.0.iter().filter(|(_, row)| row.is_changed);
        changed
            .map(|(account, row)| (account.clone(), row.total()))
            .collect()
    }

    /// Writes what has been changed.
    pub(super) async fn write(self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        let (changed, mut written) = (self.changed(), 0);
        for (size, rows) in chunks(&named(&changed)) {
            let mut query = sqlx::query::<Any>(WRITE[size].as_str());
            for row in rows {
                query = bound(query, row);
            }
            written += query.execute(&mut *connection).await?.rows_affected();
        }
        // Nobody can have changed a row that is locked, so one that was left out
        // would have broken its limit.
        match written {
            written if usize::try_from(written) == Ok(changed.len()) => Ok(()),
            _ => Err(sqlx::Error::RowNotFound),
        }
    }
}

/// Writes totals that batches have come to before, whatever the limits are.
pub(in crate::store) async fn record(
    connection: &mut AnyConnection,
    totals: &[(AccountId, Total)],
) -> Result<(), sqlx::Error> {
    for (size, rows) in full::chunks(&named(totals)) {
        let mut query = sqlx::query::<Any>(RECORD[size].as_str());
        for row in rows {
            query = bound(query, Some(row));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// In the order of their names, which is that of SQLite's pages.
fn named(totals: &[(AccountId, Total)]) -> Vec<(Name, Total)> {
    let named = totals
        .iter()
        .map(|(account, total)| (name(account), *total));
    let mut named: Vec<_> = named.collect();
    named.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    named
}

/// With one row more; None only fills the statement.
fn bound<'q>(
    query: Query<'q, Any, AnyArguments>,
    row: Option<&'q (Name, Total)>,
) -> Query<'q, Any, AnyArguments> {
    let total = row.map(|(_, total)| total);
    query
        .bind(row.map(|((scope, _), _)| scope.as_str()))
        .bind(row.map(|((_, subject), _)| subject.as_str()))
        .bind(total.map(|total| total.posted.nanos()))
        .bind(total.map(|total| total.corrected_nanos))
        .bind(total.map(|total| total.allotted.nanos()))
}

impl Row {
    pub(in crate::store) const fn standing(&self) -> Standing {
        self.standing
    }

    pub(in crate::store) const fn total(&self) -> Total {
        Total {
            posted: self.standing.posted,
            corrected_nanos: self.corrected_nanos,
            allotted: self.standing.allotted,
        }
    }

    pub(in crate::store) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(in crate::store) const fn marked(mut self, is_changed: bool) -> Self {
        self.is_changed = is_changed;
        self
    }

    /// A total stays inside its range. What an operator has reset is not taken off
    /// once more: the correction shrinks in its place.
    pub(super) fn post(&mut self, nanos: i64) {
        self.is_changed |= nanos != 0;
        let posted = &mut self.standing.posted;
        if nanos >= 0 {
            *posted = posted.saturating_add(NanoUsd::from_nanos(nanos));
            return;
        }
        let rest = posted.nanos().saturating_add(nanos);
        *posted = NanoUsd::from_nanos(rest.max(0));
        self.corrected_nanos = self.corrected_nanos.saturating_sub(rest.min(0));
    }

    pub(super) fn release(&mut self, amount: NanoUsd) {
        self.is_changed |= amount != NanoUsd::ZERO;
        self.standing.allotted = self.standing.allotted.saturating_sub(amount);
    }

    /// Whether an amount fits where so much is known to be posted, or more.
    pub(super) fn fits(&self, posted: NanoUsd, amount: NanoUsd) -> bool {
        let standing = self.standing;
        let allotted = standing.allotted.nanos().saturating_add(amount.nanos());
        let posted = posted.max(standing.posted);
        let used = posted.nanos().saturating_add(allotted);
        allotted <= ALLOTTED_MAX_NANOS && standing.limit.is_none_or(|limit| used <= limit.nanos())
    }

    pub(super) fn allot(&mut self, amount: NanoUsd) {
        self.is_changed |= amount != NanoUsd::ZERO;
        self.standing.allotted = self.standing.allotted.saturating_add(amount);
    }
}
