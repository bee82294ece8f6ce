//! Three processes that share a PostgreSQL: never more than a budget allows, and
//! all of it, because what one of them does not use goes to who asks.

use std::sync::atomic::AtomicI64;

use super::*;
use crate::key::SharedAccount;
use crate::ledger::entry::{Claim, Entry, Outcome};
use crate::store::changes::{Heard, Listener};
use crate::store::ledger::apply;

/// The first of them is the bench's own.
struct Three {
    bench: Bench,
    ledgers: Vec<Ledger>,
}

impl Three {
    async fn new() -> Self {
        let bench = KIND.scope(Kind::Postgres, Bench::new()).await;
        let mut ledgers = vec![bench.ledger.clone()];
        for _ in 0..2 {
            ledgers.push(open(&bench.database).await.1);
        }
        for ledger in &ledgers {
            listen(&bench.store, ledger.clone()).await;
        }
        Self { bench, ledgers }
    }

    async fn drain(&self) {
        for ledger in &self.ledgers {
            ledger.drain().await;
        }
    }

    /// Held by calls under way, of all three.
    fn held(&self, account: &AccountId) -> NanoUsd {
        let held = self.ledgers.iter().map(|ledger| {
            let books = ledger.0.books();
            books.get(account).map_or(NanoUsd::ZERO, Account::held)
        });
        held.fold(NanoUsd::ZERO, NanoUsd::saturating_add)
    }
}

pub(super) async fn listen(store: &Store, ledger: Ledger) {
    let listener = Listener::connect(store).await.expect("connected");
    let mut listener = listener.expect("a shared store");
    Tasks::new().spawn_service(async move {
        while let Ok(heard) = listener.heard().await {
            if let Heard::Allotment(word) = heard {
                ledger.heard(&word);
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_what_another_process_does_not_use_is_there_before_a_refusal() {
    let three = Three::new().await;
    let key = three.bench.key("sk-idle", Some(1_000)).await;
    let account = AccountId::Key(key);
    let [one, two, _] = &three.ledgers[..] else {
        unreachable!("three")
    };
    one.load(&account).await.expect("loaded");
    // Claimed ahead, and used by nobody.
    let process = one.0.books().process();
    let mut least = entry::NOTHING;
    least[0] = NanoUsd::from_nanos(900);
    let claim = Claim {
        process,
        accounts: accounts(key, []),
        least,
        ahead: entry::NOTHING,
    };
    let entries = [Entry::Claim(Box::new(claim))];
    let granted = apply(&three.bench.store, process, 1, &entries).await;
    let Outcome::Granted(grants) = &granted.expect("applied")[0] else {
        panic!("refused");
    };
    {
        let mut books = one.0.books();
        let known = books.get_mut(&account).expect("loaded");
        known.granted(grants[0].amount, NanoUsd::ZERO, grants[0].standing);
    }
    let held = two.hold(call(key), NanoUsd::from_nanos(1_000)).await;
    held.expect("the idle allotment was given back")
        .settle(cost(1_000));
    three.drain().await;
    assert_eq!(three.bench.standing(&key).await.posted.nanos(), 1_000);
    three.bench.check().await;
}

/// A budget of ten calls and 200 of them at once: ten, and no more at any moment.
async fn ten_of_two_hundred(rounds: usize) {
    let three = Three::new().await;
    for round in 0..rounds {
        let bench = &three.bench;
        let key = bench.key(&format!("sk-{round}"), Some(1_000)).await;
        let shared = |scope| SharedAccount::parse(scope, &round.to_string()).expect("scope");
        let (role, team) = (shared("role"), shared("team"));
        for budget in [&role, &team] {
            let budget = AccountId::Shared(budget.clone());
            bench.limit(&budget, Some(1_000)).await;
        }
        // Not everyone names the two in the same order.
        let orders = [
            accounts(key, [role.clone(), team.clone()]),
            accounts(key, [team, role.clone()]),
            accounts(key, [role.clone()]),
        ];
        let started = Instant::now();
        let rushes = three
            .ledgers
            .iter()
            .zip(&orders)
            .map(async |(ledger, accounts)| {
                rush_of(ledger, std::slice::from_ref(accounts), 100, 100).await
            });
        let mut admitted = together(rushes).await;
        assert!(admitted <= 10, "round {round}: {admitted}");
        // Who was refused because another held what it could not use comes again.
        while admitted < 10 {
            assert!(
                started.elapsed() < Duration::from_secs(5),
                "round {round}: {admitted}"
            );
            for (ledger, accounts) in three.ledgers.iter().zip(&orders) {
                let held = ledger.hold(call_of(accounts), NanoUsd::from_nanos(100));
                if let Ok(hold) = held.await {
                    hold.settle(cost(100));
                    admitted += 1;
                }
            }
        }
        three.drain().await;
        let standing = bench.standing_of(&AccountId::Shared(role)).await;
        let found = (standing.posted.nanos(), standing.allotted.nanos());
        assert_eq!(found, (1_000, 0), "round {round}");
    }
    three.bench.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_three_processes_admit_ten_of_a_budget_of_ten() {
    ten_of_two_hundred(20).await;
}

mod slow_rounds {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn b1_three_processes_admit_ten_of_a_budget_of_ten_200_times() {
        super::ten_of_two_hundred(200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_three_processes_never_go_over_at_a_third_of_the_hold() {
    let three = Three::new().await;
    for round in 0..20 {
        let key = three.bench.key(&format!("sk-{round}"), Some(1_000)).await;
        let rushes = three.ledgers.iter().map(|ledger| rush(ledger, key, 99, 33));
        let admitted = together(rushes).await;
        assert!((10..=30).contains(&admitted), "round {round}: {admitted}");
        three.drain().await;
        let standing = three.bench.standing(&key).await;
        let posted = i64::try_from(admitted).expect("a few") * 33;
        let found = (standing.posted.nanos(), standing.allotted.nanos());
        assert_eq!(found, (posted, 0), "round {round}");
    }
    three.bench.check().await;
}

/// Callers at full speed until the budget is spent: what is left of it at the
/// first refusal is less than a thousandth.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_a_thousand_dollars_at_full_speed_are_used_before_the_first_refusal() {
    const USD: i64 = 1_000_000_000;
    let three = Arc::new(Three::new().await);
    let key = three.bench.key("sk-rich", Some(1_000 * USD)).await;
    let account = AccountId::Key(key);
    let at_first_refusal = Arc::new(Mutex::new(None));
    let settled = Arc::new(AtomicI64::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..30 {
        let (three, account) = (Arc::clone(&three), account.clone());
        let (first, settled) = (Arc::clone(&at_first_refusal), Arc::clone(&settled));
        callers.spawn(async move {
            let ledger = &three.ledgers[number % 3];
            loop {
                let held = ledger.hold(call(key), NanoUsd::from_nanos(USD / 10)).await;
                match held {
                    Ok(hold) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        hold.settle(cost(USD / 100 * 9));
                        settled.fetch_add(USD / 100 * 9, Ordering::SeqCst);
                    }
                    Err(HoldError::Exceeded { .. }) => {
                        // In this order no call counts twice.
                        let settled = settled.load(Ordering::SeqCst);
                        let used = settled + three.held(&account).nanos();
                        first.lock().expect("lock").get_or_insert(used);
                        return;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    callers.join_all().await;
    let used = at_first_refusal.lock().expect("lock").expect("refused");
    assert!(used <= 1_000 * USD, "{used}");
    assert!(used >= 999 * USD, "{used}");
    three.drain().await;
    let posted = three.bench.standing(&key).await.posted.nanos();
    assert!((999 * USD..=1_000 * USD).contains(&posted), "{posted}");
    three.bench.check().await;
}

/// All at the same time.
async fn together(rushes: impl Iterator<Item = impl Future<Output = usize>>) -> usize {
    let [one, two, three] = <[_; 3]>::try_from(rushes.collect::<Vec<_>>())
        .ok()
        .expect("three");
    let (one, two, three) = tokio::join!(one, two, three);
    one + two + three
}
