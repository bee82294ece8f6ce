//! Goal: a commit that failed after the disk had it counts once, and one that
//! failed before counts at all. Method: the writer as such a failure leaves it,
//! with and without the batch in a real store.

use std::sync::Arc;

use super::*;
use crate::key::KeyHash;
use crate::ledger::entry::{Amounts, Claim, NOTHING, Posting};
use crate::store::ledger::verify::verify;
use crate::store::ledger::{set_limit, standing};
use crate::store::testing::{Database, on_both};
use crate::store::usage::UsageRow;

fn posting(process: Uuid, account: &AccountId) -> Entry {
    let accounts = Arc::from([account.clone()]);
    Entry::Post(Box::new(Posting {
        row: UsageRow::of_test(accounts, NanoUsd::from_nanos(40)),
        process,
        releases: amounts(100),
    }))
}

fn claim(process: Uuid, account: &AccountId, nanos: i64) -> Entry {
    Entry::Claim(Box::new(Claim {
        process,
        accounts: Arc::from([account.clone()]),
        least: amounts(nanos),
        ahead: NOTHING,
    }))
}

fn amounts(nanos: i64) -> Amounts {
    let mut amounts = NOTHING;
    amounts[0] = NanoUsd::from_nanos(nanos);
    amounts
}

on_both![a_batch_of_unknown_fate_counts_exactly_once,];

async fn a_batch_of_unknown_fate_counts_exactly_once() {
    for reached_the_disk in [true, false] {
        let database = Database::new().await;
        let store = database.open().await;
        let key = AccountId::Key(KeyHash::of("sk-unknown"));
        let mut write = store.begin_write().await.expect("begin");
        let limit = Some(NanoUsd::from_nanos(1_000));
        set_limit(&mut write, &key, limit).await.expect("account");
        write.commit().await.expect("commit");
        let process = Uuid::new_v4();
        register(&store, process).await.expect("process");
        apply(&store, process, 1, &[claim(process, &key, 100)])
            .await
            .expect("claim");

        let post = posting(process, &key);
        if reached_the_disk {
            let entries = [post.clone(), claim(process, &key, 70)];
            apply(&store, process, 2, &entries).await.expect("batch");
        }
        let (_commands, receiver) = mpsc::unbounded_channel();
        let mut writer = Writer::new(Weak::new(), store.clone(), receiver, process);
        writer.batch = 2;
        writer.owed.push(post);
        writer.unknown = Some(Unknown {
            owed: 1,
            granted: vec![(key.clone(), NanoUsd::from_nanos(70))],
        });
        writer.write(Vec::new()).await;

        assert!(writer.owed.is_empty());
        let standing = standing(&store, &key)
            .await
            .expect("read")
            .expect("account");
        assert_eq!(standing.posted.nanos(), 40, "{reached_the_disk}");
        assert_eq!(standing.allotted, NanoUsd::ZERO, "{reached_the_disk}");
        let found = verify(&store).await.expect("verify");
        assert_eq!(found.differences, []);
    }
}
