//! Goal: with a pepper, what is written into the database past the gateway is no
//! key. Method: rows as a thief with a database password would write them.

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{Gateway, MASTER, on_both, text};
use crate::{
    key::{KeyHash, Seals},
    secret::Secret,
};

const PEPPER: &str = "an old pepper of 32 characters..";
const PLANTED: &str = "sk-QJ7ZAaPj16abR07BqixA7AZm4tVw9cXu";

on_both![
    a_key_that_is_planted_in_the_database_does_not_work,
    keys_from_before_the_pepper_are_sealed_when_they_change,
];

async fn gateway(refuses_unsealed: bool) -> Gateway {
    let pepper = Secret::new(PEPPER.to_owned());
    let seals = Seals::parse(&pepper, refuses_unsealed).unwrap();
    Gateway::start_with(|config| config.seals = seals).await
}

async fn run(gateway: &Gateway, statement: String) {
    let mut write = gateway.state.store.begin_write().await.unwrap();
    let done = sqlx::query(AssertSqlSafe(statement));
    done.execute(&mut *write).await.unwrap();
    write.commit().await.unwrap();
}

async fn stored(gateway: &Gateway, key: &str) -> (i64, bool) {
    let row = sqlx::query_as("SELECT hash_version, seal FROM keys WHERE hash = $1");
    let row = row.bind(KeyHash::of(key).to_string());
    let (version, seal): (i64, Option<String>) =
        row.fetch_one(gateway.state.store.reader()).await.unwrap();
    (version, seal.is_some())
}

/// A row for the planted key, with this seal.
fn planted(seal: &str) -> String {
    let hash = KeyHash::of(PLANTED);
    format!(
        "INSERT INTO keys (hash, key_name, created_at_us, updated_at_us, hash_version, seal)
         SELECT '{hash}', 'sk-...', created_at_us, updated_at_us, 2, {seal} FROM keys LIMIT 1"
    )
}

async fn a_key_that_is_planted_in_the_database_does_not_work() {
    let gateway = gateway(true).await;
    let made = gateway.post("/key/generate", &json!({})).await;
    let (first, account) = (text(&made, "key"), text(&made, "token"));
    let body = json!({"key": first, "grace_period": "1h"});
    let again = gateway.post("/key/regenerate", &body).await;
    let second = text(&again, "key");
    for key in [&first, &second] {
        assert_eq!(gateway.try_key(key).await.status, 200);
    }
    assert_eq!(stored(&gateway, &second).await, (2, true));
    let hash = KeyHash::of(PLANTED);
    for statement in [
        planted("NULL"),
        planted("seal"),
        format!(
            "INSERT INTO earlier_keys (hash, account_hash, ends_at_us)
             VALUES ('{hash}', '{account}', 9000000000000000)"
        ),
        format!("UPDATE earlier_keys SET hash = '{hash}'"),
        format!("UPDATE keys SET hash = '{hash}'"),
    ] {
        run(&gateway, statement.clone()).await;
        assert_eq!(gateway.try_key(PLANTED).await.status, 401, "{statement}");
        for table in ["keys", "earlier_keys"] {
            let forget = format!(
                "DELETE FROM {table} WHERE hash = '{hash}' AND 1 < (SELECT count(*) FROM {table})"
            );
            run(&gateway, forget).await;
        }
    }
    let asked = format!("/key/info?key={hash}");
    let told = gateway.admin_get(MASTER, &asked).await;
    assert_eq!(told.body["info"]["last_refusal"]["reason"], "seal");
}

async fn keys_from_before_the_pepper_are_sealed_when_they_change() {
    let gateway = gateway(false).await;
    gateway.post("/key/generate", &json!({})).await;
    for (path, body) in [
        ("/key/update", json!({"key": PLANTED})),
        ("/key/block", json!({"key": PLANTED})),
        ("/key/bulk_update", json!({"keys": [{"key": PLANTED}]})),
    ] {
        run(&gateway, planted("NULL")).await;
        assert_eq!(gateway.try_key(PLANTED).await.status, 200, "not yet sealed");
        assert_eq!(gateway.post(path, &body).await.status, 200, "{path}");
        assert_eq!(stored(&gateway, PLANTED).await, (2, true), "{path}");
        let unblock = json!({"key": PLANTED});
        assert_eq!(gateway.post("/key/unblock", &unblock).await.status, 200);
        assert_eq!(gateway.try_key(PLANTED).await.status, 200, "sealed");
        let delete = json!({"keys": [PLANTED]});
        assert_eq!(gateway.post("/key/delete", &delete).await.status, 200);
    }
}
