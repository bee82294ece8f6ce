//! What a call was granted at once reaches the disk, though nothing else is written.

use super::*;

/// The disk is asked to keep what it cannot keep, which is all that shows here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_the_disk_is_asked_to_keep_a_claim_of_a_call_that_goes_on() {
    let bench = Bench::new().await;
    let key = bench.key("sk-goes-on", Some(1_000)).await;
    let amount = NanoUsd::from_nanos(10);
    let known = bench.ledger.hold(call(key), amount).await.expect("fits");
    let lost = bench.store.lose_journal().await;
    let mut hold = bench.ledger.hold(call(key), amount).await.expect("fits");
    hold.mark_sent().await.unwrap();
    let mut looks = 0;
    while !bench.store.has_lost_its_journal() {
        looks += 1;
        assert!(looks < 200, "nobody has asked the disk");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop((lost, known, hold));
    bench.ledger.drain().await;
    bench.check().await;
}

/// What a batch in doubt was granted is nobody's, and goes with the next batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_what_a_batch_in_doubt_allotted_goes_back() {
    let bench = Bench::new().await;
    let key = bench.key("sk-doubt", Some(1_000)).await;
    let lost = bench.store.lose_journal().await;
    let refused = bench.ledger.hold(call(key), NanoUsd::from_nanos(10)).await;
    assert!(matches!(refused, Err(HoldError::StoreUnavailable)));
    drop(lost);
    let again = bench.ledger.hold(call(key), NanoUsd::from_nanos(10)).await;
    again.expect("the store is well").settle(cost(10));
    bench.ledger.drain().await;
    let mut looks = 0;
    while bench.standing(&key).await.allotted > NanoUsd::ZERO {
        looks += 1;
        assert!(looks < 500, "it stays allotted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.check().await;
}
