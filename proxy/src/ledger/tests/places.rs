//! A call's place among its key's rates comes back whatever becomes of it.

use super::*;
use crate::key::{Quota, Rate, Rates};

const SLOTS: u64 = 50;

fn rates(key: KeyHash) -> Rates {
    let mut limits = [None; Rate::ALL.len()];
    limits[Rate::Slots as usize] = Some(SLOTS);
    let quota = Quota {
        group: None,
        model: None,
        limits,
    };
    Rates::from([(AccountId::Key(key), quota)])
}

fn in_use(ledger: &Ledger) -> u64 {
    ledger.0.with_gauges(|all| all.slots())
}

/// One call from its admission to its end, of which there are seven.
async fn one_call(ledger: Ledger, key: KeyHash, rates: Rates, way: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    let place = loop {
        match ledger.admit(&rates, 10).await {
            Ok(place) => break place,
            Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(_) => return,
        }
    };
    if way == 0 {
        return;
    }
    // Too dear for the key: refused after it had its place.
    let need = if way == 1 { 1_000_000 } else { 1 };
    let held = ledger.hold(call(key), NanoUsd::from_nanos(need)).await;
    let Ok(mut hold) = held else {
        return;
    };
    hold.keep(Some(place));
    match way {
        2 => drop(hold),
        3 => hold.settle(cost(1)),
        4 => {
            hold.mark_sent().await.unwrap();
            drop(hold);
        }
        5 => {
            hold.mark_sent().await.unwrap();
            panic!("in the middle of a call");
        }
        _ => {
            hold.mark_sent().await.unwrap();
            std::future::pending::<()>().await;
        }
    }
}

on_both![b8_a_slot_comes_back_on_every_way_out,];

async fn b8_a_slot_comes_back_on_every_way_out() {
    let bench = Bench::new().await;
    let key = bench.key("sk-slots", Some(100_000)).await;
    let rates = rates(key);
    let mut tasks = tokio::task::JoinSet::new();
    let mut endless = Vec::new();
    for at in 0..500_usize {
        let way = at % 7;
        let work = one_call(bench.ledger.clone(), key, rates.clone(), way);
        let task = tasks.spawn(work);
        if way == 6 {
            endless.push(task);
        }
        if endless.len() > 20 {
            tokio::task::yield_now().await;
            // Cut where it stands: before its hold, or in its call.
            endless.drain(..).for_each(|task| task.abort());
        }
        assert!(in_use(&bench.ledger) <= SLOTS);
    }
    endless.iter().for_each(tokio::task::AbortHandle::abort);
    let (mut ended, mut broken) = (0, 0);
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(()) => ended += 1,
            Err(_) => broken += 1,
        }
    }
    assert!(ended > 300 && broken > 120, "{ended} {broken}");
    assert_eq!(in_use(&bench.ledger), 0);
    bench.ledger.drain().await;
    if bench.store.is_shared() {
        let taken = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM slot";
        let taken = sqlx::query_scalar::<_, i64>(taken).fetch_one(bench.store.reader());
        assert_eq!(taken.await.expect("slots"), 0, "in the store");
    }
    bench.check().await;
    let standing = bench.standing(&key).await;
    assert_eq!(standing.allotted, NanoUsd::ZERO);
}
