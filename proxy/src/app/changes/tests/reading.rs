//! Goal: whoever reads the changes misses none, whatever happens to a read or to
//! the store between two.

use super::on_postgres;
use crate::app::testing::Gateway;
use crate::store::Store;
use crate::store::changes::News;

async fn run(store: &Store, statement: &'static str) {
    let mut write = store.begin_write().await.unwrap();
    sqlx::query(statement).execute(&mut *write).await.unwrap();
    write.commit().await.unwrap();
}

#[tokio::test]
async fn c1_a_read_that_ends_half_way_loses_nothing() {
    on_postgres(async {
        let gateway = Gateway::start().await;
        let store = &gateway.state.store;
        let mut changes = store.changes().await.unwrap().expect("a shared store");
        let run = async |statement| run(store, statement).await;
        run("ALTER TABLE change ALTER corrected_nanousd DROP NOT NULL").await;
        // The second can't be read.
        run("INSERT INTO change (scope, subject, corrected_nanousd)
             VALUES ('role', 'one', 0), ('role', 'two', NULL)")
        .await;
        for _ in 0..2 {
            assert!(changes.next().await.is_err());
        }
        run("UPDATE change SET corrected_nanousd = 0").await;
        let News::Changes(read) = changes.next().await.unwrap() else {
            panic!("nothing was forgotten");
        };
        let accounts = read.into_iter().filter_map(|change| change.account);
        let subjects = accounts.map(|account| account.subject());
        assert_eq!(subjects.collect::<Vec<_>>(), ["one", "two"]);
    })
    .await;
}

/// As after a failover to a standby that had not heard of the last changes.
#[tokio::test]
async fn c1_changes_that_a_failover_has_lost_hide_no_later_ones() {
    on_postgres(async {
        let gateway = Gateway::start().await;
        let store = &gateway.state.store;
        let run = async |statement| run(store, statement).await;
        let one = "INSERT INTO change (scope, subject) VALUES ('role', 'one')";
        run(one).await;
        let mut changes = store.changes().await.unwrap().expect("a shared store");
        run(one).await;
        run(one).await;
        let read = changes.next().await.unwrap();
        assert!(matches!(read, News::Changes(all) if all.len() == 2));
        for lost in ["DELETE FROM change WHERE id > 1", "DELETE FROM change"] {
            run(lost).await;
            assert!(
                matches!(changes.next().await.unwrap(), News::Anything),
                "{lost}"
            );
            let read = changes.next().await.unwrap();
            assert!(matches!(read, News::Changes(none) if none.is_empty()));
        }
        run("ALTER TABLE change ALTER id RESTART").await;
        run(one).await;
        let read = changes.next().await.unwrap();
        assert!(
            matches!(read, News::Changes(all) if all.len() == 1),
            "a low number"
        );
    })
    .await;
}
