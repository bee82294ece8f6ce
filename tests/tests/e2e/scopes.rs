//! Admin keys on the real gateway: what a key with scopes can and cannot do, and
//! that one can replace another.

use e2e::proxy::{Gateway, Settings};
use e2e::upstream::Upstream;
use e2e::world::{TestFolder, gateway_config, http, random_key};
use serde_json::{Value, json};

async fn post(gateway: &Gateway, key: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = http().post(format!("{}{path}", gateway.admin));
    let answer = request.bearer_auth(key).json(body).send().await;
    let answer = answer.expect("an answer of the admin plane");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn list(gateway: &Gateway, key: &str) -> u16 {
    let request = http().get(format!("{}/key/list", gateway.admin));
    let answer = request.bearer_auth(key).send().await;
    answer
        .expect("an answer of the admin plane")
        .status()
        .as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_key_makes_its_successor_and_is_deleted_by_it() {
    let folder = TestFolder::new("scopes");
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(Settings {
        folder: folder.sub("gateway"),
        master_key: random_key("master"),
        config: gateway_config(&upstream, &random_key("provider")),
    })
    .await;
    let ready = gateway
        .get("/health/readiness", "")
        .await
        .expect("an answer");
    let ready: Value = ready.json().await.expect("JSON");
    let features = ready["features"].as_array().expect("a list");
    for feature in ["scopes", "shared_budgets", "shared_budget_windows"] {
        assert!(features.contains(&json!(feature)), "{ready}");
    }

    let wanted = json!({"key_type": "management", "scopes": ["keys.read", "keys.write"]});
    let first = gateway.generate(wanted.clone()).await;
    assert_eq!(gateway.try_key(&first).await, 403, "it calls no models");
    assert_eq!(gateway.chat(&first, "demo").await.0, 403);
    let (status, made) = post(&gateway, &first, "/key/generate", &json!({})).await;
    assert_eq!(status, 200, "{made}");
    let ordinary = made["key"].as_str().expect("a key");
    assert_eq!(gateway.try_key(ordinary).await, 200);
    assert_eq!(
        post(&gateway, ordinary, "/key/generate", &wanted).await.0,
        401
    );
    let more = json!({"scopes": ["keys.write", "models.write"]});
    assert_eq!(post(&gateway, &first, "/key/generate", &more).await.0, 403);

    let (status, made) = post(&gateway, &first, "/key/generate", &wanted).await;
    assert_eq!(status, 200, "{made}");
    let second = made["key"].as_str().expect("a key").to_owned();
    assert_eq!(list(&gateway, &second).await, 200);
    let delete = json!({"keys": [first]});
    assert_eq!(post(&gateway, &second, "/key/delete", &delete).await.0, 200);
    assert_eq!(list(&gateway, &first).await, 401, "on the very next call");

    gateway.stop().await;
    gateway.start_again().await;
    assert_eq!(
        list(&gateway, &second).await,
        200,
        "scopes outlive a restart"
    );
    assert_eq!(gateway.try_key(&second).await, 403);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_works_only_from_where_its_connection_may_come() {
    let folder = TestFolder::new("cidrs");
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(Settings {
        folder: folder.sub("gateway"),
        master_key: random_key("master"),
        config: gateway_config(&upstream, &random_key("provider")),
    })
    .await;
    for (block, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 403)] {
        let key = gateway.generate(json!({"allowed_cidrs": [block]})).await;
        assert_eq!(gateway.try_key(&key).await, status, "{block}");
        let request = http().get(format!("{}/v1/models", gateway.data));
        let claimed = request.header("x-forwarded-for", "10.0.0.1");
        let answer = claimed.bearer_auth(&key).send().await.expect("an answer");
        assert_eq!(
            answer.status().as_u16(),
            status,
            "{block}: a header says nothing"
        );
    }
    gateway.stop().await;
}
