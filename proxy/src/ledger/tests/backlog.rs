//! Calls that are faster than their store wait for it.

use std::pin::pin;

use super::*;
use crate::ledger::backlog::BACKLOG_MAX;

on_both![calls_wait_for_a_store_that_is_slower_than_they_are];

async fn calls_wait_for_a_store_that_is_slower_than_they_are() {
    let bench = Bench::new().await;
    let key = bench.key("sk-fast", None).await;
    let hold = || bench.ledger.hold(call(key), NanoUsd::ZERO);
    hold().await.expect("room").settle(cost(1));
    bench.ledger.flush().await;
    let blocking = bench.block().await;
    for _ in 0..=BACKLOG_MAX {
        hold().await.expect("room").settle(cost(1));
    }
    let refused = hold().await;
    assert!(matches!(refused, Err(HoldError::StoreUnavailable)));
    let mut waiting = pin!(hold());
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(waited.is_err(), "not waited for: {waited:?}");
    drop(blocking);
    waiting.await.expect("room again").settle(cost(1));
    bench.ledger.flush().await;
    let calls = i64::try_from(BACKLOG_MAX).expect("few") + 3;
    assert_eq!(bench.standing(&key).await.posted.nanos(), calls);
    bench.check().await;
}
