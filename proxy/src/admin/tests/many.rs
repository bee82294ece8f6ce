//! Operations on many keys: full lists, counts, aliases, `/v2/key/info` and
//! bulk updates.

use chrono::Duration;
use serde_json::{Value, json};

use super::{ABSENT, Gateway, MASTER, on_both, text};

async fn made(gateway: &Gateway, body: Value) -> String {
    gateway.clock.advance(Duration::seconds(1));
    let made = gateway.post("/key/generate", &body).await;
    assert_eq!(made.status, 200, "{}", made.body);
    text(&made, "token")
}

on_both![
    a_key_stays_small_and_is_told_about_once,
    keys_are_sorted_and_searched,
    a_page_of_full_keys_shows_what_each_has_spent,
    aliases_are_listed_and_keys_are_counted,
    a_bulk_update_says_of_each_key_what_became_of_it,
    an_update_of_a_key_that_was_changed_meanwhile_is_refused,
];

async fn keys_are_sorted_and_searched() {
    let gateway = Gateway::start().await;
    let a = made(
        &gateway,
        json!({"key_alias": "Alpha_1", "max_budget": 2, "user_id": "ann"}),
    )
    .await;
    let b = made(
        &gateway,
        json!({"key_alias": "beta", "max_budget": 1, "user_id": "anna"}),
    )
    .await;
    let c = made(&gateway, json!({"user_id": "x%y'; DROP TABLE keys; --"})).await;
    let reset = format!("/key/{a}/reset_spend");
    assert_eq!(
        gateway.post(&reset, &json!({"reset_to": 0})).await.status,
        200
    );
    gateway.clock.advance(Duration::seconds(1));
    gateway
        .post("/key/update", &json!({"key": b, "blocked": true}))
        .await;
    for (query, keys) in [
        ("sort_by=key_alias&sort_order=asc", json!([c, a, b])),
        ("sort_by=key_alias", json!([b, a, c])),
        ("sort_by=max_budget&sort_order=asc", json!([b, a, c])),
        ("sort_by=max_budget&sort_order=desc", json!([c, a, b])),
        ("sort_by=updated_at", json!([b, c, a])),
        ("user_id=ann", json!([a])),
        ("user_id=ann&substring_matching=true", json!([b, a])),
        ("user_id=%25&substring_matching=true", json!([c])),
        ("key_alias=ALPHA_&substring_matching=true", json!([a])),
        ("key_alias=h__&substring_matching=true", json!([])),
        ("search=beta", json!([b])),
        ("status=blocked", json!([b])),
        (
            "user_id=x%25y'%3B%20DROP%20TABLE%20keys%3B%20--",
            json!([c]),
        ),
        ("organization_id=o", json!([])),
    ] {
        let answer = gateway
            .admin_get(MASTER, &format!("/key/list?{query}"))
            .await;
        assert_eq!(answer.body["keys"], keys, "{query}: {}", answer.body);
    }
    let by_hash = format!("/key/list?search={}", &c[10..40]);
    assert_eq!(
        gateway.admin_get(MASTER, &by_hash).await.body["keys"],
        json!([c])
    );
    for query in [
        "sort_by=1;DROP%20TABLE%20keys",
        "sort_order=up",
        "sort_by=metadata",
    ] {
        let answer = gateway
            .admin_get(MASTER, &format!("/key/list?{query}"))
            .await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

async fn a_page_of_full_keys_shows_what_each_has_spent() {
    let gateway = Gateway::start().await;
    let odd = "é 'team' \u{1F600}";
    let budget = |id: &str, days: Option<&str>| json!({"scope": "team", "id": id, "max_budget": 3, "budget_duration": days});
    let mut keys = Vec::new();
    for n in 0..3 {
        let shared = json!([
            budget(odd, None),
            budget(&"i".repeat(255), Some("1d")),
            budget(&n.to_string(), None)
        ]);
        let made = gateway
            .post("/key/generate", &json!({"shared_budgets": shared}))
            .await;
        keys.push((text(&made, "key"), text(&made, "token")));
    }
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5});
    for (key, _) in &keys[..2] {
        assert_eq!(
            gateway
                .data_post(key, "/chat/completions", &chat)
                .await
                .status,
            200
        );
    }
    let mut shown = Vec::new();
    for (_, hash) in &keys {
        let info = gateway
            .admin_get(MASTER, &format!("/key/info?key={hash}"))
            .await;
        shown.push(info.body["info"].clone());
    }
    assert!(shown[0]["spend"].as_f64().unwrap() > 0.0);
    assert_eq!(shown[2]["spend"], json!(0.0));
    let list = gateway
        .admin_get(MASTER, "/key/list?return_full_object=true&sort_order=asc")
        .await;
    let many = gateway
        .post(
            "/v2/key/info",
            &json!({"keys": [keys[1].1, ABSENT, keys[0].0]}),
        )
        .await;
    assert_eq!(many.body["info"].as_array().unwrap().len(), 2);
    for field in ["spend", "shared_budgets"] {
        assert_eq!(many.body["info"][0][field], shown[1][field], "{field}");
        assert_eq!(many.body["info"][1][field], shown[0][field], "{field}");
        for row in list.body["keys"].as_array().unwrap() {
            let at = keys
                .iter()
                .position(|(_, hash)| row["token"] == **hash)
                .unwrap();
            assert_eq!(row[field], shown[at][field], "{field}");
        }
    }
    let shared = &shown[2]["shared_budgets"];
    let both = shown[0]["spend"].as_f64().unwrap() + shown[1]["spend"].as_f64().unwrap();
    for at in 0..2 {
        assert!(
            (shared[at]["spend"].as_f64().unwrap() - both).abs() < 1e-9,
            "{shared}"
        );
    }
    assert_eq!(shared[2]["spend"], json!(0.0));
}

async fn aliases_are_listed_and_keys_are_counted() {
    let gateway = Gateway::start().await;
    for (alias, team) in [("b", "t"), ("a", "t"), ("ab", "u")] {
        made(&gateway, json!({"key_alias": alias, "team_id": team})).await;
    }
    let blocked = made(&gateway, json!({"blocked": true, "duration": "1s"})).await;
    made(&gateway, json!({"duration": "1s"})).await;
    gateway.clock.advance(Duration::seconds(5));
    for (query, aliases, total) in [
        ("", json!(["a", "ab", "b"]), 3),
        ("?size=1&page=2", json!(["ab"]), 3),
        ("?size=1&page=9", json!([]), 3),
        ("?search=A", json!(["a", "ab"]), 2),
        ("?team_id=t", json!(["a", "b"]), 2),
    ] {
        let answer = gateway
            .admin_get(MASTER, &format!("/key/aliases{query}"))
            .await;
        assert_eq!(answer.body["aliases"], aliases, "{query}");
        assert_eq!(answer.body["total_count"], total, "{query}");
    }
    let counts = |expired, blocked, deleted| {
        json!({"total": 3 + expired + blocked, "active": 3, "expired": expired,
            "blocked": blocked, "deleted": deleted})
    };
    let count = gateway.admin_get(MASTER, "/key/count").await;
    assert_eq!(count.body, counts(1, 1, 0));
    gateway
        .post("/key/delete", &json!({"keys": [blocked]}))
        .await;
    let count = gateway.admin_get(MASTER, "/key/count").await;
    assert_eq!(count.body, counts(1, 0, 1));
}

async fn a_bulk_update_says_of_each_key_what_became_of_it() {
    let gateway = Gateway::start().await;
    let a = made(&gateway, json!({})).await;
    let b = made(&gateway, json!({})).await;
    let asked = json!({"keys": [
        {"key": a, "max_budget": 9}, {"key": ABSENT, "max_budget": 9}, {"key": b, "max_budget": -1},
    ]});
    let told = gateway.post("/key/bulk_update", &asked).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["total_requested"], 3);
    let updated = &told.body["successful_updates"];
    assert_eq!(
        (&updated[0]["key"], &updated[0]["key_info"]["max_budget"]),
        (&json!(a), &json!(9.0))
    );
    assert_eq!(updated.as_array().unwrap().len(), 1);
    let failed = told.body["failed_updates"].as_array().unwrap();
    assert_eq!(
        failed.iter().map(|one| &one["key"]).collect::<Vec<_>>(),
        [&json!(ABSENT), &json!(b)]
    );
    assert_eq!(failed[0]["failed_reason"], "Key not found.");
    for (body, status) in [
        (json!({}), 422),
        (json!({"keys": []}), 400),
        (json!({"keys": [1]}), 422),
    ] {
        assert_eq!(
            gateway.post("/key/bulk_update", &body).await.status,
            status,
            "{body}"
        );
    }
}

async fn an_update_of_a_key_that_was_changed_meanwhile_is_refused() {
    let gateway = Gateway::start().await;
    let key = made(&gateway, json!({})).await;
    let info = format!("/key/info?key={key}");
    let first = gateway.admin_get(MASTER, &info).await.etag;
    assert!(!first.is_empty());
    let update = json!({"key": key, "max_budget": 9});
    assert_eq!(
        gateway.post_if(&first, "/key/update", &update).await.status,
        200
    );
    let other = json!({"key": key, "max_budget": 7});
    assert_eq!(
        gateway.post_if(&first, "/key/update", &other).await.status,
        412
    );
    let shown = gateway.admin_get(MASTER, &info).await;
    assert_eq!(shown.body["info"]["max_budget"], json!(9.0));
    assert_eq!(
        gateway
            .post_if(&shown.etag, "/key/update", &other)
            .await
            .status,
        200
    );
    let now = gateway.admin_get(MASTER, &info).await.etag;
    for (tags, status) in [
        (format!("{first}, {}", shown.etag), 412),
        (format!("{first}, {now}"), 200),
        ("*".to_owned(), 200),
    ] {
        let answer = gateway.post_if(&tags, "/key/update", &update).await;
        assert_eq!(answer.status, status, "{tags}");
    }
}

async fn a_key_stays_small_and_is_told_about_once() {
    let gateway = Gateway::start().await;
    let long = "x".repeat(20 * 1024);
    let many = vec![long.as_str(); 4];
    for (field, value) in [
        ("metadata", json!({"note": long})),
        ("aliases", json!({"a": long})),
        ("models", json!(many)),
        ("allowed_routes", json!(many)),
    ] {
        let refused = gateway.post("/key/generate", &json!({field: value})).await;
        assert_eq!(refused.status, 400, "{field}: {}", refused.body);
    }
    let deep = (0..64).fold(json!(1), |inner, _| json!([inner]));
    let body = json!({"metadata": {"note": deep}});
    let refused = gateway.post("/key/generate", &body).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.to_string().contains("nested deeper than 64"));
    let made = gateway.post("/key/generate", &json!({})).await;
    let hash = text(&made, "token");
    let asked = json!({"keys": [hash, hash, text(&made, "key")]});
    let told = gateway.post("/v2/key/info", &asked).await;
    assert_eq!(told.body["info"].as_array().map(Vec::len), Some(1));
}
