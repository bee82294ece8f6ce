//! The main job: an engine mounted on a real server, a leased key, calls with
//! it, its budget and its end.

use std::process::Command;
use std::time::Duration;

use e2e::proxy::prompt;
use e2e::world::MOUNT;
use e2e::{Kind, World, artefacts};
use serde_json::{Value, json};

on_both!(main_job, openai_python_client, config_and_roles_are_kept);

async fn main_job(kind: Kind) {
    let world = World::start(kind).await;
    let budget = 0.001;
    world.role("app", json!({"models": "demo,scripted", "max_budget": budget, "ttl": "60s", "max_ttl": "90s"})).await;
    let lease = world.issue("app").await;
    assert_eq!(lease.ttl, Duration::from_secs(60));
    assert!(lease.alias.starts_with("vault-app-"), "{}", lease.alias);

    // A call is answered, priced, and counted against the key.
    let answer = world
        .gateway
        .send(&lease.key, &prompt("demo"))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let cost = answer
        .headers()
        .get("x-litellm-response-cost")
        .expect("the cost in a header");
    let cost: f64 = cost.to_str().expect("a text").parse().expect("a number");
    assert!(cost > 0.0 && cost < budget, "{cost}");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["object"], "chat.completion");
    let spend = world.gateway.spend(&lease.key).await;
    assert!(
        (spend - cost).abs() < 1e-12,
        "spent {spend}, the call said {cost}"
    );

    // So is a streamed one, with the provider's words in their order.
    let mut streamed = prompt("scripted");
    streamed["stream"] = json!(true);
    streamed["max_tokens"] = json!(10);
    let answer = world
        .gateway
        .send(&lease.key, &streamed)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("a stream");
    assert!(text.contains("word0 ") && text.contains("word3 "), "{text}");
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    assert!(
        !text.contains("\"usage\":{"),
        "usage that was not asked for: {text}"
    );
    e2e::eventually(
        "the stream is settled",
        Duration::from_secs(5),
        async || world.gateway.spend(&lease.key).await > cost,
    )
    .await;

    // Not this model.
    let (status, body) = world.gateway.chat(&lease.key, "other").await;
    assert_eq!(status, 403, "{body}");
    assert_eq!(body["error"]["type"], "key_model_access_denied", "{body}");

    spend_all(&world, &lease.key, budget).await;

    // The next call after the revocation is refused.
    world.server.revoke(&lease.id).await.expect_ok();
    let (status, body) = world.gateway.chat(&lease.key, "demo").await;
    assert_eq!(status, 401, "{body}");
    assert_eq!(body["error"]["code"], "401", "{body}");
    world.expect_no_leaks();
}

/// Calls until the budget refuses, which it must do before it is overspent.
async fn spend_all(world: &World, key: &str, budget: f64) {
    let refused = async {
        for _ in 0..500 {
            let (status, body) = world.gateway.chat(key, "demo").await;
            if status != 200 {
                return (status, body);
            }
        }
        panic!("500 calls fit into the budget");
    }
    .await;
    assert_eq!(refused.0, 422, "{}", refused.1);
    assert_eq!(
        refused.1["error"]["type"], "budget_exceeded",
        "{}",
        refused.1
    );
    let spend = world.gateway.spend(key).await;
    assert!(spend <= budget, "spent {spend}");
}

/// The client that most applications use, unchanged but for address and key.
async fn openai_python_client(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "scripted,demo", "max_budget": 1, "ttl": "60s"}),
        )
        .await;
    let lease = world.issue("app").await;
    let run = |key: &str| {
        Command::new(artefacts::server("openai"))
            .arg(artefacts::repository().join("tests/clients/openai_client.py"))
            .env("OPENAI_BASE_URL", format!("{}/v1", world.gateway.data))
            .env("OPENAI_API_KEY", key)
            .output()
            .expect("running the Python client")
    };
    let output = run(&lease.key);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: Value = serde_json::from_str(&text).expect("the client prints JSON");
    assert_eq!(answer["plain"], "scripted answer");
    assert_eq!(answer["streamed"], "word0 word1 word2 word3 ");
    assert_eq!(answer["usage"], 9, "prompt and completion of the stream");
    assert_eq!(answer["models"], json!(["demo", "scripted"]));
    assert_eq!(answer["denied"], "PermissionDeniedError 403");

    world.server.revoke(&lease.id).await.expect_ok();
    let output = run(&lease.key);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && text.contains("AuthenticationError"),
        "{text}"
    );
    world.expect_no_leaks();
}

async fn config_and_roles_are_kept(kind: Kind) {
    let world = World::start(kind).await;
    let config = world
        .server
        .read(&format!("{MOUNT}/config"))
        .await
        .expect_ok();
    assert_eq!(config["data"]["base_url"], world.chaos.url());
    assert!(config["data"].get("master_key").is_none(), "{config}");

    world.role("app", json!({"models": ["demo"], "max_budget": 1.5, "ttl": "1h", "max_ttl": "2h", "metadata": {"team": "a"}})).await;
    world
        .role(
            "Batch",
            json!({"models": ["demo"], "max_budget": 1, "key_alias_prefix": "job"}),
        )
        .await;
    assert_eq!(
        world.server.list(&format!("{MOUNT}/roles")).await,
        ["app", "batch"]
    );

    // A field that an update leaves out stays.
    world.role("app", json!({"ttl": "30m"})).await;
    let role = world
        .server
        .read(&format!("{MOUNT}/roles/app"))
        .await
        .expect_ok();
    assert_eq!(role["data"]["ttl"], 1800, "{role}");
    assert_eq!(role["data"]["max_budget"], 1.5, "{role}");
    assert_eq!(role["data"]["metadata"]["team"], "a", "{role}");

    expect_roles_take_effect(&world).await;

    world
        .server
        .delete(&format!("{MOUNT}/roles/app"))
        .await
        .expect_ok();
    world
        .server
        .read(&format!("{MOUNT}/roles/app"))
        .await
        .expect_refused(404);
    assert_eq!(
        world.server.list(&format!("{MOUNT}/roles")).await,
        ["batch", "open"]
    );
    world
        .server
        .delete(&format!("{MOUNT}/config"))
        .await
        .expect_ok();
    world
        .server
        .read(&format!("{MOUNT}/creds/batch"))
        .await
        .expect_refused(400);
    world.expect_no_leaks();
}

/// Metadata reaches the gateway's entry, and an unbounded role says so.
async fn expect_roles_take_effect(world: &World) {
    let lease = world.issue("batch").await;
    assert!(lease.alias.starts_with("job-batch-"), "{}", lease.alias);
    let lease = world.issue("app").await;
    let (_, info) = world
        .gateway
        .admin(
            reqwest::Method::GET,
            &format!("/key/info?key={}", lease.hash),
            &Value::Null,
        )
        .await;
    assert_eq!(info["info"]["metadata"]["team"], "a", "{info}");
    assert_eq!(info["info"]["metadata"]["vault_role"], "app", "{info}");
    let unbounded = world
        .server
        .write(&format!("{MOUNT}/roles/open"), &json!({"ttl": "1h"}))
        .await
        .expect_ok();
    assert!(
        unbounded["warnings"]
            .as_array()
            .is_some_and(|warnings| !warnings.is_empty()),
        "{unbounded}"
    );
}
