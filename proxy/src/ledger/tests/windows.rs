//! Budgets that count from zero again: a call belongs to the window that it was
//! admitted in, and each window adds up by itself.

use chrono::DateTime;

use super::*;
use crate::key::{Period, SharedAccount};

const BUDGET: i64 = 100;

struct Scene {
    bench: Bench,
    clock: Clock,
    budget: SharedAccount,
}

impl Scene {
    async fn new(start: &str, duration: &str) -> Self {
        let database = Database::new().await;
        let (store, ledger) = open(&database).await;
        drop(ledger);
        let clock = Clock::manual(at(start));
        let ledger = Ledger::open(&store, clock.clone(), &Tasks::new())
            .await
            .expect("ledger");
        let scene = Self {
            bench: Bench {
                database,
                store,
                ledger,
            },
            clock,
            budget: SharedAccount::parse("role", "r").expect("scope"),
        };
        scene.define(BUDGET, Some(duration)).await;
        scene
    }

    /// As `admin` does.
    async fn define(&self, limit: i64, duration: Option<&str>) {
        let period = duration.map(|text| Period::parse(text).expect("duration"));
        let mut write = self.bench.store.begin_write().await.expect("begin");
        let (limit, now) = (Some(NanoUsd::from_nanos(limit)), self.clock.now());
        let defined =
            store::ledger::window::define(&mut write, &self.budget, limit, period, now).await;
        let changed = defined.expect("defined");
        assert!(!changed.is_empty(), "it is another definition");
        let changed = self.bench.ledger.refresh_on_drop(changed);
        write.commit().await.expect("commit");
        changed.done().await;
    }

    async fn sharer(&self, name: &str) -> Arc<[AccountId]> {
        accounts(self.bench.key(name, None).await, [self.budget.clone()])
    }

    async fn hold(&self, key: &Arc<[AccountId]>, amount: i64) -> Result<Hold, HoldError> {
        let amount = NanoUsd::from_nanos(amount);
        self.bench.ledger.hold(call_of(key), amount).await
    }

    fn to(&self, moment: &str) {
        self.clock.advance(at(moment) - self.clock.now());
    }

    /// Posted and allotted of the window that this moment lies in.
    async fn books(&self, duration: &str, moment: &str) -> (i64, i64) {
        let period = Period::parse(duration).expect("duration");
        let window = period.window(at(moment)).expect("window");
        let account = AccountId::Shared(self.budget.during(window));
        let standing = self.bench.standing_of(&account).await;
        (standing.posted.nanos(), standing.allotted.nanos())
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

on_both![
    b5_a_spent_budget_admits_again_when_its_window_ends_and_not_before,
    b5_a_call_that_settles_after_the_reset_is_charged_to_the_window_before,
    b5_a_crash_posts_each_windows_allotment_in_it,
    another_definition_counts_at_once_for_every_sharer,
    b1_two_hundred_calls_that_open_a_window_admit_ten_every_time,
    the_accounts_of_a_window_are_made_once_a_key,
    a_definition_also_counts_in_a_window_that_another_clock_has_begun,
];

async fn a_definition_also_counts_in_a_window_that_another_clock_has_begun() {
    let before = "2026-11-21T23:59:59.999Z";
    let scene = Scene::new(before, "1d").await;
    let key = scene.sharer("sk-ahead").await;
    scene.to("2026-11-22T00:00:00Z");
    let hold = scene.hold(&key, 100).await.expect("opens the window");
    drop(hold);
    // Whose clock is behind defines it in the window before.
    scene.to(before);
    scene.define(BUDGET + 50, Some("1d")).await;
    scene.to("2026-11-22T00:00:00Z");
    let hold = scene.hold(&key, 150).await.expect("the new limit");
    drop(hold);
    scene.to(before);
    scene.define(BUDGET - 50, Some("1d")).await;
    scene.to("2026-11-22T00:00:00Z");
    assert!(scene.hold(&key, 51).await.is_err(), "lowered likewise");
}

async fn b5_a_spent_budget_admits_again_when_its_window_ends_and_not_before() {
    for (duration, start, before, after) in [
        (
            "1d",
            "2026-11-21T00:00:00Z",
            "2026-11-21T23:59:59.999999Z",
            "2026-11-22T00:00:00Z",
        ),
        (
            "24h",
            "2026-12-31T12:00:00Z",
            "2026-12-31T23:59:59Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            "1d",
            "2028-02-28T12:00:00Z",
            "2028-02-28T23:59:59Z",
            "2028-02-29T00:00:00Z",
        ),
        (
            "1mo",
            "2028-02-01T12:00:00Z",
            "2028-02-29T23:59:59Z",
            "2028-03-01T00:00:00Z",
        ),
        (
            "30d",
            "2027-02-01T12:00:00Z",
            "2027-02-28T23:59:59Z",
            "2027-03-01T00:00:00Z",
        ),
        (
            "30d",
            "2026-12-01T00:00:00Z",
            "2026-12-31T23:59:59Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            "7d",
            "2026-11-21T09:00:00Z",
            "2026-11-22T23:59:59Z",
            "2026-11-23T00:00:00Z",
        ),
        (
            "5s",
            "2026-11-21T09:00:01Z",
            "2026-11-21T09:00:04.9Z",
            "2026-11-21T09:00:05Z",
        ),
    ] {
        spend_and_wait(duration, start, before, after).await;
    }
}

async fn spend_and_wait(duration: &str, start: &str, before: &str, after: &str) {
    let scene = Scene::new(start, duration).await;
    let (first, second) = (scene.sharer("sk-1").await, scene.sharer("sk-2").await);
    let held = scene.hold(&first, 60).await.expect("fits");
    held.settle(cost(60));
    scene.to(before);
    for key in [&first, &second] {
        let refused = scene.hold(key, 60).await;
        let Err(HoldError::Exceeded { account, spent, .. }) = refused else {
            panic!("{duration} {before}: {refused:?}");
        };
        let AccountId::Shared(account) = account else {
            panic!("{account}");
        };
        assert_eq!(
            account.window.expect("a window").end,
            at(after),
            "{duration}"
        );
        assert_eq!(spent.nanos(), 60);
    }
    scene.to(after);
    let held = scene.hold(&second, 60).await.expect("a new window");
    held.settle(cost(60));
    assert!(scene.hold(&first, 60).await.is_err(), "{duration}: shared");
    scene.bench.ledger.drain().await;
    assert_eq!(scene.books(duration, before).await, (60, 0), "{duration}");
    assert_eq!(scene.books(duration, after).await, (60, 0), "{duration}");
    scene.bench.check().await;
}

async fn b5_a_call_that_settles_after_the_reset_is_charged_to_the_window_before() {
    let (before, after) = ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z");
    let scene = Scene::new(before, "1mo").await;
    let key = scene.sharer("sk-late").await;
    let late = scene.hold(&key, 90).await.expect("fits");
    scene.to(after);
    let now = scene.hold(&key, 100).await.expect("all of the new window");
    late.settle(cost(80));
    now.settle(cost(30));
    let again = scene.hold(&key, 70).await.expect("what is left of it");
    drop(again);
    assert!(scene.hold(&key, 71).await.is_err());
    scene.bench.ledger.drain().await;
    assert_eq!(scene.books("1mo", before).await, (80, 0));
    assert_eq!(scene.books("1mo", after).await, (30, 0));
    assert_eq!(scene.bench.standing_of(&key[0]).await.posted.nanos(), 110);
    scene.bench.check().await;
}

async fn b5_a_crash_posts_each_windows_allotment_in_it() {
    let (before, after) = ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z");
    let scene = Scene::new(before, "30d").await;
    let key = scene.sharer("sk-crash").await;
    let mut late = scene.hold(&key, 90).await.expect("fits");
    scene.to(after);
    let mut now = scene.hold(&key, 40).await.expect("fits");
    for sent in [&mut late, &mut now] {
        sent.mark_sent().await.unwrap();
    }
    let Scene {
        bench,
        clock,
        budget,
    } = scene;
    let bench = bench.crash_holding((late, now)).await;
    let scene = Scene {
        bench,
        clock,
        budget,
    };
    assert_eq!(scene.books("30d", before).await, (90, 0));
    assert_eq!(scene.books("30d", after).await, (40, 0));
    scene.bench.check().await;
}

async fn another_definition_counts_at_once_for_every_sharer() {
    let scene = Scene::new("2026-11-21T09:00:00Z", "1d").await;
    let keys = [scene.sharer("sk-1").await, scene.sharer("sk-2").await];
    let admitted = async |amount| {
        let mut admitted = [false; 2];
        for (key, admitted) in keys.iter().zip(&mut admitted) {
            *admitted = scene.hold(key, amount).await.is_ok();
        }
        admitted
    };
    let held = scene.hold(&keys[0], 100).await.expect("fits");
    held.settle(cost(100));
    assert_eq!(admitted(1).await, [false; 2]);
    scene.define(150, Some("1d")).await;
    assert_eq!(admitted(50).await, [true; 2]);
    assert_eq!(admitted(51).await, [false; 2], "what was spent stays");
    scene.define(150, Some("1h")).await;
    assert_eq!(admitted(150).await, [true; 2], "another window");
    scene.define(20, None).await;
    assert_eq!(admitted(20).await, [true; 2]);
    assert_eq!(admitted(21).await, [false; 2]);
    scene.define(120, Some("1d")).await;
    assert_eq!(admitted(20).await, [true; 2], "the first window again");
    assert_eq!(admitted(21).await, [false; 2]);
    // The next window begins with the limit of now.
    scene.to("2026-11-22T00:00:00Z");
    assert_eq!(admitted(120).await, [true; 2]);
    assert_eq!(admitted(121).await, [false; 2]);
    scene.bench.ledger.drain().await;
    scene.bench.check().await;
}

async fn b1_two_hundred_calls_that_open_a_window_admit_ten_every_time() {
    let scene = Scene::new("2026-11-21T09:00:00Z", "1h").await;
    let keys = [scene.sharer("sk-1").await, scene.sharer("sk-2").await];
    for round in 0..20 {
        let admitted = rush_of(&scene.bench.ledger, &keys, 10, 10).await;
        assert_eq!(admitted, 10, "round {round}");
        scene.clock.advance(chrono::TimeDelta::hours(1));
    }
    scene.bench.ledger.drain().await;
    scene.bench.check().await;
}

async fn the_accounts_of_a_window_are_made_once_a_key() {
    let scene = Scene::new("2026-11-21T09:00:00Z", "1h").await;
    let key = scene.sharer("sk-1").await;
    let current = async || scene.bench.ledger.current(&key).await.expect("accounts");
    let first = current().await;
    scene.to("2026-11-21T09:59:59Z");
    assert!(Arc::ptr_eq(&first, &current().await));
    scene.to("2026-11-21T10:00:00Z");
    let next = current().await;
    assert_ne!(first, next);
    scene.define(BUDGET, None).await;
    assert!(Arc::ptr_eq(&key, &current().await), "nothing to remember");
}
