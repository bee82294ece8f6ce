//! Goal: a caller of the admin plane may do exactly what it was given, and can
//! give itself nothing. Method: every route of the table against every kind of
//! caller, then each way in which a key could come by more.

use chrono::Duration;
use http::StatusCode;
use serde_json::{Value, json};

use super::{ABSENT, Answer, Gateway, MASTER, on_both, text};
use crate::key::Scope;

const WRITE: &str = "keys.write";
const READ: &str = "keys.read";

/// Each route, a harmless request to it, the scope that it needs, and what an
/// ordinary key is told.
const ROUTES: [(&str, &str, &str, u16); 7] = [
    ("POST", "/key/generate", WRITE, 401),
    ("POST", "/key/update", WRITE, 401),
    ("POST", "/key/delete", WRITE, 401),
    ("POST", "/key/block", WRITE, 401),
    ("POST", "/key/unblock", WRITE, 401),
    ("GET", "/key/info", READ, 200),
    ("GET", "/key/list", READ, 403),
];

async fn admin_key(gateway: &Gateway, scopes: &[&str]) -> (String, String) {
    let body = json!({"scopes": scopes, "key_type": "management"});
    let made = gateway.post("/key/generate", &body).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.body["scopes"], json!(scopes));
    (text(&made, "key"), text(&made, "token"))
}

async fn ask(gateway: &Gateway, key: &str, method: &str, path: &str) -> Answer {
    match method {
        "GET" => gateway.admin_get(key, path).await,
        _ => gateway.post_as(key, path, &json!({"max_budget": 1})).await,
    }
}

on_both![
    every_route_answers_each_caller_as_its_scopes_say,
    an_admin_key_calls_nothing_on_the_data_plane,
    scopes_are_shown_and_an_unknown_one_is_refused_by_its_place,
    nobody_comes_by_a_scope_through_a_key_that_lacks_it,
    an_admin_key_that_ended_is_refused_on_the_very_next_call,
    allowed_routes_bind_an_admin_key_too,
    a_slow_call_is_bound_by_what_its_key_became_meanwhile,
];

async fn every_route_answers_each_caller_as_its_scopes_say() {
    let gateway = Gateway::start().await;
    let ordinary = text(&gateway.post("/key/generate", &json!({})).await, "key");
    let admins = {
        let mut admins = Vec::new();
        for scope in Scope::ALL {
            let (key, _) = admin_key(&gateway, &[scope.as_str()]).await;
            admins.push((scope.as_str(), key));
        }
        admins
    };
    for (method, path, needed, to_ordinary) in ROUTES {
        let status = async |key: &str| ask(&gateway, key, method, path).await.status.as_u16();
        // Past the gate: done, or refused for what the request says.
        let passed = |status: u16| matches!(status, 200 | 404 | 422);
        assert!(passed(status(MASTER).await), "{path} by the master key");
        assert_eq!(status(&ordinary).await, to_ordinary, "{path}");
        assert_eq!(status("sk-nobody").await, 401, "{path}");
        for (scope, key) in &admins {
            let found = status(key).await;
            match *scope == needed {
                true => assert!(passed(found), "{path} with {scope}: {found}"),
                false => assert_eq!(found, 403, "{path} with {scope}"),
            }
        }
    }
}

async fn an_admin_key_calls_nothing_on_the_data_plane() {
    let gateway = Gateway::start().await;
    let (key, _) = admin_key(&gateway, &[READ, WRITE]).await;
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
    for path in ["/v1/chat/completions", "/chat/completions"] {
        assert_eq!(gateway.data_post(&key, path, &body).await.status, 403);
        assert_eq!(gateway.data_post(MASTER, path, &body).await.status, 200);
    }
    for path in ["/v1/models", "/models", "/key/info"] {
        assert_eq!(gateway.data_get(&key, path).await.status, 403, "{path}");
    }
}

async fn scopes_are_shown_and_an_unknown_one_is_refused_by_its_place() {
    let gateway = Gateway::start().await;
    let (key, hash) = admin_key(&gateway, &[READ]).await;
    let own = gateway.admin_get(&key, "/key/info").await;
    assert_eq!(own.body["info"]["scopes"], json!([READ]));
    let any = format!("/key/info?key={hash}");
    let shown = gateway.admin_get(&key, &any).await;
    assert_eq!(shown.body["info"]["scopes"], json!([READ]));
    let list = "/key/list?return_full_object=true";
    let listed = gateway.admin_get(&key, list).await;
    assert_eq!(listed.body["keys"][0]["scopes"], json!([READ]));
    for (scopes, status, named) in [
        (
            json!(["keys.read", "keys.admin"]),
            400,
            "number 2 of scopes",
        ),
        (json!(["<b>\n"]), 400, "number 1 of scopes"),
        (json!("keys.read"), 422, "list"),
        (json!([1]), 422, "list"),
        (json!(null), 200, ""),
        (json!([]), 200, ""),
    ] {
        let answer = gateway
            .post("/key/generate", &json!({"scopes": scopes}))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{scopes}");
        assert!(answer.body.to_string().contains(named), "{}", answer.body);
    }
}

async fn nobody_comes_by_a_scope_through_a_key_that_lacks_it() {
    let gateway = Gateway::start().await;
    let (writer, own) = admin_key(&gateway, &[WRITE]).await;
    let (_, strong) = admin_key(&gateway, &[WRITE, "models.write"]).await;
    let ordinary = text(&gateway.post("/key/generate", &json!({})).await, "token");
    let refused = [
        ("/key/generate", json!({"scopes": [READ]})),
        ("/key/generate", json!({"scopes": [WRITE, READ]})),
        ("/key/update", json!({"key": own, "scopes": [WRITE, READ]})),
        ("/key/update", json!({"key": ordinary, "scopes": [READ]})),
        // One that it could hold expired or blocked must not come back either.
        ("/key/update", json!({"key": strong, "duration": "1h"})),
        ("/key/update", json!({"key": strong, "scopes": []})),
        ("/key/unblock", json!({"key": strong})),
    ];
    for (path, body) in refused {
        let answer = gateway.post_as(&writer, path, &body).await;
        assert_eq!(answer.status, 403, "{path} {body}: {}", answer.body);
        assert_eq!(answer.body["error"]["param"], "scopes", "{path} {body}");
    }
    let shown = gateway
        .admin_get(MASTER, &format!("/key/info?key={strong}"))
        .await;
    assert_eq!(shown.body["info"]["expires"], Value::Null);
    assert_eq!(shown.body["info"]["scopes"], json!([WRITE, "models.write"]));
    let twin = json!({"scopes": [WRITE], "key_type": "management"});
    let grown = json!({"key": ordinary, "scopes": [WRITE], "key_type": "management"});
    for (path, body) in [
        ("/key/generate", twin),
        ("/key/generate", json!({"max_budget": 1})),
        ("/key/update", grown),
        ("/key/update", json!({"key": own, "duration": "1h"})),
        // What only takes away needs no more than keys.write.
        ("/key/block", json!({"key": strong})),
        ("/key/delete", json!({"keys": [strong]})),
    ] {
        let answer = gateway.post_as(&writer, path, &body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    }
}

async fn an_admin_key_that_ended_is_refused_on_the_very_next_call() {
    let gateway = Gateway::start().await;
    for (path, field) in [
        ("/key/delete", "keys"),
        ("/key/block", "key"),
        ("/key/update", "key"),
    ] {
        let (key, hash) = admin_key(&gateway, &[READ, WRITE]).await;
        assert_eq!(gateway.admin_get(&key, "/key/list").await.status, 200);
        let named = match field {
            "keys" => json!([hash]),
            _ => json!(hash),
        };
        let mut body = json!({ field: named });
        if path == "/key/update" {
            body["duration"] = json!("60s");
        }
        // It may end itself.
        assert_eq!(gateway.post_as(&key, path, &body).await.status, 200);
        gateway.clock.advance(Duration::seconds(60));
        for status in [
            gateway.admin_get(&key, "/key/list").await.status,
            gateway
                .post_as(&key, "/key/generate", &json!({}))
                .await
                .status,
        ] {
            assert_eq!(status, 401, "{path}");
        }
    }
    let (key, hash) = admin_key(&gateway, &[READ]).await;
    let body = json!({"key": hash, "scopes": []});
    assert_eq!(gateway.post("/key/update", &body).await.status, 200);
    let refused = gateway.admin_get(&key, "/key/list").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

async fn allowed_routes_bind_an_admin_key_too() {
    let gateway = Gateway::start().await;
    let body = json!({"scopes": [READ, WRITE], "allowed_routes": ["/key/list"]});
    let key = text(&gateway.post("/key/generate", &body).await, "key");
    assert_eq!(gateway.admin_get(&key, "/key/list").await.status, 200);
    let other = format!("/key/info?key={ABSENT}");
    assert_eq!(gateway.admin_get(&key, &other).await.status, 403);
    let refused = gateway.post_as(&key, "/key/generate", &json!({})).await;
    assert_eq!(refused.status, 403);
}

async fn a_slow_call_is_bound_by_what_its_key_became_meanwhile() {
    let gateway = Gateway::start().await;
    for became in [
        json!({"scopes": [READ]}),
        json!({"allowed_routes": ["/models"]}),
    ] {
        let made = gateway.post("/key/generate", &json!({})).await;
        let key = text(&made, "key");
        // Let in from memory, and so before anything else is done.
        assert_eq!(gateway.try_key(&key).await.status, 200);
        let mut update = became.clone();
        update["key"] = made.body["token"].clone();
        let chat = gateway
            .chat_slowly(&key, "/v1/chat/completions", update)
            .await;
        assert_eq!(chat.status, 403, "{became}: {}", chat.body);
    }
}
