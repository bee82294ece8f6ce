//! What a call holds while it waits for the rest makes nobody else refused, unless
//! it keeps it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use super::*;
use crate::key::SharedAccount;
use crate::ledger::entry::Entry;

const LIMIT: i64 = 80;
const FREE: i64 = 30;
const NEED: i64 = 60;

/// An account of which this process has something free, and two keys that share
/// it, of which the first has too little of its own for a call.
struct Scene {
    bench: Bench,
    shared: AccountId,
    poor: Arc<[AccountId]>,
    rich: Arc<[AccountId]>,
}

impl Scene {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let role = SharedAccount::parse("role", "r").expect("scope");
        let shared = AccountId::Shared(role.clone());
        bench.limit(&shared, Some(LIMIT)).await;
        let poor = accounts(bench.key("sk-poor", Some(10)).await, [role.clone()]);
        let rich = accounts(bench.key("sk-rich", None).await, [role]);
        for key in [&poor, &rich] {
            bench.ledger.positions(key).await.expect("loaded");
        }
        let scene = Self {
            bench,
            shared,
            poor,
            rich,
        };
        scene.claim_ahead().await;
        scene
    }

    /// As a busy account does.
    async fn claim_ahead(&self) {
        let process = self.bench.ledger.0.books().process();
        let mut least = entry::NOTHING;
        least[0] = NanoUsd::from_nanos(FREE);
        let claim = entry::Claim {
            process,
            accounts: Arc::from([self.shared.clone()]),
            least,
            ahead: entry::NOTHING,
        };
        let batch = store::ledger::process::applied_batch(&self.bench.store, process).await;
        let batch = batch.expect("read").expect("registered");
        let entries = [Entry::Claim(Box::new(claim))];
        store::ledger::apply(&self.bench.store, process, batch, &entries)
            .await
            .expect("applied");
        let standing = self.bench.standing_of(&self.shared).await;
        let mut books = self.bench.ledger.0.books();
        let account = books.get_mut(&self.shared).expect("loaded");
        account.granted(NanoUsd::from_nanos(FREE), NanoUsd::ZERO, standing);
    }

    fn hold(&self, key: &Arc<[AccountId]>) -> impl Future<Output = Result<Hold, HoldError>> {
        let ledger = self.bench.ledger.clone();
        let call = call_of(key);
        async move { ledger.hold(call, NanoUsd::from_nanos(NEED)).await }
    }

    fn take(&self, key: &[AccountId]) -> TakeAll {
        let now = self.bench.ledger.0.now();
        self.bench
            .ledger
            .0
            .books()
            .take(key, NanoUsd::from_nanos(NEED), now)
    }

    /// Nothing is left of anything that was tried.
    async fn check(&self) {
        self.bench.ledger.drain().await;
        let standing = self.bench.standing_of(&self.shared).await;
        assert_eq!(standing.allotted, NanoUsd::ZERO);
        self.bench.check().await;
        let books = self.bench.ledger.0.books();
        for id in self.poor.iter().chain(self.rich.iter()) {
            let account = books.get(id).expect("loaded");
            assert_eq!(account.held(), NanoUsd::ZERO, "{id}");
            assert_eq!(account.pending(), NanoUsd::ZERO, "{id}");
        }
    }
}

/// Lets it go on until it waits.
async fn begin<F: Future>(future: &mut Pin<&mut F>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// One thread: both claims are queued before the writer sees either. The one that
/// is refused does not even get to know before the other has been answered.
#[tokio::test]
async fn b1_a_claim_of_the_same_batch_is_not_refused_for_what_goes_again() {
    let scene = Scene::new().await;
    let (mut poor, mut rich) = (pin!(scene.hold(&scene.poor)), pin!(scene.hold(&scene.rich)));
    begin(&mut poor).await;
    begin(&mut rich).await;
    let admitted = rich.await.expect("it fits once the other is refused");
    let refused = poor.await.expect_err("too little of its own");
    assert!(matches!(refused, HoldError::Exceeded { account, .. } if account == scene.poor[0]));
    drop(admitted);
    scene.check().await;
}

on_both![
    b1_a_call_waits_for_what_another_may_give_up,
    b1_a_call_is_refused_once_another_keeps_what_it_holds,
];

async fn b1_a_call_waits_for_what_another_may_give_up() {
    let scene = Scene::new().await;
    // Taken, and its claim not yet with the writer.
    let TakeAll::Short(short) = scene.take(&scene.poor) else {
        panic!("something is free");
    };
    let process = scene.bench.ledger.0.books().process();
    let shared = &scene.bench.ledger.0;
    let partial = Reserved::partial(shared, &scene.poor, short.held, process);
    let mut rich = pin!(scene.hold(&scene.rich));
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut rich).await;
    assert!(waited.is_err(), "refused for what may go again: {waited:?}");
    drop(partial);
    drop(rich.await.expect("it fits now"));
    scene.check().await;
}

async fn b1_a_call_is_refused_once_another_keeps_what_it_holds() {
    let scene = Scene::new().await;
    let (mut first, mut second) = (pin!(scene.hold(&scene.rich)), pin!(scene.hold(&scene.rich)));
    begin(&mut first).await;
    begin(&mut second).await;
    let (first, second) = tokio::join!(first, second);
    let admitted = [first.is_ok(), second.is_ok()];
    assert_eq!(admitted.into_iter().filter(|one| *one).count(), 1);
    drop((first, second));
    scene.check().await;
}
