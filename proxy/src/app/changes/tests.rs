//! Goal: what one gateway changes, the others beside it know at once. Several
//! whole gateways in this process, on one PostgreSQL.

mod reading;

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::app::testing::{Gateway, MASTER};
use crate::store::testing::{KIND, Kind};

/// Each test is one of PostgreSQL alone: SQLite has one process.
async fn on_postgres(test: impl Future<Output = ()>) {
    Box::pin(KIND.scope(Kind::Postgres, test)).await;
}

async fn three() -> [Gateway; 3] {
    let first = Gateway::start().await;
    let (second, third) = (first.beside().await, first.beside().await);
    [first, second, third]
}

async fn generate(gateway: &Gateway, fields: Value) -> String {
    let made = gateway.post("/key/generate", &fields).await;
    assert_eq!(made.status, 200, "{}", made.body);
    made.body["key"].as_str().unwrap().to_owned()
}

/// Waits for what no notification is too late for.
async fn soon(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !is_so().await {
        assert!(since.elapsed() < Duration::from_secs(3), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn soon_answers(gateway: &Gateway, key: &str, status: u16, after: &str) {
    let answers = async || gateway.try_key(key).await.status == status;
    soon(after, answers).await;
}

/// A call of the built-in model, which costs a little.
async fn call(gateway: &Gateway, key: &str) -> u16 {
    let body = json!({"model": "demo", "max_tokens": 5,
        "messages": [{"role": "user", "content": "one two three four five"}]});
    let answer = gateway.data_post(key, "/v1/chat/completions", &body).await;
    answer.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_a_key_that_changes_at_one_gateway_changes_at_the_others() {
    on_postgres(async {
        let [first, second, third] = three().await;
        for (path, body, status) in [
            ("/key/delete", json!({"keys": ["KEY"]}), 401),
            ("/key/block", json!({"key": "KEY"}), 401),
            ("/key/update", json!({"key": "KEY", "blocked": true}), 401),
            (
                "/key/update",
                json!({"key": "KEY", "allowed_cidrs": ["10.0.0.0/8"]}),
                403,
            ),
            ("/key/regenerate", json!({"key": "KEY"}), 401),
        ] {
            let key = generate(&first, json!({"max_budget": 5.0})).await;
            for gateway in [&second, &third] {
                assert_eq!(gateway.try_key(&key).await.status, 200);
            }
            let done = first
                .post_text(path, body.to_string().replace("KEY", &key))
                .await;
            assert_eq!(done.status, 200, "{path}: {}", done.body);
            for gateway in [&second, &third] {
                soon_answers(gateway, &key, status, path).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_a_team_that_changes_at_one_gateway_binds_its_keys_at_the_others() {
    on_postgres(async {
        let [first, second, third] = three().await;
        let key = generate(&first, json!({"team_id": "t", "user_id": "u"})).await;
        for gateway in [&second, &third] {
            assert_eq!(call(gateway, &key).await, 200);
        }
        for (path, body, status) in [
            (
                "/user/new",
                json!({"user_id": "u", "models": ["other"]}),
                403,
            ),
            ("/team/new", json!({"team_id": "t"}), 200),
            ("/team/block", json!({"team_id": "t"}), 401),
            ("/team/unblock", json!({"team_id": "t"}), 200),
            (
                "/team/update",
                json!({"team_id": "t", "max_budget": 0}),
                422,
            ),
            (
                "/team/update",
                json!({"team_id": "t", "max_budget": 1}),
                200,
            ),
            (
                "/team/update",
                json!({"team_id": "t", "models": ["other"]}),
                403,
            ),
            ("/team/delete", json!({"team_ids": ["t"]}), 401),
        ] {
            let done = first.post(path, &body).await;
            assert_eq!(done.status, 200, "{path}: {}", done.body);
            for gateway in [&second, &third] {
                soon(path, async || call(gateway, &key).await == status).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_a_named_budget_that_changes_at_one_gateway_binds_its_keys_at_the_others() {
    on_postgres(async {
        let [first, second, third] = three().await;
        let made = first.post("/budget/new", &json!({"budget_id": "b"})).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let key = generate(&first, json!({"budget_id": "b"})).await;
        for (change, status) in [
            (json!({"max_budget": 0}), 422),
            (json!({"max_budget": 1, "budget_duration": "1d"}), 200),
            (json!({"rpm_limit": 0}), 429),
            (json!({"rpm_limit": null}), 200),
        ] {
            let mut body = change;
            body["budget_id"] = json!("b");
            let done = first.post("/budget/update", &body).await;
            assert_eq!(done.status, 200, "{}", done.body);
            for gateway in [&second, &third] {
                let what = body.to_string();
                soon(&what, async || call(gateway, &key).await == status).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_a_new_expiry_and_the_end_of_an_earlier_value_reach_the_others() {
    on_postgres(async {
        let [first, second, third] = three().await;
        let key = generate(&first, json!({})).await;
        second.clock.advance(TimeDelta::minutes(5));
        assert_eq!(second.try_key(&key).await.status, 200);
        let update = json!({"key": key, "duration": "1m"});
        assert_eq!(first.post("/key/update", &update).await.status, 200);
        soon_answers(&second, &key, 401, "expiry").await;

        let regenerate = json!({"key": key, "grace_period": "1h", "duration": "1d"});
        let made = first.post("/key/regenerate", &regenerate).await;
        let newer = made.body["key"].as_str().unwrap();
        for value in [newer, &key] {
            soon_answers(&third, value, 200, "regeneration").await;
        }
        let delete = json!({"keys": [key]});
        assert_eq!(first.post("/key/delete", &delete).await.status, 200);
        soon_answers(&third, &key, 401, "end of the earlier value").await;
        assert_eq!(third.try_key(newer).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_what_is_not_notified_is_polled() {
    on_postgres(async {
        let [first, second, _] = three().await;
        let key = generate(&first, json!({})).await;
        assert_eq!(second.try_key(&key).await.status, 200);
        // Nobody is told of this one.
        let mut write = first.state.store.begin_write().await.unwrap();
        let silently = "ALTER TABLE keys DISABLE TRIGGER tell_key";
        sqlx::query(silently).execute(&mut *write).await.unwrap();
        sqlx::query("DELETE FROM keys")
            .execute(&mut *write)
            .await
            .unwrap();
        sqlx::query("INSERT INTO change (hash) VALUES ($1)")
            .bind(crate::key::KeyHash::of(&key).to_string())
            .execute(&mut *write)
            .await
            .unwrap();
        write.commit().await.unwrap();
        soon_answers(&second, &key, 401, "poll").await;
    })
    .await;
}

/// A batch of the ledger has locked the key's account, and the role's is next.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d5_an_update_waits_for_a_batch_without_holding_what_it_needs() {
    on_postgres(async {
        let gateway = Gateway::start().await;
        let budgets = json!([{"scope": "role", "id": "r", "max_budget": 5}]);
        let key = generate(&gateway, json!({"shared_budgets": budgets})).await;
        let mut batch = gateway.state.store.begin_batch().await.unwrap();
        let lock = |text: &'static str| sqlx::query(text);
        let own = "SELECT 1 FROM account WHERE scope = 'key' FOR UPDATE";
        lock(own).execute(&mut *batch).await.unwrap();
        let update = json!({"key": key, "shared_budgets": budgets, "max_budget": 3});
        let updated = async { gateway.post("/key/update", &update).await.status };
        let others = async {
            let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            soon("the update waits", async || {
                let count = sqlx::query_scalar::<_, i64>(waiting);
                count.fetch_one(gateway.state.store.reader()).await.unwrap() > 0
            })
            .await;
            let shared = "SELECT 1 FROM account WHERE scope = 'role' FOR UPDATE NOWAIT";
            let locked = lock(shared).execute(&mut *batch).await;
            drop(batch);
            locked
        };
        let (updated, locked) = tokio::join!(updated, others);
        assert!(locked.is_ok(), "{locked:?}");
        assert_eq!(updated, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_who_has_missed_more_than_is_remembered_reads_all_keys_anew() {
    on_postgres(async {
        let [first, second, _] = three().await;
        let key = generate(&first, json!({})).await;
        assert_eq!(second.try_key(&key).await.status, 200);
        let mut write = first.state.store.begin_write().await.unwrap();
        for statement in [
            "ALTER TABLE keys DISABLE TRIGGER tell_key",
            "DELETE FROM keys",
            "INSERT INTO change (scope) VALUES ('one'), ('other')",
            "DELETE FROM change WHERE scope = 'one'",
        ] {
            sqlx::query(statement).execute(&mut *write).await.unwrap();
        }
        write.commit().await.unwrap();
        soon_answers(&second, &key, 401, "a gap").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c5_a_new_key_works_at_once_where_it_was_asked_for_before() {
    on_postgres(async {
        let [first, second, third] = three().await;
        let key = "sk-asked-for-before-it-was-there-0123456789";
        for gateway in [&first, &second, &third] {
            assert_eq!(gateway.try_key(key).await.status, 401);
        }
        generate(&first, json!({"key": key})).await;
        for gateway in [&first, &second, &third] {
            assert_eq!(gateway.try_key(key).await.status, 200);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_s_spend_is_what_it_has_spent_at_all_of_them() {
    on_postgres(async {
        let gateways = three().await;
        let key = generate(&gateways[0], json!({"max_budget": 1.0})).await;
        for gateway in &gateways {
            assert_eq!(call(gateway, &key).await, 200);
        }
        let path = format!("/key/info?key={key}");
        let shown = async |gateway: &Gateway| {
            let info = gateway.admin_get(MASTER, &path).await.body;
            let budget = gateway.data_get(&key, "/v1/budget").await.body;
            [&info["info"]["spend"], &budget["data"][0]["posted"]].map(|spend| spend.as_f64())
        };
        for gateway in &gateways {
            // Three calls of five tokens in and five out.
            soon("what all have spent", async || {
                shown(gateway).await == [Some(0.000_045); 2]
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_and_corrections_reach_the_others() {
    on_postgres(async {
        let [first, second, _] = three().await;
        let role = |budget: f64| json!([{"scope": "role", "id": "r", "max_budget": budget}]);
        let key = generate(&first, json!({"shared_budgets": role(5.0)})).await;
        assert_eq!(call(&second, &key).await, 200);
        for (path, fields, status) in [
            (
                "update",
                json!({"key": key, "shared_budgets": role(0.0)}),
                422,
            ),
            (
                "update",
                json!({"key": key, "shared_budgets": role(5.0)}),
                200,
            ),
            ("update", json!({"key": key, "max_budget": 0.000_001}), 422),
            ("update", json!({"key": key, "max_budget": 5.0}), 200),
        ] {
            let done = first.post(&format!("/key/{path}"), &fields).await;
            assert_eq!(done.status, 200, "{}", done.body);
            soon("the new limit", async || {
                call(&second, &key).await == status
            })
            .await;
        }
        second.state.ledger.drain().await;
        let path = format!("/key/{key}/reset_spend");
        let reset = first.post(&path, &json!({"reset_to": 0.0})).await;
        assert_eq!(reset.status, 200);
        let hash = crate::key::KeyHash::of(&key);
        let account = crate::key::AccountId::Key(hash);
        soon("the correction", async || {
            second.state.ledger.known_spend(&account) == Some(crate::money::NanoUsd::ZERO)
        })
        .await;
    })
    .await;
}
