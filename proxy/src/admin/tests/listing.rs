//! Pages and filters of `/key/list`.

use chrono::Duration;
use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};

on_both![
    keys_are_listed_by_page_newest_first,
    keys_are_found_by_what_they_are,
    names_are_found_in_any_script,
    keys_are_sorted_by_what_was_spent_a_moment_ago,
];

async fn keys_are_listed_by_page_newest_first() {
    let gateway = Gateway::start().await;
    let mut hashes = Vec::new();
    for _ in 0..5 {
        gateway.clock.advance(Duration::seconds(1));
        hashes.push(text(
            &gateway.post("/key/generate", &json!({})).await,
            "token",
        ));
    }
    for (query, keys, pages) in [
        ("size=2", json!([hashes[4], hashes[3]]), 3),
        ("size=2&page=3", json!([hashes[0]]), 3),
        ("size=2&page=9", json!([]), 3),
        (
            "size=1&sort_order=asc&sort_by=created_at",
            json!([hashes[0]]),
            5,
        ),
    ] {
        let answer = gateway
            .admin_get(MASTER, &format!("/key/list?{query}"))
            .await;
        assert_eq!(answer.body["keys"], keys, "{query}");
        assert_eq!(
            (&answer.body["total_count"], &answer.body["total_pages"]),
            (&json!(5), &json!(pages)),
            "{query}"
        );
    }
    for query in ["size=0", "size=101", "size=x", "page=0"] {
        assert_eq!(
            gateway
                .admin_get(MASTER, &format!("/key/list?{query}"))
                .await
                .status,
            422,
            "{query}"
        );
    }
    assert_eq!(
        gateway
            .admin_get(MASTER, "/key/list?status=bogus")
            .await
            .status,
        400
    );
}

async fn keys_are_found_by_what_they_are() {
    let gateway = Gateway::start().await;
    let make = async |body: Value| text(&gateway.post("/key/generate", &body).await, "token");
    let active = make(json!({"key_alias": "a", "user_id": "u"})).await;
    let expired = make(json!({"duration": "1s", "team_id": "t"})).await;
    let blocked = make(json!({"blocked": true})).await;
    let deleted = make(json!({"key_alias": "d"})).await;
    gateway
        .post("/key/delete", &json!({"keys": [deleted]}))
        .await;
    gateway.clock.advance(Duration::seconds(1));
    let hash_query = format!("key_hash={blocked}");
    for (query, hash) in [
        ("status=active", &active),
        ("status=expired", &expired),
        ("status=revoked", &blocked),
        ("status=deleted", &deleted),
        ("status=deleted&key_alias=d", &deleted),
        ("key_alias=a", &active),
        ("user_id=u", &active),
        ("team_id=t", &expired),
        (hash_query.as_str(), &blocked),
    ] {
        let answer = gateway
            .admin_get(MASTER, &format!("/key/list?{query}"))
            .await;
        assert_eq!(answer.body["keys"], json!([hash]), "{query}");
    }
    for query in [
        "key_alias=d",
        "key_hash=zz",
        "user_id=' OR 1=1 --",
        "key_alias=a' --",
    ] {
        let query = query.replace(' ', "%20");
        let answer = gateway
            .admin_get(MASTER, &format!("/key/list?{query}"))
            .await;
        assert_eq!(
            (&answer.body["keys"], &answer.body["total_count"]),
            (&json!([]), &json!(0)),
            "{query}"
        );
    }
    let full = gateway
        .admin_get(MASTER, "/key/list?return_full_object=true&key_alias=a")
        .await;
    assert_eq!(full.body["keys"][0]["token"], active.as_str());
    // LiteLLM: a live key's row has none.
    assert_eq!(full.body["keys"][0].get("status"), None);
    let gone = gateway
        .admin_get(MASTER, "/key/list?return_full_object=true&status=deleted")
        .await;
    assert_eq!(gone.body["keys"][0]["status"], "deleted");
}

async fn names_are_found_in_any_script() {
    let gateway = Gateway::start().await;
    for alias in ["CAFÉ-ÄÖ", "日本", "Straße"] {
        let body = json!({"key_alias": alias});
        assert_eq!(gateway.post("/key/generate", &body).await.status, 200);
    }
    for (search, found) in [
        ("CAFÉ", "CAFÉ-ÄÖ"),
        ("É-ÄÖ", "CAFÉ-ÄÖ"),
        ("caf", "CAFÉ-ÄÖ"),
        ("本", "日本"),
        ("STRAß", "Straße"),
    ] {
        let search: String = url::form_urlencoded::byte_serialize(search.as_bytes()).collect();
        let aliases = format!("/key/aliases?search={search}");
        let answer = gateway.admin_get(MASTER, &aliases).await;
        assert_eq!(answer.body["aliases"], json!([found]), "{search}");
        for field in ["search", "substring_matching=true&key_alias"] {
            let list = format!("/key/list?return_full_object=true&{field}={search}");
            let answer = gateway.admin_get(MASTER, &list).await;
            assert_eq!(answer.body["keys"][0]["key_alias"], found, "{list}");
        }
    }
}

async fn keys_are_sorted_by_what_was_spent_a_moment_ago() {
    let gateway = Gateway::start().await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let made = gateway.post("/key/generate", &json!({})).await;
        keys.push((text(&made, "key"), text(&made, "token")));
    }
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5});
    for (key, hash) in &keys {
        let called = gateway.data_post(key, "/chat/completions", &chat).await;
        assert_eq!(called.status, 200, "{}", called.body);
        let longer = json!({"model": "demo", "max_tokens": 50,
            "messages": [{"role": "user", "content": "x ".repeat(50)}]});
        gateway.data_post(key, "/chat/completions", &longer).await;
        let path = "/key/list?sort_by=spend&sort_order=desc&size=1";
        let listed = gateway.admin_get(MASTER, path).await;
        assert_eq!(listed.body["keys"], json!([hash]));
        gateway.post("/key/delete", &json!({"keys": [hash]})).await;
    }
}
