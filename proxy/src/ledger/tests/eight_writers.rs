//! Eight processes write to the same two accounts of one PostgreSQL as fast as
//! they can: nobody waits for another in a circle, and the sum is exact.

use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::key::SharedAccount;

const WRITERS: usize = 8;
const CALLERS: usize = 25;
const CALLS: i64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d5_eight_writers_on_one_key_and_team_never_deadlock() {
    let bench = KIND.scope(Kind::Postgres, Bench::new()).await;
    let key = bench.key("sk-hot", Some(1_000_000_000)).await;
    let shared = |scope| SharedAccount::parse(scope, "hot").expect("scope");
    let (role, team) = (shared("role"), shared("team"));
    for budget in [&role, &team] {
        let budget = AccountId::Shared(budget.clone());
        bench.limit(&budget, Some(1_000_000_000)).await;
    }
    // Not everyone names the two in the same order.
    let orders = [
        accounts(key, [role.clone(), team.clone()]),
        accounts(key, [team.clone(), role.clone()]),
    ];
    let mut processes = Vec::new();
    let mut callers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, ledger) = open(&bench.database).await;
        for _ in 0..CALLERS {
            callers.spawn(settle_many(ledger.clone(), Arc::clone(&orders[writer % 2])));
        }
        processes.push((store, ledger));
    }
    let posted: i64 = callers.join_all().await.into_iter().sum();
    for (store, ledger) in processes {
        ledger.drain().await;
        ledger.leave().await.expect("left");
        // A connection says what it met when it ends.
        store.close().await;
    }
    for account in [
        AccountId::Key(key),
        AccountId::Shared(role),
        AccountId::Shared(team),
    ] {
        let standing = bench.standing_of(&account).await;
        let found = (standing.posted.nanos(), standing.allotted.nanos());
        assert_eq!(found, (posted, 0), "{account}");
    }
    let calls: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM usage")
        .fetch_one(bench.store.reader())
        .await
        .expect("counted");
    assert_eq!(
        calls,
        CALLS * i64::try_from(WRITERS * CALLERS).expect("small")
    );
    bench.check().await;
    assert_eq!(deadlocks(&bench.database.url).await, 0);
}

async fn settle_many(ledger: Ledger, accounts: Arc<[AccountId]>) -> i64 {
    let mut settled = 0;
    for call in 1..=CALLS {
        let held = ledger.hold(call_of(&accounts), NanoUsd::from_nanos(100));
        held.await.expect("fits").settle(cost(call));
        settled += call;
    }
    settled
}

/// Of this database since it was made.
async fn deadlocks(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("connected");
    sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(&mut connection)
        .await
        .expect("counted")
}
