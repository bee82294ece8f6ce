//! Goal: the listings of spend show what was charged, by each filter and group,
//! to those who may see it. On a real store, with calls of the built-in model.

use chrono::Duration;
use serde_json::{Value, json};

use super::text;
use crate::app::testing::{Gateway, MASTER};
use crate::store::testing::on_both;

on_both![
    calls_are_listed_newest_first_by_each_filter,
    spend_is_summed_by_each_group,
    a_key_that_is_gone_or_regenerated_keeps_its_calls,
    only_who_may_read_usage_is_told_and_only_what_can_be_meant,
];

struct Spent {
    gateway: Gateway,
    /// Two calls on the first of March, one on the second.
    first: Value,
    /// One call on the second.
    second: Value,
}

async fn call(gateway: &Gateway, key: &str) {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    let answer = gateway.data_post(key, "/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn spent() -> Spent {
    let gateway = Gateway::start().await;
    let shared = json!([
        {"scope": "role", "id": "m/r1", "max_budget": 5.0, "budget_duration": "1d"},
        {"scope": "entity", "id": "m/e-1", "max_budget": 5.0},
    ]);
    let first = json!({"user_id": "u1", "team_id": "t1", "shared_budgets": shared});
    let first = gateway.post("/key/generate", &first).await;
    let second = gateway
        .post("/key/generate", &json!({"user_id": "u2"}))
        .await;
    call(&gateway, &text(&first, "key")).await;
    call(&gateway, &text(&first, "key")).await;
    gateway.clock.advance(Duration::days(1));
    call(&gateway, &text(&first, "key")).await;
    call(&gateway, &text(&second, "key")).await;
    call(&gateway, MASTER).await;
    gateway.state.ledger.drain().await;
    Spent {
        gateway,
        first: first.body,
        second: second.body,
    }
}

impl Spent {
    async fn get(&self, path: &str) -> Value {
        let answer = self.gateway.admin_get(MASTER, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    async fn rows(&self, query: &str) -> Vec<Value> {
        let rows = self.get(&format!("/spend/logs?{query}")).await;
        rows.as_array().unwrap().clone()
    }

    async fn report(&self, query: &str) -> Vec<(Value, i64)> {
        let rows = self.get(&format!("/global/spend/report?{query}")).await;
        let group = query
            .split('&')
            .next()
            .unwrap()
            .trim_start_matches("group_by=");
        let one = |row: &Value| (row[group].clone(), row["calls"].as_i64().unwrap());
        rows.as_array().unwrap().iter().map(one).collect()
    }
}

async fn calls_are_listed_newest_first_by_each_filter() {
    let spent = spent().await;
    let key = spent.first["key"].as_str().unwrap();
    let hash = spent.first["token"].as_str().unwrap();
    let rows = spent.rows("").await;
    assert_eq!(rows.len(), 5);
    assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse(row["startTime"].as_str().unwrap())));
    let id = rows[4]["request_id"].as_str().unwrap();
    for (query, expected) in [
        (format!("api_key={hash}"), 3),
        (format!("api_key={key}"), 3),
        ("user_id=u2".to_owned(), 1),
        ("team_id=t1".to_owned(), 3),
        ("team_id=nobody".to_owned(), 0),
        (format!("request_id={id}"), 1),
        (format!("request_id={id}&user_id=u2"), 0),
        ("model=demo".to_owned(), 5),
        ("model=%27%20OR%201=1%20--".to_owned(), 0),
        ("end_date=2027-03-01".to_owned(), 2),
        ("start_date=2027-03-02".to_owned(), 3),
        (
            format!("api_key={hash}&start_date=2027-03-02&summarize=false"),
            1,
        ),
        ("page=2&page_size=3".to_owned(), 2),
    ] {
        assert_eq!(spent.rows(&query).await.len(), expected, "{query}");
    }
    let row = &spent.rows("end_date=2027-03-01").await[0];
    for (field, expected) in [
        ("api_key", json!(hash)),
        ("user", json!("u1")),
        ("team_id", json!("t1")),
        ("model", json!("demo")),
        ("status", json!("success")),
        ("startTime", json!("2027-03-01T12:00:00.000000Z")),
        ("estimated", json!(false)),
    ] {
        assert_eq!(row[field], expected, "{field}");
    }
    assert!(row["spend"].as_f64().unwrap() > 0.0);
    assert!(row["total_tokens"].as_i64().unwrap() > 0);
    let page = spent.get("/spend/logs/v2?page_size=2&page=3").await;
    let told = (
        &page["total"],
        &page["total_pages"],
        page["data"].as_array().unwrap().len(),
    );
    assert_eq!(told, (&json!(5), &json!(3), 1));
    assert!(!json!(rows).to_string().contains(key));
}

async fn spend_is_summed_by_each_group() {
    let spent = spent().await;
    let (first, second) = (spent.first["token"].clone(), spent.second["token"].clone());
    let none = Value::Null;
    for (query, expected) in [
        (
            "group_by=day",
            vec![(json!("2027-03-02"), 3), (json!("2027-03-01"), 2)],
        ),
        ("group_by=model", vec![(json!("demo"), 5)]),
        ("group_by=role", vec![(json!("m/r1"), 3)]),
        ("group_by=entity", vec![(json!("m/e-1"), 3)]),
        (
            "group_by=role&end_date=2027-03-01",
            vec![(json!("m/r1"), 2)],
        ),
        (
            "group_by=day&page_size=1&page=2",
            vec![(json!("2027-03-01"), 2)],
        ),
    ] {
        assert_eq!(spent.report(query).await, expected, "{query}");
    }
    for (group, mut expected) in [
        ("key", vec![(first, 3), (second, 1), (none.clone(), 1)]),
        (
            "user",
            vec![(json!("u1"), 3), (json!("u2"), 1), (none.clone(), 1)],
        ),
        ("team", vec![(json!("t1"), 3), (none, 2)]),
    ] {
        let mut found = spent.report(&format!("group_by={group}")).await;
        assert_eq!(found[0].1, 3, "{group}: the dearest first");
        let by_name = |one: &(Value, i64)| one.0.to_string();
        found.sort_by_key(by_name);
        expected.sort_by_key(by_name);
        assert_eq!(found, expected, "{group}");
    }
}

async fn a_key_that_is_gone_or_regenerated_keeps_its_calls() {
    let spent = spent().await;
    let gateway = &spent.gateway;
    let named = json!({"key": spent.first["key"]});
    let made = gateway.post("/key/regenerate", &named).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let second = json!({"keys": [spent.second["key"]]});
    assert_eq!(gateway.post("/key/delete", &second).await.status, 200);
    let query = format!("api_key={}", text(&made, "key"));
    assert_eq!(spent.rows(&query).await.len(), 3);
    assert_eq!(spent.rows("user_id=u1").await.len(), 3);
    assert_eq!(spent.rows("user_id=u2").await.len(), 1);
}

async fn only_who_may_read_usage_is_told_and_only_what_can_be_meant() {
    let gateway = Gateway::start().await;
    let scopes = |names: &[&str]| json!({"scopes": names});
    let reader = gateway
        .post("/key/generate", &scopes(&["usage.read"]))
        .await;
    let other = gateway.post("/key/generate", &scopes(&["keys.read"])).await;
    let plain = gateway.post("/key/generate", &json!({})).await;
    for path in ["/spend/logs", "/spend/logs/v2", "/global/spend/report"] {
        for (caller, status) in [(&reader, 200), (&other, 403), (&plain, 401)] {
            let answer = gateway.admin_get(&text(caller, "key"), path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
        }
        for query in ["page=0", "page_size=0", "start_date=soon", "nothing=1"] {
            let answer = gateway.admin_get(MASTER, &format!("{path}?{query}")).await;
            assert_eq!(answer.status, 400, "{path}?{query}: {}", answer.body);
        }
    }
    for path in [
        "/global/spend/report?group_by=tag",
        "/spend/logs?summarize=true",
        "/spend/logs?api_key=x",
    ] {
        assert_eq!(gateway.admin_get(MASTER, path).await.status, 400, "{path}");
    }
}
