//! The same promises where many keys draw on one account: nothing is held in
//! one account of a call and refused in another, and each account adds up.

use super::*;
use crate::key::SharedAccount;

fn shared(scope: &str, id: &str) -> SharedAccount {
    SharedAccount::parse(scope, id).expect("scope")
}

impl Bench {
    async fn shared(&self, scope: &str, id: &str, limit: Option<i64>) -> SharedAccount {
        let account = shared(scope, id);
        self.limit(&AccountId::Shared(account.clone()), limit).await;
        account
    }

    async fn spent(&self, account: &AccountId) -> (i64, i64) {
        let standing = self.standing_of(account).await;
        (standing.posted.nanos(), standing.allotted.nanos())
    }
}

on_both![
    b1_ten_keys_that_share_a_budget_of_ten_calls_admit_ten_every_time,
    b1_calls_that_their_own_key_refuses_take_nothing_from_the_others,
    a_refusal_names_the_account_and_frees_the_others_at_once,
    b3_a_crash_posts_what_was_allotted_in_each_account,
    b4_a_request_that_settles_twice_counts_once_in_each_account,
    a_limit_counts_at_once_however_the_change_ended,
    no_store_is_asked_while_an_allotment_lasts,
];

async fn b1_ten_keys_that_share_a_budget_of_ten_calls_admit_ten_every_time() {
    let bench = Bench::new().await;
    for round in 0..20 {
        let role = bench
            .shared("role", &format!("r{round}"), Some(1_000))
            .await;
        let entity = bench.shared("entity", &format!("e{round}"), None).await;
        let mut keys = Vec::new();
        for at in 0..10 {
            // Every other key has a cap of its own that alone would do.
            let own = (at % 2 == 0).then_some(1_000);
            let key = bench.key(&format!("sk-{round}-{at}"), own).await;
            keys.push(accounts(key, [role.clone(), entity.clone()]));
        }
        let admitted = rush_of(&bench.ledger, &keys, 100, 100).await;
        assert_eq!(admitted, 10, "round {round}");
        bench.ledger.drain().await;
        for account in [AccountId::Shared(role), AccountId::Shared(entity)] {
            assert_eq!(bench.spent(&account).await, (1_000, 0), "{round} {account}");
        }
        let mut own = 0;
        for key in &keys {
            let (posted, allotted) = bench.spent(&key[0]).await;
            assert_eq!(allotted, 0, "round {round}: a refused call left a hold");
            own += posted;
        }
        assert_eq!(own, 1_000, "round {round}");
    }
    bench.check().await;
}

async fn b1_calls_that_their_own_key_refuses_take_nothing_from_the_others() {
    let bench = Bench::new().await;
    for round in 0..20 {
        let role = bench
            .shared("role", &format!("r{round}"), Some(1_000))
            .await;
        let mut keys = Vec::new();
        for at in 0..10 {
            let key = bench.key(&format!("sk-{round}-{at}"), Some(100)).await;
            keys.push(accounts(key, [role.clone()]));
        }
        let admitted = rush_of(&bench.ledger, &keys, 100, 100).await;
        assert_eq!(admitted, 10, "round {round}: one a key");
    }
    bench.ledger.drain().await;
    bench.check().await;
}

async fn a_refusal_names_the_account_and_frees_the_others_at_once() {
    let bench = Bench::new().await;
    let key = bench.key("sk-own", Some(100)).await;
    let role = bench.shared("role", "r", Some(100)).await;
    let team = bench.shared("team", "t", Some(50)).await;
    let all = accounts(key, [role.clone(), team.clone()]);
    let refused = bench
        .ledger
        .hold(call_of(&all), NanoUsd::from_nanos(60))
        .await;
    let Err(HoldError::Exceeded { account, limit, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(account, AccountId::Shared(team));
    assert_eq!(limit.nanos(), 50);
    for account in &all[..] {
        assert_eq!(bench.spent(account).await, (0, 0), "{account}");
    }
    // What the refused call had set aside is free for another.
    let without_team = accounts(key, [role]);
    let held = bench
        .ledger
        .hold(call_of(&without_team), NanoUsd::from_nanos(100));
    held.await.expect("all of it is free").settle(cost(100));
    bench.ledger.drain().await;
    bench.check().await;
}

async fn b3_a_crash_posts_what_was_allotted_in_each_account() {
    let bench = Bench::new().await;
    let role = bench.shared("role", "r", Some(10_000)).await;
    let (first, second) = (
        accounts(bench.key("sk-1", Some(1_000)).await, [role.clone()]),
        accounts(bench.key("sk-2", None).await, [role.clone()]),
    );
    let amount = NanoUsd::from_nanos(300);
    let settled = bench.ledger.hold(call_of(&first), amount).await;
    settled.expect("fits").settle(cost(100));
    let mut open = Vec::new();
    for accounts in [&first, &second] {
        open.push(
            bench
                .ledger
                .hold(call_of(accounts), amount)
                .await
                .expect("fits"),
        );
    }
    bench.ledger.flush().await;
    let role = AccountId::Shared(role);
    assert_eq!(bench.spent(&role).await, (100, 600));
    let bench = bench.crash_holding(open).await;
    assert_eq!(bench.spent(&first[0]).await, (400, 0));
    assert_eq!(bench.spent(&second[0]).await, (300, 0));
    assert_eq!(
        bench.spent(&role).await,
        (700, 0),
        "as much as both may have cost"
    );
    bench.check().await;
    let bench = bench.crash().await;
    assert_eq!(bench.spent(&role).await, (700, 0), "once");
}

async fn b4_a_request_that_settles_twice_counts_once_in_each_account() {
    let bench = Bench::new().await;
    let role = bench.shared("role", "r", Some(1_000)).await;
    let all = accounts(bench.key("sk-twice", None).await, [role.clone()]);
    let first = call_of(&all);
    for _ in 0..2 {
        let held = bench.ledger.hold(first.clone(), NanoUsd::from_nanos(10));
        held.await.expect("fits").settle(cost(10));
        bench.ledger.flush().await;
    }
    let standing = bench.standing_of(&AccountId::Shared(role)).await;
    assert_eq!(standing.posted.nanos(), 10);
    bench.check().await;
}

async fn a_limit_counts_at_once_however_the_change_ended() {
    let bench = Bench::new().await;
    let role = AccountId::Shared(bench.shared("role", "r", Some(10)).await);
    let all = Arc::from([
        AccountId::Key(bench.key("sk-limit", None).await),
        role.clone(),
    ]);
    let amount = NanoUsd::from_nanos(50);
    assert!(bench.ledger.hold(call_of(&all), amount).await.is_err());
    let (ledger, changed) = (bench.ledger.clone(), role.clone());
    bench.limit(&role, Some(50)).await;
    // Whoever made the change dies between its commit and its answer.
    let dying = async move {
        let _refresh = ledger.refresh_on_drop(vec![changed]);
        panic!("on purpose");
    };
    assert!(Tasks::new().run::<()>(dying).await.is_err());
    bench.ledger.flush().await;
    let held = bench.ledger.hold(call_of(&all), amount).await;
    drop(held.expect("the new limit"));
    bench.limit(&role, Some(0)).await;
    bench.ledger.refresh_on_drop(vec![role]).done().await;
    // A call that costs nothing is not admitted by a spent account either.
    assert!(
        bench
            .ledger
            .hold(call_of(&all), NanoUsd::ZERO)
            .await
            .is_err()
    );
    bench.ledger.drain().await;
    bench.check().await;
}

async fn no_store_is_asked_while_an_allotment_lasts() {
    let bench = Bench::new().await;
    let role = bench.shared("role", "r", Some(1_000_000)).await;
    let all = accounts(bench.key("sk-busy", None).await, [role]);
    let amount = NanoUsd::from_nanos(50);
    // Busy enough to claim ahead.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let held = bench
            .ledger
            .hold(call_of(&all), amount)
            .await
            .expect("fits");
        held.settle(cost(20));
        bench.ledger.flush().await;
        if is_ahead(&bench.ledger, &all, amount) {
            break;
        }
        assert!(Instant::now() < deadline, "nothing was claimed ahead");
        tokio::task::yield_now().await;
    }
    // A claim could not succeed.
    let blocking = bench.block().await;
    let held = tokio::time::timeout(
        Duration::from_secs(1),
        bench.ledger.hold(call_of(&all), amount),
    );
    held.await.expect("at once").expect("fits").settle(cost(20));
    drop(blocking);
    bench.ledger.drain().await;
    bench.check().await;
}

fn is_ahead(ledger: &Ledger, accounts: &[AccountId], amount: NanoUsd) -> bool {
    let books = ledger.0.books();
    let has = |id| {
        books
            .get(id)
            .is_some_and(|one: &Account| one.allotted() >= amount)
    };
    accounts.iter().all(has)
}
