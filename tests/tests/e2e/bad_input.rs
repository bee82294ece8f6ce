//! What the engine answers to what is wrong: a clear text, the right status,
//! and nothing changed.

use axum::http::StatusCode;
use e2e::chaos::Fault;
use e2e::world::MOUNT;
use e2e::{Kind, World, ports};
use serde_json::{Value, json};

on_both!(
    bad_roles_are_refused_and_change_nothing,
    bad_config_is_refused_and_changes_nothing,
    misbehaving_gateway_gives_a_clean_error_and_no_lease,
);

async fn bad_roles_are_refused_and_change_nothing(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h", "max_ttl": "2h"}),
        )
        .await;
    let before = world
        .server
        .read(&format!("{MOUNT}/roles/app"))
        .await
        .expect_ok()["data"]
        .clone();

    for (fields, word) in [
        (json!({"max_budget": -1}), "max_budget"),
        (json!({"max_budget": "NaN"}), "max_budget"),
        (json!({"max_budget": "inf"}), "max_budget"),
        (json!({"max_budget": "much"}), "max_budget"),
        (json!({"ttl": "3h"}), "max_ttl"),
        (json!({"max_ttl": "30m"}), "max_ttl"),
        (json!({"ttl": "soon"}), "ttl"),
        (json!({"ttl": -5}), "ttl"),
        (json!({"metadata": "not a map"}), "metadata"),
        (json!({"key_alias_prefix": "no spaces"}), "key_alias_prefix"),
        (json!({"rpm_limit": -5}), "rpm_limit"),
        (json!({"role_budget": -5}), "role_budget"),
        (json!({"budget_duration": "1y"}), "budget_duration"),
        (json!({"allowed_cidrs": "10.0.0.0/33"}), "allowed_cidrs"),
        (json!({"allowed_routes": "/key/generate"}), "allowed_routes"),
        (json!({"key_request": "{"}), "key_request"),
        (json!({"key_request": {"scopes": ["keys.write"]}}), "scopes"),
        (
            json!({"user_id_template": "{{identity.x}}"}),
            "user_id_template",
        ),
        (json!({"models": ["a\u{0}"]}), "control"),
    ] {
        let refusal = world
            .server
            .write(&format!("{MOUNT}/roles/app"), &fields)
            .await
            .expect_refused(400);
        assert!(refusal.contains(word), "{fields}: {refusal}");
    }
    let after = world
        .server
        .read(&format!("{MOUNT}/roles/app"))
        .await
        .expect_ok()["data"]
        .clone();
    assert_eq!(after, before);

    expect_names_are_demanded(&world).await;
    assert!(world.chaos.issued_keys().is_empty(), "nothing was issued");
    world.expect_no_leaks();
}

/// No role of that name, no name at all.
async fn expect_names_are_demanded(world: &World) {
    let refusal = world
        .server
        .read(&format!("{MOUNT}/creds/nobody"))
        .await
        .expect_refused(400);
    assert!(refusal.contains("unknown role"), "{refusal}");
    for path in ["creds/", "roles/"] {
        let answer = world
            .server
            .write(&format!("{MOUNT}/{path}"), &json!({"ttl": "1h"}))
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    let answer = world.server.read(&format!("{MOUNT}/creds/")).await;
    assert!(
        (400..500).contains(&answer.status),
        "{} {}",
        answer.status,
        answer.body
    );
    assert_eq!(world.server.list(&format!("{MOUNT}/roles")).await, ["app"]);
}

async fn bad_config_is_refused_and_changes_nothing(kind: Kind) {
    let world = World::start(kind).await;
    let before = world
        .server
        .read(&format!("{MOUNT}/config"))
        .await
        .expect_ok()["data"]
        .clone();
    let wrong = e2e::world::random_key("wrong");
    world.canaries.add(&wrong);
    let nobody = format!("http://127.0.0.1:{}", ports::free());
    let good = &world.gateway.settings.master_key;

    for (fields, status, word) in [
        (
            json!({"base_url": world.chaos.url(), "master_key": wrong}),
            400,
            "master_key",
        ),
        (
            json!({"base_url": nobody, "master_key": good}),
            502,
            nobody.as_str(),
        ),
        (
            json!({"base_url": "not a url", "master_key": good}),
            400,
            "base_url",
        ),
        (
            json!({"base_url": "ftp://127.0.0.1/", "master_key": good}),
            400,
            "base_url",
        ),
        (json!({"base_url": nobody}), 400, "master_key"),
        (json!({"request_timeout": "-1s"}), 400, "request_timeout"),
        (json!({"ca_cert": "no certificate"}), 400, "ca_cert"),
    ] {
        let answer = world
            .server
            .write(&format!("{MOUNT}/config"), &fields)
            .await;
        let refusal = answer.expect_refused(status);
        assert!(refusal.contains(word), "{fields}: {refusal}");
    }
    let after = world
        .server
        .read(&format!("{MOUNT}/config"))
        .await
        .expect_ok()["data"]
        .clone();
    assert_eq!(after, before);
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    world.issue("app").await;
    world.expect_no_leaks();
}

async fn misbehaving_gateway_gives_a_clean_error_and_no_lease(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let answer =
        |status, content_type, body: &str| Fault::Answer(status, content_type, body.to_owned());
    let never = json!({"key": e2e::world::random_key("never"), "expires": null}).to_string();
    for fault in [
        answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            "application/json",
            r#"{"error":{"message":"database down"}}"#,
        ),
        answer(StatusCode::OK, "text/html", "<html>Sign in</html>"),
        answer(
            StatusCode::BAD_GATEWAY,
            "text/html",
            "<html>Bad gateway</html>",
        ),
        answer(StatusCode::FOUND, "text/plain", ""),
        answer(StatusCode::OK, "application/json", "{}"),
        answer(StatusCode::OK, "application/json", &never),
        answer(StatusCode::OK, "application/json", &"x".repeat(10 << 20)),
        Fault::Lost,
    ] {
        let label = format!("{fault:.80?}");
        world.chaos.break_calls("/key/generate", fault);
        let answer = world.server.read(&format!("{MOUNT}/creds/app")).await;
        assert_eq!(answer.status, 502, "{label}: {}", answer.body);
        let text = answer.body.to_string();
        assert!(
            text.len() < 1500 && !text.contains("xxxx"),
            "{label}: an answer is not passed on: {text}"
        );
        assert_eq!(leases(&world).await, 0, "{label}");
    }
    // The gateway refuses for a reason that the caller may cure.
    let taken =
        r#"{"error":{"message":"Key with alias 'vault-app-x' already exists.","code":"400"}}"#;
    world.chaos.break_calls(
        "/key/generate",
        answer(StatusCode::BAD_REQUEST, "application/json", taken),
    );
    let refused = world.server.read(&format!("{MOUNT}/creds/app")).await;
    assert!(
        refused.body.to_string().contains("already exists"),
        "{}",
        refused.body
    );
    assert_eq!(leases(&world).await, 0);

    world.chaos.heal();
    world.issue("app").await;
    assert_eq!(leases(&world).await, 1);
    world.expect_no_leaks();
}

async fn leases(world: &World) -> usize {
    let answer = world
        .server
        .call(
            reqwest::Method::GET,
            &format!("sys/leases/lookup/{MOUNT}/creds/app?list=true"),
            &Value::Null,
        )
        .await;
    answer.body["data"]["keys"].as_array().map_or(0, Vec::len)
}
