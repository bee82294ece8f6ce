//! Update, block, delete and expiry, each seen by the key itself.

use chrono::Duration;
use serde_json::{Value, json};

use super::{ABSENT, Gateway, MASTER, on_both, text};
use crate::{key::KeyHash, store};

async fn generate(gateway: &Gateway, body: Value) -> (String, String) {
    let made = gateway.post("/key/generate", &body).await;
    assert_eq!(made.status, 200, "{}", made.body);
    (text(&made, "key"), text(&made, "token"))
}

on_both![
    c3_a_changed_key_is_refused_on_the_very_next_call,
    repeating_a_change_that_failed_half_way_takes_the_key_out_of_memory,
    lists_of_null_are_left_as_they_are_and_an_empty_list_frees_them,
    a_value_that_a_deleted_key_had_begins_anew,
    an_expired_key_is_refused_from_cache_and_can_be_extended,
    null_and_minus_one_mean_that_a_key_never_expires,
    an_update_changes_what_it_names_and_leaves_the_rest,
    blocking_is_undone_by_unblocking_and_both_may_be_repeated,
    deletion_takes_keys_hashes_and_aliases_and_says_when_nothing_was_there,
];

async fn c3_a_changed_key_is_refused_on_the_very_next_call() {
    let gateway = Gateway::start().await;
    for round in 0..50 {
        let (key, hash) = generate(&gateway, json!({})).await;
        assert_eq!(gateway.try_key(&key).await.status, 200);
        let (path, body) = match round % 3 {
            0 => ("/key/delete", json!({"keys": [hash]})),
            1 => ("/key/block", json!({"key": hash})),
            _ => ("/key/update", json!({"key": hash, "duration": "0s"})),
        };
        assert_eq!(gateway.post(path, &body).await.status, 200, "{path}");
        assert_eq!(gateway.try_key(&key).await.status, 401, "{path}");
    }
}

async fn repeating_a_change_that_failed_half_way_takes_the_key_out_of_memory() {
    let gateway = Gateway::start().await;
    for (path, field) in [
        ("/key/delete", "keys"),
        ("/key/block", "key"),
        ("/key/update", "key"),
    ] {
        let (key, hash) = generate(&gateway, json!({})).await;
        assert_eq!(gateway.try_key(&key).await.status, 200);
        // The commit of a deletion happened, and nothing after it.
        let mut write = gateway.state.store.begin_write().await.unwrap();
        let known = KeyHash::from_key_or_hash(&hash).unwrap();
        store::keys::delete(&mut write, known, gateway.state.clock.now())
            .await
            .unwrap();
        write.commit().await.unwrap();
        // A store that several share tells of the change by itself.
        if !gateway.state.store.is_shared() {
            assert_eq!(gateway.try_key(&key).await.status, 200, "still in memory");
        }
        let named = if field == "keys" {
            json!([hash])
        } else {
            json!(hash)
        };
        let again = gateway.post(path, &json!({ field: named })).await;
        assert_eq!(again.status, 404, "{path}");
        assert_eq!(gateway.try_key(&key).await.status, 401, "{path}");
    }
}

async fn lists_of_null_are_left_as_they_are_and_an_empty_list_frees_them() {
    let gateway = Gateway::start().await;
    for (field, kept) in [
        ("models", json!(["demo"])),
        ("allowed_routes", json!(["/v1/models"])),
    ] {
        let (_, hash) = generate(&gateway, json!({ field: kept })).await;
        for (sent, stored) in [(json!(null), &kept), (json!([]), &json!([]))] {
            let updated = gateway
                .post("/key/update", &json!({"key": hash, field: sent}))
                .await;
            assert_eq!(updated.body[field], *stored, "{field} {sent}");
        }
    }
    // LiteLLM: its clients send an empty list beside the type that names the routes.
    let typed = json!({"key_type": "llm_api", "allowed_routes": []});
    let made = gateway.post("/key/generate", &typed).await;
    assert_eq!(made.body["allowed_routes"], json!(["llm_api_routes"]));
}

async fn a_value_that_a_deleted_key_had_begins_anew() {
    let gateway = Gateway::start().await;
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5});
    for limits in [
        json!({"max_budget": 0.0001}),
        json!({"max_budget": 0.0001, "budget_duration": "1d"}),
        json!({"budget_limits": [{"max_budget": 0.0001, "budget_duration": "1h"}]}),
        json!({"model_max_budget": {"demo": {"budget_limit": 0.0001, "time_period": "1d"}}}),
    ] {
        let mut wanted = limits;
        wanted["key"] = json!("sk-QJ7ZAaPj16abR07BqixA7A");
        let mut calls = Vec::new();
        for _ in 0..2 {
            let (key, hash) = generate(&gateway, wanted.clone()).await;
            let info = gateway.try_key(&key).await;
            assert_eq!(info.body["info"]["spend"], json!(0.0), "{wanted}");
            let mut admitted = 0;
            while gateway
                .data_post(&key, "/chat/completions", &chat)
                .await
                .status
                == 200
            {
                admitted += 1;
                assert!(admitted < 1_000, "{wanted}");
            }
            calls.push(admitted);
            gateway.post("/key/delete", &json!({"keys": [hash]})).await;
        }
        assert!(calls[0] > 0 && calls[0] == calls[1], "{wanted} {calls:?}");
    }
    let trail = gateway
        .admin_get(super::MASTER, "/audit?action=key.reset_spend")
        .await;
    assert!(trail.body.to_string().contains("reset_spend"));
    gateway.state.ledger.drain().await;
    let verified = crate::store::ledger::verify::verify(&gateway.state.store).await;
    assert!(verified.unwrap().differences.is_empty());
}

async fn an_expired_key_is_refused_from_cache_and_can_be_extended() {
    let gateway = Gateway::start().await;
    let (key, hash) = generate(&gateway, json!({"duration": "60s"})).await;
    gateway.clock.advance(Duration::milliseconds(59_999));
    assert_eq!(gateway.try_key(&key).await.status, 200);
    gateway.clock.advance(Duration::milliseconds(1));
    let refused = gateway.try_key(&key).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.body["error"]["type"], "expired_key");
    let info = gateway
        .admin_get(MASTER, &format!("/key/info?key={hash}"))
        .await;
    assert_eq!(info.body["info"]["status"], "expired");
    // A8: the new expiry counts from the gateway's now, not from the issue.
    let updated = gateway
        .post("/key/update", &json!({"key": hash, "duration": "1h"}))
        .await;
    assert_eq!(updated.body["expires"], "2027-03-01T13:01:00.000000+00:00");
    assert_eq!(gateway.try_key(&key).await.status, 200);
}

async fn null_and_minus_one_mean_that_a_key_never_expires() {
    let gateway = Gateway::start().await;
    for never in [json!(null), json!("-1")] {
        let (_, hash) = generate(&gateway, json!({"duration": "1h"})).await;
        let updated = gateway
            .post("/key/update", &json!({"key": hash, "duration": never}))
            .await;
        assert_eq!(updated.body["expires"], Value::Null, "{never}");
    }
}

async fn an_update_changes_what_it_names_and_leaves_the_rest() {
    let gateway = Gateway::start().await;
    let (key, hash) = generate(
        &gateway,
        json!({"key_alias": "a", "models": ["demo"], "max_budget": 1}),
    )
    .await;
    generate(&gateway, json!({"key_alias": "b"})).await;
    let by_key = gateway
        .post(
            "/key/update",
            &json!({"key": key, "max_budget": 7, "metadata": {"x": 1}}),
        )
        .await;
    assert_eq!(by_key.body["max_budget"], 7.0);
    assert_eq!(by_key.body["models"], json!(["demo"]));
    assert_eq!(by_key.body["key_alias"], "a");
    assert_eq!(by_key.body["token"], hash.as_str());
    let by_alias = gateway
        .post(
            "/key/update",
            &json!({"key_alias": "a", "max_budget": null}),
        )
        .await;
    assert_eq!(by_alias.body["max_budget"], Value::Null);
    assert_eq!(by_alias.body["metadata"], json!({"x": 1}));
    let taken = gateway
        .post("/key/update", &json!({"key": hash, "key_alias": "b"}))
        .await;
    assert_eq!(taken.status, 400);
    let renamed = gateway
        .post("/key/update", &json!({"key": hash, "key_alias": "c"}))
        .await;
    assert_eq!(renamed.body["key_alias"], "c");
    generate(&gateway, json!({"key_alias": "a"})).await;
    for (body, status) in [
        (json!({"key": ABSENT, "max_budget": 1}), 404),
        (json!({"key": "sk-nope-1234567890", "max_budget": 1}), 404),
        (json!({"key": "no-hash"}), 400),
        (json!({"key_alias": "nope", "max_budget": 1}), 404),
        (json!({"max_budget": 1}), 422),
        (json!({"key": hash, "max_budget": -1}), 400),
        (json!({"key": hash, "duration": "10"}), 400),
        (json!({"key": hash, "bogus": 1}), 422),
    ] {
        assert_eq!(
            gateway.post("/key/update", &body).await.status,
            status,
            "{body}"
        );
    }
}

async fn blocking_is_undone_by_unblocking_and_both_may_be_repeated() {
    let gateway = Gateway::start().await;
    let (key, hash) = generate(&gateway, json!({})).await;
    for (path, blocked, status) in [
        ("/key/block", true, 401),
        ("/key/block", true, 401),
        ("/key/unblock", false, 200),
        ("/key/unblock", false, 200),
    ] {
        let answer = gateway.post(path, &json!({"key": hash})).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["blocked"]),
            (200, &json!(blocked))
        );
        assert_eq!(gateway.try_key(&key).await.status, status, "{path}");
    }
    assert_eq!(
        gateway
            .post("/key/block", &json!({"key": ABSENT}))
            .await
            .status,
        404
    );
    assert_eq!(gateway.post("/key/block", &json!({})).await.status, 422);
    assert_eq!(
        gateway
            .post("/key/block", &json!({"key": "rubbish"}))
            .await
            .status,
        400
    );
}

async fn deletion_takes_keys_hashes_and_aliases_and_says_when_nothing_was_there() {
    let gateway = Gateway::start().await;
    let (key, hash) = generate(&gateway, json!({"key_alias": "gone"})).await;
    let (_, second) = generate(&gateway, json!({})).await;
    generate(&gateway, json!({"key_alias": "third"})).await;
    let partly = gateway
        .post("/key/delete", &json!({"keys": [key, ABSENT]}))
        .await;
    assert_eq!(partly.status, 200);
    assert_eq!(partly.body["deleted_keys"], json!([key, ABSENT]));
    for (body, status) in [
        (json!({"keys": [hash]}), 404),
        (json!({"key_aliases": ["gone"]}), 404),
        (json!({"keys": [ABSENT], "key_aliases": ["nope"]}), 404),
        (json!({"keys": ["not-a-hash"]}), 404),
        (json!({"keys": []}), 422),
        (json!({}), 422),
        (json!({"keys": "x"}), 422),
        (json!({"keys": [second], "key_aliases": ["third"]}), 200),
    ] {
        assert_eq!(
            gateway.post("/key/delete", &body).await.status,
            status,
            "{body}"
        );
    }
    let info = gateway
        .admin_get(MASTER, &format!("/key/info?key={hash}"))
        .await;
    assert_eq!(
        (info.status.as_u16(), &info.body["info"]["status"]),
        (200, &json!("deleted"))
    );
    for path in ["/key/update", "/key/block"] {
        assert_eq!(
            gateway.post(path, &json!({"key": hash})).await.status,
            404,
            "{path}"
        );
    }
    // The alias is free again, and so is the key.
    generate(
        &gateway,
        json!({"key_alias": "gone", "key": "sk-QJ7ZAaPj16abR07BqixA7A"}),
    )
    .await;
}
