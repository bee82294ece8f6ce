//! Goal: each change has its row, in the chain, and `GET /audit` finds it.

use serde_json::{Value, json};

use super::{on_both, text};
use crate::app::testing::{Gateway, MASTER};
use crate::store::audit::verify;

async fn rows(gateway: &Gateway, query: &str) -> Vec<Value> {
    let answer = gateway.admin_get(MASTER, &format!("/audit{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.body["data"].as_array().unwrap().clone()
}

on_both![
    each_change_of_a_key_and_a_budget_leaves_one_row,
    an_admin_key_acts_under_its_own_hash_and_needs_the_scope_to_read,
    a_listing_that_cannot_be_meant_is_refused,
];

async fn each_change_of_a_key_and_a_budget_leaves_one_row() {
    let gateway = Gateway::start().await;
    let budget = |usd: f64| json!([{"scope": "team", "id": "t", "max_budget": usd}]);
    let made = json!({
        "key_alias": "a", "shared_budgets": budget(1.0), "metadata": {"vault_request_id": "r-7"},
    });
    let made = gateway.post("/key/generate", &made).await;
    let (key, hash) = (text(&made, "key"), text(&made, "token"));
    for (path, body) in [
        ("/key/update", json!({"key": key, "max_budget": 2.0})),
        (
            "/key/update",
            json!({"key": key, "shared_budgets": budget(3.0)}),
        ),
        ("/key/block", json!({"key": key})),
        ("/key/unblock", json!({"key": key})),
        ("/key/delete", json!({"keys": [hash]})),
    ] {
        assert_eq!(gateway.post(path, &body).await.status, 200, "{path}");
    }
    // What is refused changes nothing, and what changes nothing has no row.
    let refused = gateway.post("/key/block", &json!({"key": key})).await;
    assert_eq!(refused.status, 404);
    let found = rows(&gateway, "").await;
    let seen: Vec<_> = found
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        seen,
        [
            "key.delete",
            "key.unblock",
            "key.block",
            "shared_budget.define",
            "key.update",
            "key.update",
            "shared_budget.define",
            "key.generate",
        ]
    );
    let generated = &found[7];
    assert_eq!(generated["actor"], "master");
    assert_eq!(generated["subject"], format!("key {hash}"));
    assert_eq!(generated["before"], Value::Null);
    assert_eq!(generated["after"]["key_alias"], "a");
    assert_eq!(generated["vault_request_id"], "r-7");
    assert_eq!(found[5]["before"]["max_budget"], Value::Null);
    assert_eq!(found[5]["after"]["max_budget"], 2.0);
    assert_eq!(found[3]["subject"], "team t");
    assert_eq!(found[3]["before"]["max_budget"], 1.0);
    assert_eq!(found[3]["after"]["max_budget"], 3.0);
    assert_eq!(found[0]["after"], Value::Null);
    assert!(!json!(found).to_string().contains(&key));
    assert_eq!(rows(&gateway, &format!("?key={key}")).await.len(), 6);
    assert_eq!(
        rows(&gateway, &format!("?key={hash}&action=key.update"))
            .await
            .len(),
        2
    );
    assert_eq!(rows(&gateway, "?subject=team%20t").await.len(), 2);
    assert_eq!(rows(&gateway, "?page=2&page_size=5").await.len(), 3);
    assert_eq!(rows(&gateway, "?actor=nobody").await.len(), 0);
    assert_eq!(rows(&gateway, "?start_date=2027-03-01").await.len(), 8);
    assert_eq!(rows(&gateway, "?end_date=2027-02-28").await.len(), 0);
    let chain = verify(&gateway.state.store).await.unwrap();
    assert_eq!((chain.rows, chain.broken), (8, None));
}

async fn an_admin_key_acts_under_its_own_hash_and_needs_the_scope_to_read() {
    let gateway = Gateway::start().await;
    let scopes = |names: &[&str]| json!({"scopes": names});
    let writer = gateway
        .post("/key/generate", &scopes(&["keys.write"]))
        .await;
    let reader = gateway.post("/key/generate", &scopes(&["keys.read"])).await;
    let plain = gateway.post("/key/generate", &json!({})).await;
    let made = gateway
        .post_as(&text(&writer, "key"), "/key/generate", &json!({}))
        .await;
    let path = format!("/audit?key={}", text(&made, "token"));
    for (caller, status) in [(&writer, 403), (&plain, 403), (&reader, 200)] {
        let answer = gateway.admin_get(&text(caller, "key"), &path).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert_eq!(
        rows(&gateway, &path[6..]).await[0]["actor"],
        writer.body["token"]
    );
}

async fn a_listing_that_cannot_be_meant_is_refused() {
    let gateway = Gateway::start().await;
    for query in [
        "page=0",
        "start_date=soon",
        "who=me",
        "key=%27",
        "key=a&subject=b",
    ] {
        let answer = gateway.admin_get(MASTER, &format!("/audit?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
    }
}
