//! Goal: a claim that is answered at once holds whatever happens to the process,
//! never beyond a limit, and waits for a batch where memory cannot answer.

use super::*;

impl Case {
    /// As of a gateway that has called with the key.
    async fn busy() -> Self {
        let mut case = Self::new().await;
        case.apply(&[case.posting(10)]).await.unwrap();
        case
    }

    fn claim_at_once(&self, nanos: i64) -> Option<i64> {
        let Entry::Claim(claim) = self.claim(nanos) else {
            unreachable!("it makes nothing else");
        };
        let grants = claim_at_once(&self.store, &claim, &NOTHING)?;
        Some(grants.iter().map(|grant| grant.amount.nanos()).sum())
    }

    /// As before a call is sent.
    async fn write_claims(&self) {
        self.store.write_claims().await.unwrap();
    }

    /// A batch that the disk does not keep: in doubt, until the tables have it.
    async fn apply_in_doubt(&mut self, entries: &[Entry], lost: io::PipeReader) {
        let refused = self.apply(entries).await;
        assert!(
            matches!(&refused, Err(ApplyError::Unknown { outcomes, .. }) if outcomes.len() == entries.len()),
            "{refused:?}"
        );
        drop(lost);
        let found = applied_batch(&self.store, self.process).await.unwrap();
        assert_eq!(found, Some(self.batch));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_a_claim_at_once_outlives_its_process() {
    let mut case = Case::busy().await;
    for part in [200, 300] {
        assert_eq!(case.claim_at_once(part), Some(part));
    }
    case.write_claims().await;
    // No call was sent with what this one got.
    assert_eq!(case.claim_at_once(1), Some(1));
    for _ in 0..2 {
        case = case.die_and_start().await;
        case.expect(10, 500, 1).await;
    }
    case.apply(&[case.posting(1)]).await.unwrap();
    assert_eq!(case.claim_at_once(7), Some(7));
    // Of two records of one batch, one in the tables and one not.
    case.store.settled().await.unwrap();
    assert_eq!(case.claim_at_once(3), Some(3));
    case.write_claims().await;
    case = case.die_and_start().await;
    case.expect(11, 510, 2).await;
}

/// A batch is written behind the claims that wait, and a change of the tables waits
/// for them.
#[tokio::test(flavor = "multi_thread")]
async fn b3_a_claim_at_once_is_written_with_what_follows_it() {
    let mut case = Case::busy().await;
    assert_eq!(case.claim_at_once(500), Some(500));
    case.apply(&[case.posting(1)]).await.unwrap();
    case = case.die_and_start().await;
    case.expect(11, 500, 2).await;
    case.apply(&[case.posting(1)]).await.unwrap();
    assert_eq!(case.claim_at_once(7), Some(7));
    drop(case.store.begin_write().await.unwrap());
    case.write_claims().await;
    case = case.die_and_start().await;
    case.expect(12, 507, 3).await;
}

/// What the tables say later stands, though a file still has the claims, or gets one.
#[tokio::test(flavor = "multi_thread")]
async fn b3_a_claim_at_once_counts_once() {
    let mut case = Case::busy().await;
    assert_eq!(case.claim_at_once(500), Some(500));
    case.store.settled().await.unwrap();
    assert_eq!(case.claim_at_once(7), Some(7));
    let mut write = case.store.begin_write().await.unwrap();
    sqlx::query("UPDATE account SET allotted_nanousd = 0")
        .execute(&mut *write)
        .await
        .unwrap();
    write.commit().await.unwrap();
    case.write_claims().await;
    case = case.die_and_start().await;
    case.expect(10, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_a_claim_at_once_stays_below_the_limit() {
    let case = Case::busy().await;
    assert_eq!(case.claim_at_once(9_991), None);
    assert_eq!(case.claim_at_once(9_990), Some(9_990));
    assert_eq!(case.claim_at_once(1), None);
    let mut write = case.store.begin_write().await.unwrap();
    set_limit(&mut write, &case.key, None).await.unwrap();
    write.commit().await.unwrap();
    // A change of the tables is read first.
    assert_eq!(case.claim_at_once(1), None);
    case.expect(10, 9_990, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_at_once_needs_what_is_in_memory() {
    let mut case = Case::busy().await;
    let key = AccountId::Key(KeyHash::of("sk-another"));
    let key = std::mem::replace(&mut case.key, key);
    assert_eq!(case.claim_at_once(5), None, "of an account nobody knows");
    case.key = key;
    let process = std::mem::replace(&mut case.process, Uuid::new_v4());
    assert_eq!(case.claim_at_once(5), None, "of a process nobody knows");
    case.process = process;
    let busy = case.journal().books.lock().await;
    assert_eq!(case.claim_at_once(5), None, "beside a batch");
    drop(busy);
    case.expect(10, 0, 1).await;
}

/// Whoever has the books may take time for it.
#[tokio::test(flavor = "multi_thread")]
async fn b3_a_claim_is_written_beside_a_batch() {
    let mut case = Case::busy().await;
    assert_eq!(case.claim_at_once(5), Some(5));
    let busy = case.journal().books.lock().await;
    let written = tokio::time::timeout(Duration::from_secs(1), case.write_claims());
    written.await.expect("it waits for nobody");
    drop(busy);
    case = case.die_and_start().await;
    case.expect(10, 5, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_a_claim_that_its_file_does_not_take_is_in_the_tables() {
    let mut case = Case::busy().await;
    assert_eq!(case.claim_at_once(5), Some(5));
    case.journal().books.lock().await.files.break_for_a_test();
    case.write_claims().await;
    assert!(!case.journal().is_broken());
    assert_eq!(case.claim_at_once(7), Some(7));
    case.write_claims().await;
    case = case.die_and_start().await;
    case.expect(10, 12, 1).await;
}

/// The tables are somebody else's all the while.
#[tokio::test(flavor = "multi_thread")]
async fn f3_a_claim_that_is_written_nowhere_sends_no_call() {
    let mut case = Case::busy().await;
    assert_eq!(case.claim_at_once(5), Some(5));
    case.journal().books.lock().await.files.break_for_a_test();
    let turn = Arc::clone(&case.journal().turn).lock_owned().await;
    case.store.write_claims().await.unwrap_err();
    assert_eq!(case.claim_at_once(7), None, "after an error");
    drop(turn);
    case.apply(&[case.claim(6)]).await.unwrap();
    case = case.die_and_start().await;
    case.expect(10, 11, 1).await;
}

/// The disk is asked to keep what it cannot keep, which is all that shows here.
#[tokio::test(flavor = "multi_thread")]
async fn f1_a_claim_at_once_is_on_the_disk_a_moment_later() {
    let mut case = Case::busy().await;
    let lost = case.journal().lose().await;
    assert_eq!(case.claim_at_once(5), Some(5));
    case.write_claims().await;
    assert!(!case.journal().is_broken());
    case.store.keep_claims().await;
    assert!(case.journal().is_broken());
    drop(lost);
    // The tables have it then.
    case.apply(&[case.posting(1)]).await.unwrap();
    case = case.die_and_start().await;
    case.expect(11, 5, 2).await;
}

/// What builds on a record is not on the disk before it, though the files take turns.
#[tokio::test(flavor = "multi_thread")]
async fn f1_the_file_before_is_on_the_disk_first() {
    let mut case = Case::busy().await;
    let lost = case.journal().lose().await;
    assert_eq!(case.claim_at_once(5), Some(5));
    // It goes into the tables later.
    case.begin_fold(What::All).await;
    case.apply_in_doubt(&[case.posting(1)], lost).await;
    case.expect(11, 5, 2).await;
}

/// A file fails when nothing of it is needed, and nobody has begun anew.
#[tokio::test(flavor = "multi_thread")]
async fn f3_a_file_that_fails_between_two_processes_is_not_begun_with() {
    let mut case = Case::busy().await;
    let write = case.store.begin_write().await.unwrap();
    write.commit().await.unwrap();
    case.journal().tail.break_for_a_test();
    case.apply(&[case.posting(1)]).await.unwrap();
    case = case.die_and_start().await;
    case.expect(11, 0, 2).await;
}

/// The error of a file that nobody needs any longer hinders nobody.
#[tokio::test(flavor = "multi_thread")]
async fn f3_an_error_of_the_disk_that_comes_late_is_no_error() {
    let mut case = Case::busy().await;
    let lost = case.journal().lose().await;
    assert_eq!(case.claim_at_once(5), Some(5));
    case.write_claims().await;
    let tail = Arc::clone(&case.journal().tail);
    let unsynced = case.journal().books.lock().await.files.unsynced().unwrap();
    let write = case.store.begin_write().await.unwrap();
    write.commit().await.unwrap();
    let late = tokio::task::spawn_blocking(move || {
        unsynced.sync(&tail).unwrap_err();
        // Who asks again is told again.
        unsynced.sync(&tail).unwrap_err();
    });
    late.await.unwrap();
    assert!(!case.journal().is_broken());
    drop(lost);
    case.apply(&[case.posting(1)]).await.unwrap();
    assert_eq!(case.claim_at_once(5), Some(5));
    case.expect(11, 10, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_a_batch_that_the_disk_does_not_keep_is_in_doubt_and_counts_once() {
    let mut case = Case::busy().await;
    let lost = case.journal().lose().await;
    case.apply_in_doubt(&[case.posting(20), case.claim(5)], lost)
        .await;
    case = case.die_and_start().await;
    case.expect(30, 5, 2).await;
}

/// As of the versions whose records were JSON, the first of which numbered batches
/// alone.
#[tokio::test(flavor = "multi_thread")]
async fn f4_records_of_the_versions_before_are_folded() {
    for is_numbered in [true, false] {
        let mut case = Case::busy().await;
        case.store.settled().await.unwrap();
        case.store.abandon().await;
        let path = case.database.folder.path().join("test.db");
        let (files, _) = Files::open(&path).unwrap();
        files.clear().unwrap();
        let (process, key) = (case.process, case.key.subject());
        for (batch, cost, posted, allotted) in [(1, 10, 10, 0), (2, 20, 30, 0), (3, 30, 60, 7)] {
            let id = Uuid::now_v7();
            let number = match is_numbered {
                true => format!("\"number\":{batch},"),
                false => String::new(),
            };
            let record = format!(
                r#"{{"process":"{process}","batch":{batch},{number}"accounts":[["key","{key}"]],"totals":[[0,{posted},0,{allotted}]],"rows":[["{id}",[0],"demo","test",[1,2,0],{cost},false,false,200,[1700000000000000,1700000000000001]]]}}"#
            );
            files.tail().append(record.as_bytes()).unwrap();
        }
        case = case.die_and_start().await;
        case.expect(60, 7, 3).await;
    }
}
