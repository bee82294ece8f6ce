//! Goal: what was acknowledged is in the tables in the end, once, whatever happens
//! to the process, to the tables or to the journal's own file in between. Method:
//! batches on a real file, ended, hindered and damaged at each place.

mod claims;

use std::fs::{self, File};

use super::*;
use crate::key::KeyHash;
use crate::ledger::entry::{Claim, Entry, NOTHING, Outcome, Posting};
use crate::money::NanoUsd;
use crate::store::Database::Sqlite;
use crate::store::ledger::process::{applied_batch, register};
use crate::store::ledger::verify::verify;
use crate::store::ledger::{ApplyError, apply, claim_at_once, set_limit, standing};
use crate::store::testing::Database;

struct Case {
    database: Database,
    store: Store,
    key: AccountId,
    process: Uuid,
    batch: i64,
}

impl Case {
    async fn new() -> Self {
        let database = Database::new().await;
        let store = database.open().await;
        let key = AccountId::Key(KeyHash::of("sk-journal"));
        let mut write = store.begin_write().await.unwrap();
        set_limit(&mut write, &key, Some(NanoUsd::from_nanos(10_000)))
            .await
            .unwrap();
        write.commit().await.unwrap();
        let process = Uuid::new_v4();
        register(&store, process).await.unwrap();
        Self {
            database,
            store,
            key,
            process,
            batch: 0,
        }
    }

    fn journal(&self) -> &Journal {
        match &self.store.database {
            Sqlite(local) => &local.journal,
            crate::store::Database::Postgres(_) => panic!("SQLite alone has one"),
        }
    }

    async fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Outcome>, ApplyError> {
        self.batch += 1;
        apply(&self.store, self.process, self.batch, entries).await
    }

    /// The part of a fold that goes no further.
    async fn begin_fold(&self, what: What) -> Arc<Part> {
        let begun = self.journal().books.lock().await.begin_fold(what);
        begun.unwrap().unwrap()
    }

    fn claim(&self, nanos: i64) -> Entry {
        let mut least = NOTHING;
        least[0] = NanoUsd::from_nanos(nanos);
        Entry::Claim(Box::new(Claim {
            process: self.process,
            accounts: Arc::from([self.key.clone()]),
            least,
            ahead: NOTHING,
        }))
    }

    fn posting(&self, cost: i64) -> Entry {
        let accounts = Arc::from([self.key.clone()]);
        Entry::Post(Box::new(Posting {
            row: UsageRow::of_test(accounts, NanoUsd::from_nanos(cost)),
            process: self.process,
            releases: NOTHING,
        }))
    }

    async fn die_and_start(self) -> Self {
        self.store.abandon().await;
        let Self {
            database,
            store,
            key,
            process,
            batch,
        } = self;
        drop(store);
        let store = database.open().await;
        Self {
            database,
            store,
            key,
            process,
            batch,
        }
    }

    /// In memory, and in the tables.
    async fn expect(&self, posted: i64, allotted: i64, rows: i64) {
        for _ in 0..2 {
            let found = standing(&self.store, &self.key).await.unwrap().unwrap();
            let found = (found.posted.nanos(), found.allotted.nanos());
            assert_eq!(found, (posted, allotted));
            self.store.settled().await.unwrap();
            self.journal().books.lock().await.forget();
        }
        let found = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM usage");
        let found = found.fetch_one(self.store.reader()).await.unwrap();
        assert_eq!(found, rows);
        // What finds a key's calls finds each of them once.
        let AccountId::Key(key) = &self.key else {
            panic!("a key's account");
        };
        let found = self.store.totals(*key).await.unwrap();
        assert_eq!((found.calls, found.cost.nanos()), (rows, posted));
        assert_eq!(verify(&self.store).await.unwrap().differences, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_committed_is_in_the_tables_at_the_next_start() {
    let mut case = Case::new().await;
    case.apply(&[case.claim(500)]).await.unwrap();
    case.apply(&[case.posting(30), case.posting(40)])
        .await
        .unwrap();
    case.store.settled().await.unwrap();
    case.apply(&[case.posting(50), case.claim(7)])
        .await
        .unwrap();
    for _ in 0..2 {
        case = case.die_and_start().await;
        case.expect(120, 507, 3).await;
    }
    case.apply(&[case.posting(1)]).await.unwrap();
    case.expect(121, 507, 4).await;
    case.store.close().await;
    let left = fs::read_dir(case.database.folder.path()).unwrap();
    let left = left
        .map(|entry| entry.unwrap().file_name())
        .collect::<Vec<_>>();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("ledger")),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tables_do_not_take_stays_committed_and_goes_in_later() {
    let mut case = Case::new().await;
    let stop = "CREATE TRIGGER stop BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'full'); END";
    sqlx::query(stop).execute(&case.store.writer).await.unwrap();
    for posted in 1..=3 {
        case.apply(&[case.posting(10)]).await.unwrap();
        case.store.settled().await.unwrap_err();
        let found = standing(&case.store, &case.key).await.unwrap().unwrap();
        assert_eq!(found.posted.nanos(), posted * 10);
    }
    // Nobody changes the tables before they are right.
    assert!(case.store.begin_write().await.is_err());
    sqlx::query("DROP TRIGGER stop")
        .execute(&case.store.writer)
        .await
        .unwrap();
    case.expect(30, 0, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_was_given_up_counts_once() {
    let mut case = Case::new().await;
    case.apply(&[case.posting(10)]).await.unwrap();
    let part = case.begin_fold(What::All).await;
    case.apply(&[case.posting(20)]).await.unwrap();
    // Up to here, and no further: before its commit, or after it.
    for has_committed in [false, true] {
        if has_committed {
            fold::write(&case.store.writer, &part).await.unwrap();
        }
        let found = standing(&case.store, &case.key).await.unwrap().unwrap();
        assert_eq!(found.posted.nanos(), 30);
    }
    case.expect(30, 0, 2).await;
}

/// Ends at each place: rows are in the tables without their accounts, and then both.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_go_ahead_of_their_accounts_count_once() {
    for (is_written, is_ended, dies) in [
        (false, false, false),
        (true, false, false),
        (true, true, false),
        (true, false, true),
        (true, true, true),
    ] {
        let mut case = Case::new().await;
        case.apply(&[case.posting(10), case.claim(7)])
            .await
            .unwrap();
        let part = case.begin_fold(What::Rows).await;
        case.apply(&[case.posting(20)]).await.unwrap();
        if is_written {
            fold::write(&case.store.writer, &part).await.unwrap();
        }
        if is_ended {
            case.journal().books.lock().await.end_fold();
        }
        if dies {
            case = case.die_and_start().await;
        }
        case.expect(30, 7, 2).await;
    }
}

/// Else a power cut could leave rows in the tables that no account counts.
#[tokio::test(flavor = "multi_thread")]
async fn rows_go_ahead_of_their_accounts_only_when_the_disk_has_their_records() {
    let mut case = Case::new().await;
    case.apply(&[case.posting(10)]).await.unwrap();
    let lost = case.journal().lose().await;
    let part = case.begin_fold(What::Rows).await;
    let refused = case.journal().put(&case.store.writer, part).await;
    assert!(
        matches!(refused, Err(StoreError::Journal(_))),
        "{refused:?}"
    );
    drop(lost);
    let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM usage");
    let count = count.fetch_one(case.store.reader()).await.unwrap();
    assert_eq!(count, 0);
    // Together with their accounts they go.
    assert!(case.journal().is_broken());
    case.expect(10, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_of_its_file_a_batch_has_not_happened_and_may_be_tried_again() {
    let mut case = Case::new().await;
    case.apply(&[case.posting(10)]).await.unwrap();
    let batch = [case.posting(20), case.claim(5)];
    case.journal().books.lock().await.files.break_for_a_test();
    let refused = case.apply(&batch).await;
    assert!(
        matches!(refused, Err(ApplyError::NotApplied(_))),
        "{refused:?}"
    );
    let found = standing(&case.store, &case.key).await.unwrap().unwrap();
    assert_eq!(found.posted.nanos(), 10);
    case.apply(&batch).await.unwrap();
    case = case.die_and_start().await;
    case.expect(30, 5, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_of_another_database_changes_nothing() {
    let mut other = Case::new().await;
    other.apply(&[other.posting(10)]).await.unwrap();
    other.store.abandon().await;
    let case = Case::new().await;
    case.store.close().await;
    for end in ["a", "b"] {
        let name = format!("test.db-ledger-{end}");
        let [from, to] = [&other, &case].map(|case| case.database.folder.path().join(&name));
        fs::copy(from, to).unwrap();
    }
    let case = case.die_and_start().await;
    case.expect(0, 0, 0).await;
    File::open(case.database.folder.path().join("test.db-ledger-a")).unwrap();
}
