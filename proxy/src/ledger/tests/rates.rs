//! Three processes that share a PostgreSQL: rates and calls at once, of a key or of
//! a team, are those of all together, all of a limit is there for one of them when the others are idle,
//! and nobody asks the store while its part lasts.

use super::give_back::listen;
use super::*;
use crate::key::{Quota, Rate, Rates};
use crate::ledger::rates::model::Books;
use crate::store::ledger::rates;

const REQUESTS: usize = Rate::Requests as usize;
const TOKENS: usize = Rate::Tokens as usize;
const SLOTS: usize = Rate::Slots as usize;

struct Three {
    bench: Bench,
    clock: Clock,
    ledgers: Vec<Ledger>,
}

impl Three {
    async fn new() -> Self {
        let bench = KIND.scope(Kind::Postgres, Bench::new()).await;
        // It stands still, so that no minute ends in the middle.
        let clock = Clock::manual(Utc::now());
        let mut ledgers = Vec::new();
        for _ in 0..3 {
            let store = bench.database.open().await;
            let opened = Ledger::open(&store, clock.clone(), &Tasks::new()).await;
            ledgers.push(opened.expect("ledger"));
        }
        for ledger in &ledgers {
            listen(&bench.store, ledger.clone()).await;
        }
        Self {
            bench,
            clock,
            ledgers,
        }
    }

    /// 200 calls at once, by all in turn; those that were admitted.
    async fn rush(&self, rates: &Rates, tokens: u64) -> Vec<Place> {
        let start = Arc::new(Barrier::new(200));
        let mut tasks = tokio::task::JoinSet::new();
        for ledger in self.ledgers.iter().cycle().take(200) {
            let (ledger, rates) = (ledger.clone(), rates.clone());
            let start = Arc::clone(&start);
            tasks.spawn(async move {
                start.wait().await;
                admit(&ledger, &rates, tokens).await
            });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    }

    /// Who was refused because another had what it did not use comes again.
    async fn all(&self, rates: &Rates, tokens: u64, most: usize) -> Vec<Place> {
        let mut admitted = self.rush(rates, tokens).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while admitted.len() < most {
            assert!(Instant::now() < deadline, "{}", admitted.len());
            for ledger in &self.ledgers {
                admitted.extend(admit(ledger, rates, tokens).await);
            }
        }
        admitted.extend(self.rush(rates, tokens).await);
        assert_eq!(admitted.len(), most);
        admitted
    }

    async fn rows(&self) -> Vec<(String, i64)> {
        sqlx::query_as("SELECT unit, taken FROM rate ORDER BY unit, minute")
            .fetch_all(self.bench.store.reader())
            .await
            .expect("rows")
    }
}

async fn admit(ledger: &Ledger, rates: &Rates, tokens: u64) -> Option<Place> {
    match ledger.admit(rates, tokens).await {
        Ok(place) => Some(place),
        Err(PlaceError::Exceeded(_)) => None,
        Err(PlaceError::StoreUnavailable) => panic!("the store is there"),
    }
}

fn limited(name: &str, limits: [(usize, u64); 1]) -> Rates {
    counted_by([quota(AccountId::Key(KeyHash::of(name)), limits)])
}

fn quota(account: AccountId, limits: [(usize, u64); 1]) -> (AccountId, Quota) {
    let mut all = [None; Rate::ALL.len()];
    for (at, limit) in limits {
        all[at] = Some(limit);
    }
    let quota = Quota {
        group: None,
        model: None,
        limits: all,
    };
    (account, quota)
}

fn counted_by<const N: usize>(quotas: [(AccountId, Quota); N]) -> Rates {
    Rates::from(quotas)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_a_teams_limits_are_those_of_all_its_keys_over_three_processes() {
    let three = Three::new().await;
    for (at, limit) in [(REQUESTS, 40), (SLOTS, 6)] {
        let team = AccountId::parse("team", "of four words, äh").expect("a team");
        let member = |name: &str| {
            let own = quota(AccountId::Key(KeyHash::of(name)), [(at, limit)]);
            counted_by([own, quota(team.clone(), [(at, limit)])])
        };
        let (first, second) = (member("sk-1"), member("sk-2"));
        let half = usize::try_from(limit / 2).expect("a few");
        let mut places = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        while places.len() < half {
            assert!(Instant::now() < deadline, "{}", places.len());
            places.extend(admit(&three.ledgers[places.len() % 3], &first, 1).await);
        }
        let rest = three.all(&second, 1, half).await;
        match three.ledgers[0].admit(&first, 1).await {
            Err(PlaceError::Exceeded(full)) => {
                assert_eq!((full.account, full.limit), (team, limit));
            }
            other => panic!("the team's limit is reached: {other:?}"),
        }
        drop((places, rest));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_sixty_requests_a_minute_are_sixty_over_three_processes() {
    let three = Three::new().await;
    for (round, name) in ["sk-1", "sk-2", "sk-3"].into_iter().enumerate() {
        let rates = limited(name, [(REQUESTS, 60)]);
        for place in three.all(&rates, 1, 60).await {
            place.settle(Some(1));
        }
        three.clock.advance(chrono::Duration::seconds(60));
        let next = three.all(&rates, 1, 60).await;
        assert_eq!(next.len(), 60, "round {round}: another minute");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_tokens_are_those_of_all_processes_and_come_back_where_they_are_not_used() {
    let three = Three::new().await;
    let rates = limited("sk-tokens", [(TOKENS, 1_000)]);
    let places = three.all(&rates, 100, 10).await;
    for place in places {
        place.settle(Some(40));
    }
    // 600 are left, wherever they were bound.
    assert_eq!(three.all(&rates, 200, 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b8_five_calls_at_once_are_five_over_three_processes() {
    let three = Three::new().await;
    let rates = limited("sk-slots", [(SLOTS, 5)]);
    for round in 0..5 {
        let places = three.all(&rates, 1, 5).await;
        assert_eq!(places.len(), 5, "round {round}");
    }
    // All of them are one process's while the others are idle.
    let mut places = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while places.len() < 5 {
        assert!(Instant::now() < deadline, "{}", places.len());
        places.extend(admit(&three.ledgers[1], &rates, 1).await);
    }
    drop(places);
    for ledger in &three.ledgers {
        ledger.drain().await;
    }
    assert_eq!(three.rows().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b8_slots_of_a_dead_process_come_free_when_it_is_buried() {
    let three = Three::new().await;
    let rates = limited("sk-dead", [(SLOTS, 5)]);
    let [one, two, _] = &three.ledgers[..] else {
        unreachable!("three")
    };
    let mut running = Vec::new();
    for _ in 0..5 {
        running.extend(admit(one, &rates, 1).await);
    }
    assert_eq!(running.len(), 5);
    assert!(admit(two, &rates, 1).await.is_none(), "all are in use");
    let dead = one.0.books().process().to_string();
    let mut write = three.bench.store.begin_batch().await.expect("begin");
    let bury = sqlx::query("DELETE FROM process WHERE id = $1").bind(dead);
    bury.execute(&mut *write).await.expect("buried");
    write.commit().await.expect("commit");
    assert_eq!(three.rows().await, []);
    let mut others = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while others.is_empty() {
        assert!(Instant::now() < deadline, "nothing came free");
        others.extend(admit(two, &rates, 1).await);
    }
    // It only slept: what runs there counts again, and it admits no more.
    let deadline = Instant::now() + Duration::from_secs(10);
    while three.rows().await[0].1 < 6 {
        assert!(Instant::now() < deadline, "{:?}", three.rows().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(one.admit(&rates, 1).await.is_err());
    drop(running);
    while three.rows().await[0].1 > 1 {
        assert!(Instant::now() < deadline, "{:?}", three.rows().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d1_a_part_lasts_while_the_store_is_away_and_then_nothing_is_admitted() {
    let three = Three::new().await;
    let rates = limited("sk-away", [(REQUESTS, 10_000)]);
    let one = &three.ledgers[0];
    // Busy enough to have some ahead.
    let deadline = Instant::now() + Duration::from_secs(10);
    let ahead = || {
        let left = one.left(&rates).counts[0][REQUESTS];
        (10_000 - left, three.rows())
    };
    loop {
        assert!(Instant::now() < deadline, "nothing was claimed ahead");
        let place = admit(one, &rates, 1).await.expect("room");
        place.settle(Some(1));
        let (used, rows) = ahead();
        let taken = rows.await[0].1;
        if u64::try_from(taken).expect("a number") > used + 5 {
            break;
        }
    }
    let mut away = three.bench.store.begin_batch().await.expect("begin");
    let lock = sqlx::query("LOCK TABLE rate IN EXCLUSIVE MODE");
    lock.execute(&mut *away).await.expect("lock");
    for _ in 0..5 {
        let admitted = tokio::time::timeout(Duration::from_secs(1), one.admit(&rates, 1));
        let place = admitted.await.expect("at once").expect("its part");
        place.settle(Some(1));
    }
    let mut places = Vec::new();
    let refused = loop {
        match one.admit(&rates, 1).await {
            Ok(place) => places.push(place),
            Err(refused) => break refused,
        }
        assert!(places.len() < 10_000, "no limit holds");
    };
    assert!(
        matches!(refused, PlaceError::StoreUnavailable),
        "{refused:?}"
    );
    drop(away);
}

/// The next number of a sequence that its seed repeats.
fn next(seed: &mut u64, below: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 11) % below
}

#[tokio::test]
async fn the_database_decides_as_the_model_that_the_state_machine_is_tested_on() {
    let bench = KIND.scope(Kind::Postgres, Bench::new()).await;
    let mut processes = Vec::new();
    for _ in 0..2 {
        let process = Uuid::new_v4();
        register(&bench.store, process).await.expect("registered");
        processes.push(process);
    }
    let (mut seed, mut books) = (0x9e37_79b9_7f4a_7c15, Books::default());
    for round in 0..200 {
        let process = next(&mut seed, 2) as usize;
        let asks = (0..1 + next(&mut seed, 3)).map(|place| Ask {
            account: AccountId::Key(KeyHash::of(&format!(
                "sk-{}",
                2 * place + next(&mut seed, 2)
            ))),
            model: (place == 2).then(|| Arc::from("m")),
            rate: [Rate::Slots, Rate::Tokens, Rate::ModelRequests][place as usize],
            minute: i64::try_from(place * next(&mut seed, 2)).expect("one"),
            limit: 100,
            returned: next(&mut seed, 30),
            debt: next(&mut seed, 10),
            held: next(&mut seed, 20),
            least: next(&mut seed, 20),
            demand: next(&mut seed, 30),
            ahead: next(&mut seed, 40),
        });
        let asks = asks.collect::<Vec<_>>();
        let found = rates::claim(&bench.store, processes[process], &asks).await;
        let expected = asks.iter().map(|ask| Some(books.claim(process, ask)));
        let found = found.expect("answered");
        assert_eq!(found, expected.collect::<Vec<_>>(), "{round}: {asks:?}");
    }
    let buried = sqlx::query("DELETE FROM process WHERE id = $1").bind(processes[0].to_string());
    let mut write = bench.store.begin_batch().await.expect("begin");
    buried.execute(&mut *write).await.expect("buried");
    write.commit().await.expect("commit");
    books.bury(0);
    for key in 0..2 {
        let ask = Ask {
            account: AccountId::Key(KeyHash::of(&format!("sk-{key}"))),
            model: None,
            rate: Rate::Slots,
            minute: 0,
            limit: 100,
            returned: 0,
            debt: 0,
            held: 3,
            least: 1,
            demand: 200,
            ahead: 0,
        };
        let of_dead = rates::claim(&bench.store, processes[0], std::slice::from_ref(&ask)).await;
        assert_eq!(of_dead.expect("answered"), [None]);
        let found = rates::claim(&bench.store, processes[1], std::slice::from_ref(&ask)).await;
        let expected = [Some(books.claim(1, &ask))];
        assert_eq!(found.expect("answered"), expected);
    }
    rates::forget(&bench.store, 3).await.expect("forgotten");
    let minutes: i64 = sqlx::query_scalar("SELECT count(*) FROM rate WHERE minute > 0")
        .fetch_one(bench.store.reader())
        .await
        .expect("count");
    assert_eq!(minutes, 0);
}
