//! Several processes on one store, and one that was taken for dead while it
//! only slept: what it had allotted is posted once, by whoever notices, and what
//! it then settles counts once.

use super::*;
use crate::store::ledger::estimate::{Released, release};

on_both![
    b4_what_a_process_settles_after_it_was_taken_for_dead_counts_once,
    b4_what_was_never_sent_goes_off_the_estimate,
    b3_a_dead_process_is_recovered_once_however_many_notice,
    an_estimate_is_released_once_and_the_books_stay_right,
    what_an_operator_has_reset_is_not_taken_off_once_more,
    what_only_a_newer_version_can_read_is_left_to_it,
];

impl Bench {
    /// As if this process had slept, and another had noticed.
    async fn sweep(&self) -> Vec<crate::store::ledger::recover::Recovered> {
        silence_all(&self.store).await;
        recover(&self.store, Utc::now()).await.expect("recovered")
    }

    async fn eventually_posted(&self, key: &KeyHash, posted: i64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.ledger.flush().await;
            let standing = self.standing(key).await;
            if (standing.posted.nanos(), standing.allotted.nanos()) == (posted, 0) {
                return;
            }
            assert!(Instant::now() < deadline, "{standing:?}, not {posted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn b4_what_a_process_settles_after_it_was_taken_for_dead_counts_once() {
    let bench = Bench::new().await;
    let key = bench.key("sk-slept", Some(1_000)).await;
    let settled = bench.ledger.hold(call(key), NanoUsd::from_nanos(200)).await;
    settled.expect("fits").settle(cost(100));
    let open = bench.ledger.hold(call(key), NanoUsd::from_nanos(300)).await;
    let open = open.expect("fits");
    bench.ledger.flush().await;
    assert_eq!(bench.sweep().await.len(), 1);
    let standing = bench.standing(&key).await;
    assert_eq!(standing.posted.nanos(), 400, "100 settled, 300 estimated");
    assert_eq!(standing.allotted, NanoUsd::ZERO);
    open.settle(cost(120));
    bench.eventually_posted(&key, 220).await;
    bench.check().await;
    let more = bench.ledger.hold(call(key), NanoUsd::from_nanos(781)).await;
    assert!(more.is_err(), "never over");
    let rest = bench.ledger.hold(call(key), NanoUsd::from_nanos(780)).await;
    rest.expect("all that is left").settle(cost(780));
    bench.eventually_posted(&key, 1_000).await;
    bench.check().await;
}

async fn b4_what_was_never_sent_goes_off_the_estimate() {
    let bench = Bench::new().await;
    let key = bench.key("sk-unsent", Some(1_000)).await;
    let open = bench.ledger.hold(call(key), NanoUsd::from_nanos(300)).await;
    bench.ledger.flush().await;
    bench.sweep().await;
    assert_eq!(bench.standing(&key).await.posted.nanos(), 300);
    drop(open.expect("fits"));
    bench.eventually_posted(&key, 0).await;
    bench.check().await;
}

async fn b3_a_dead_process_is_recovered_once_however_many_notice() {
    let bench = Bench::new().await;
    let mut open = Vec::new();
    for at in 0..5 {
        let key = bench.key(&format!("sk-{at}"), Some(1_000)).await;
        let held = bench.ledger.hold(call(key), NanoUsd::from_nanos(300)).await;
        open.push((key, held.expect("fits")));
    }
    bench.ledger.flush().await;
    silence_all(&bench.store).await;
    let now = Utc::now();
    let notice = || recover(&bench.store, now);
    let (one, two, three) = tokio::join!(notice(), notice(), notice());
    let found = [one, two, three].map(|found| found.expect("recovered").len());
    assert_eq!(found.iter().sum::<usize>(), 5, "{found:?}");
    for (key, _) in &open {
        let standing = bench.standing(key).await;
        assert_eq!(
            (standing.posted.nanos(), standing.allotted.nanos()),
            (300, 0)
        );
    }
    bench.check().await;
}

async fn an_estimate_is_released_once_and_the_books_stay_right() {
    let bench = Bench::new().await;
    let key = bench.key("sk-release", Some(1_000)).await;
    let open = bench.ledger.hold(call(key), NanoUsd::from_nanos(300)).await;
    let counted = call(key);
    let held = bench.ledger.hold(counted.clone(), NanoUsd::from_nanos(50));
    held.await.expect("fits").settle(cost(50));
    bench.ledger.flush().await;
    let estimate = bench.sweep().await.remove(0).request_id;
    for expected in [Released::Now(NanoUsd::from_nanos(300)), Released::Before] {
        assert_eq!(
            release(&bench.store, estimate).await.expect("released"),
            expected
        );
        assert_eq!(bench.standing(&key).await.posted.nanos(), 50);
        bench.check().await;
    }
    for (id, expected) in [
        (counted.request_id, Released::Counted),
        (Uuid::new_v4(), Released::Unknown),
    ] {
        assert_eq!(release(&bench.store, id).await.expect("answered"), expected);
    }
    // Too late to take the same amount off again.
    open.expect("fits").settle(cost(70));
    bench.eventually_posted(&key, 120).await;
    bench.check().await;
}

async fn what_an_operator_has_reset_is_not_taken_off_once_more() {
    let bench = Bench::new().await;
    let key = bench.key("sk-reset", Some(1_000)).await;
    let open = bench.ledger.hold(call(key), NanoUsd::from_nanos(300)).await;
    bench.ledger.flush().await;
    bench.sweep().await;
    let mut write = bench.store.begin_write().await.expect("begin");
    let account = AccountId::Key(key);
    let reset = store::ledger::correct::set_posted(&mut write, &account, NanoUsd::from_nanos(100));
    assert_eq!(reset.await.expect("reset"), -200);
    write.commit().await.expect("commit");
    open.expect("fits").settle(cost(50));
    bench.eventually_posted(&key, 0).await;
    bench.check().await;
}

async fn what_only_a_newer_version_can_read_is_left_to_it() {
    let bench = Bench::new().await;
    let key = bench.key("sk-newer", Some(1_000)).await;
    let open = bench.ledger.hold(call(key), NanoUsd::from_nanos(300)).await;
    bench.ledger.flush().await;
    let (there, gone) = match bench.database.kind {
        Kind::Sqlite => (
            "INSERT INTO account (scope, subject, allotted_nanousd) VALUES ('planet', 'x', 5)",
            "DELETE FROM account WHERE scope = 'planet'",
        ),
        Kind::Postgres => (
            "INSERT INTO allotment (process, scope, subject, amount_nanousd)
             SELECT id, 'planet', 'x', 5 FROM process",
            "DELETE FROM allotment WHERE scope = 'planet'",
        ),
    };
    for (statement, swept, posted, allotted) in [(there, 0, 0, 300), (gone, 1, 300, 0)] {
        let mut write = bench.store.begin_batch().await.expect("begin");
        let change = sqlx::query(statement);
        change.execute(&mut *write).await.expect("changed");
        write.commit().await.expect("commit");
        assert_eq!(bench.sweep().await.len(), swept);
        let standing = bench.standing(&key).await;
        let found = (standing.posted.nanos(), standing.allotted.nanos());
        assert_eq!(found, (posted, allotted), "{statement}");
    }
    drop(open);
    bench.check().await;
}
