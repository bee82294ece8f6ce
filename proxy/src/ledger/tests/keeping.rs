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
