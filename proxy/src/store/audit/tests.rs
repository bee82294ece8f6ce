//! Goal: a trail that was tampered with is found, and the first row that is
//! wrong is named. Method: one change of the table a case, on a chain of four.

use chrono::DateTime;
use serde_json::json;

use super::{Entry, append, verify, verify::Chain};
use crate::key::{Metadata, fixture};
use crate::store::Store;
use crate::store::testing::{Database, on_both};

async fn write(store: &Store, entries: &[Entry]) {
    let mut write = store.begin_write().await.unwrap();
    for entry in entries {
        append(&mut write, entry).await.unwrap();
    }
    write.commit().await.unwrap();
}

fn entry(subject: &str) -> Entry {
    Entry {
        at: DateTime::UNIX_EPOCH,
        actor: "master".to_owned(),
        action: "key.update",
        subject: subject.to_owned(),
        before: Some(json!({"blocked": false})),
        after: None,
        vault_request_id: None,
    }
}

async fn broken_by(statement: &'static str) -> Chain {
    let database = Database::new().await;
    let store = database.open().await;
    write(&store, &[entry("key a"), entry("key b")]).await;
    write(&store, &[entry("key c"), entry("key d")]).await;
    let whole = verify(&store).await.unwrap();
    assert_eq!((whole.rows, whole.broken), (4, None));
    let mut change = store.begin_write().await.unwrap();
    sqlx::query(statement).execute(&mut *change).await.unwrap();
    change.commit().await.unwrap();
    verify(&store).await.unwrap()
}

on_both![
    the_first_row_that_was_tampered_with_is_named,
    a_trail_that_lost_its_end_has_another_head,
    a_row_of_a_key_tells_what_changed_and_no_secret,
];

async fn the_first_row_that_was_tampered_with_is_named() {
    for (statement, broken) in [
        ("UPDATE audit SET actor = 'x' WHERE id = 2", 2),
        ("UPDATE audit SET before_json = NULL WHERE id = 1", 1),
        ("UPDATE audit SET after_json = '' WHERE id = 4", 4),
        ("UPDATE audit SET at_us = 1 WHERE id = 3", 3),
        ("UPDATE audit SET vault_request_id = '' WHERE id = 3", 3),
        ("UPDATE audit SET hash = previous_hash WHERE id = 3", 3),
        ("DELETE FROM audit WHERE id = 2", 3),
        ("DELETE FROM audit WHERE id = 1", 2),
        ("UPDATE audit SET id = 9 WHERE id = 4", 9),
    ] {
        assert_eq!(
            broken_by(statement).await.broken,
            Some(broken),
            "{statement}"
        );
    }
}

async fn a_trail_that_lost_its_end_has_another_head() {
    let cut = broken_by("DELETE FROM audit WHERE id = 4").await;
    assert_eq!((cut.rows, cut.broken), (3, None));
    let whole = broken_by("UPDATE audit SET id = 4 WHERE id = 4").await;
    assert_eq!(whole.broken, None);
    assert_ne!(cut.head, whole.head);
}

async fn a_row_of_a_key_tells_what_changed_and_no_secret() {
    let database = Database::new().await;
    let store = database.open().await;
    let mut before = fixture("sk-secret-of-the-test");
    let named = json!({"vault_request_id": "r-1"});
    before.metadata = Metadata::from(named.as_object().unwrap());
    let mut after = before.clone();
    after.blocked = true;
    let change = (Some(&before), Some(&after));
    let entry = Entry::of_key(
        "master".to_owned(),
        "key.block",
        change,
        DateTime::UNIX_EPOCH,
    );
    let entry = entry.unwrap();
    write(&store, std::slice::from_ref(&entry)).await;
    let row = store.audit(&super::Filter::default(), first_page()).await;
    let row = row.unwrap().rows.remove(0);
    assert_eq!(row.subject, format!("key {}", before.hash));
    assert_eq!(row.vault_request_id.as_deref(), Some("r-1"));
    assert!(row.before.unwrap().contains(r#""blocked":false"#));
    let after = row.after.unwrap();
    assert!(after.contains(r#""blocked":true"#));
    assert!(!after.contains("sk-secret"));
    let nothing = Entry::of_key(entry.actor, "key.block", (None, None), DateTime::UNIX_EPOCH);
    assert!(nothing.is_none());
}

fn first_page() -> crate::store::Page {
    crate::store::Page { number: 1, size: 9 }
}
