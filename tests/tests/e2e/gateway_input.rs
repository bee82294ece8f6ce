//! What the gateway answers to what is wrong, in calls and in its own set-up.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use axum::http::StatusCode;
use e2e::proxy::{Gateway, Settings, prompt, run};
use e2e::upstream::{Script, Upstream};
use e2e::world::{TestFolder, gateway_config, random_key};
use reqwest::{Body, Method};
use serde_json::{Value, json};

async fn gateway() -> (TestFolder, Upstream, Gateway) {
    let folder = TestFolder::new("gateway");
    let upstream = Upstream::start().await;
    let settings = Settings {
        folder: folder.sub("gateway"),
        master_key: random_key("master"),
        config: gateway_config(&upstream, &random_key("provider")),
    };
    let gateway = Gateway::start(settings).await;
    (folder, upstream, gateway)
}

/// Sends bytes as they are.
async fn post(gateway: &Gateway, key: &str, body: impl Into<Body>) -> (u16, Value) {
    let answer = e2e::world::http()
        .post(format!("{}/v1/chat/completions", gateway.data))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_calls_are_refused_and_never_sent() {
    let (_folder, upstream, gateway) = gateway().await;
    let key = gateway.generate(json!({"max_budget": 1})).await;
    let capped = gateway
        .generate(json!({"models": ["demo"], "max_budget": 0}))
        .await;

    let too_deep = format!("{}1{}", r#"{"messages":["#.repeat(200), "]}".repeat(200));
    for (body, status) in [
        ("{".to_owned(), 400),
        (String::new(), 400),
        ("[1, 2]".to_owned(), 400),
        (r#"{"model": 5, "messages": []}"#.to_owned(), 400),
        (
            r#"{"messages": [{"role": "user", "content": "hello"}]}"#.to_owned(),
            400,
        ),
        (
            r#"{"model": "demo", "stream": "perhaps", "messages": []}"#.to_owned(),
            400,
        ),
        (prompt("no-such-model").to_string(), 400),
        (too_deep, 400),
    ] {
        let (answered, answer) = post(&gateway, &key, body.clone()).await;
        assert_eq!(answered, status, "{body:.100}: {answer}");
        assert_eq!(
            answer["error"]["code"],
            status.to_string(),
            "{body:.100}: {answer}"
        );
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{body:.100}: {answer}");
    }
    // A budget of nothing admits nothing.
    assert_eq!(gateway.chat(&capped, "demo").await.0, 422);

    for garbage in [
        "",
        "sk-",
        "nonsense",
        "sk-llp_000000000000000000000000000000000000",
        &"x".repeat(5000),
        "sk-ü",
        "' OR 1=1 --",
    ] {
        let answer = e2e::world::http()
            .get(format!("{}/v1/models", gateway.data))
            .header(
                "authorization",
                reqwest::header::HeaderValue::from_bytes(format!("Bearer {garbage}").as_bytes())
                    .expect("a header"),
            )
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 401, "{garbage:.60}");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], "401", "{body}");
    }
    // A stored hash is no credential.
    let (_, list) = gateway.admin(Method::GET, "/key/list", &Value::Null).await;
    for hash in list["keys"].as_array().expect("a list of keys") {
        assert_eq!(gateway.try_key(hash.as_str().expect("a hash")).await, 401);
    }
    assert!(upstream.seen().is_empty());
    assert!(gateway.spend(&key).await == 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_a_hundred_megabytes_is_refused_without_being_kept() {
    let (_folder, upstream, gateway) = gateway().await;
    let key = gateway.generate(json!({})).await;
    let huge = vec![b'x'; 100 << 20];
    let before = resident_bytes(gateway.pid());
    // The gateway may refuse and hang up while the client still sends.
    let answer = e2e::world::http()
        .post(format!("{}/v1/chat/completions", gateway.data))
        .bearer_auth(&key)
        .body(huge)
        .send()
        .await;
    if let Ok(answer) = answer {
        assert_eq!(answer.status(), 413);
    }
    let grown = resident_bytes(gateway.pid()).saturating_sub(before);
    assert!(grown < 50 << 20, "the gateway grew by {grown} bytes");
    assert_eq!(gateway.chat(&key, "demo").await.0, 200, "and serves on");
    assert!(upstream.seen().is_empty());
}

fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process's status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number");
    kib * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misbehaving_provider_gives_a_clean_error_and_costs_nothing() {
    let (_folder, upstream, gateway) = gateway().await;
    let key = gateway.generate(json!({"max_budget": 1})).await;
    for (status, content_type, text) in [
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "application/json",
            r#"{"error":{"message":"overloaded"}}"#,
        ),
        (
            StatusCode::UNAUTHORIZED,
            "application/json",
            r#"{"error":{"message":"bad provider key"}}"#,
        ),
        (StatusCode::BAD_GATEWAY, "text/html", "<html>no</html>"),
        (
            StatusCode::TOO_MANY_REQUESTS,
            "application/json",
            r#"{"error":{"message":"slow down"}}"#,
        ),
    ] {
        let instead = Some((status, content_type, text.to_owned()));
        upstream.script(
            "upstream-scripted",
            Script {
                instead,
                ..Script::default()
            },
        );
        let (answered, body) = gateway.chat(&key, "scripted").await;
        assert!(
            answered >= 429 && answered != 200,
            "{status}: {answered} {body}"
        );
        assert!(body["error"]["message"].is_string(), "{status}: {body}");
        assert!(!body.to_string().contains("<html>"), "{status}: {body}");
    }
    e2e::eventually(
        "a definite refusal costs nothing",
        std::time::Duration::from_secs(5),
        async || gateway.spend(&key).await == 0.0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_admin_calls_are_refused_and_change_nothing() {
    let (_folder, _upstream, gateway) = gateway().await;
    let key = gateway
        .generate(json!({"key_alias": "taken", "max_budget": 1}))
        .await;
    for body in [
        json!({"max_budget": -1}),
        json!({"max_budget": "NaN"}),
        json!({"duration": "soon"}),
        json!({"duration": "5"}),
        json!({"key_alias": "taken"}),
        json!({"key": "no-prefix-0123456789"}),
    ] {
        let (status, answer) = gateway.admin(Method::POST, "/key/generate", &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    for (path, body) in [
        (
            "/key/update",
            json!({"key": "0".repeat(64), "max_budget": 2}),
        ),
        ("/key/block", json!({"key": "0".repeat(64)})),
        ("/key/delete", json!({"keys": ["0".repeat(64)]})),
        ("/key/delete", json!({"key_aliases": ["nobody"]})),
    ] {
        let (status, answer) = gateway.admin(Method::POST, path, &body).await;
        assert_eq!(status, 404, "{path} {body}: {answer}");
    }
    let (_, list) = gateway.admin(Method::GET, "/key/list", &Value::Null).await;
    assert_eq!(list["total_count"], 1, "{list}");
    // The admin plane is not for those who call models, and not on their port.
    let http = e2e::world::http();
    let as_user = http
        .post(format!("{}/key/generate", gateway.admin))
        .bearer_auth(&key)
        .json(&json!({}));
    let status = as_user.send().await.expect("an answer").status();
    assert!([401, 403].contains(&status.as_u16()), "{status}");
    let elsewhere = http
        .post(format!("{}/key/generate", gateway.data))
        .bearer_auth(&gateway.settings.master_key)
        .json(&json!({}));
    assert_eq!(elsewhere.send().await.expect("an answer").status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_and_expired_keys_are_refused_at_once() {
    let (_folder, _upstream, gateway) = gateway().await;
    let key = gateway.generate(json!({"duration": "2s"})).await;
    assert_eq!(gateway.try_key(&key).await, 200);
    assert_eq!(
        gateway
            .admin(Method::POST, "/key/block", &json!({"key": key}))
            .await
            .0,
        200
    );
    assert_eq!(gateway.try_key(&key).await, 401);
    assert_eq!(
        gateway
            .admin(Method::POST, "/key/unblock", &json!({"key": key}))
            .await
            .0,
        200
    );
    e2e::eventually(
        "the key expires",
        std::time::Duration::from_secs(5),
        async || gateway.try_key(&key).await == 401,
    )
    .await;
    let (_, body) = gateway.chat(&key, "demo").await;
    assert_eq!(body["error"]["type"], "expired_key", "{body}");
}

fn refused(arguments: &[&str], folder: &Path) -> String {
    let output: Output = run(arguments, folder);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn configuration_mistakes_are_named() {
    let folder = TestFolder::new("config");
    let text = refused(&["serve", "--config", "missing.yaml"], &folder.path);
    assert!(text.contains("missing.yaml"), "{text}");

    fs::write(
        folder.path.join("broken.yaml"),
        "model_list:\n  - model_name: demo\n   litellm_params: [\n",
    )
    .expect("a file");
    for arguments in [
        &["check-config", "broken.yaml"][..],
        &["serve", "--config", "broken.yaml"][..],
    ] {
        let text = refused(arguments, &folder.path);
        assert!(
            text.contains("line 3")
                || text.contains(":3:")
                || text.contains("line 4")
                || text.contains(":4:"),
            "{text}"
        );
        assert!(
            text.contains("column") || text.matches(':').count() >= 3,
            "{text}"
        );
    }

    fs::write(
        folder.path.join("unknown.yaml"),
        "llm_proxy:\n  no_such_thing: 1\n",
    )
    .expect("a file");
    let text = refused(&["check-config", "unknown.yaml"], &folder.path);
    assert!(text.contains("no_such_thing"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weak_master_key_and_taken_port_are_refused_at_start() {
    let folder = TestFolder::new("start");
    let run = |listen: &str, master_key: &str| {
        let mut command = std::process::Command::new(e2e::artefacts::gateway());
        command
            .arg("serve")
            .current_dir(&folder.path)
            .env_remove("LLM_PROXY_CONFIG")
            .env("LLM_PROXY_MASTER_KEY", master_key)
            .env("LLM_PROXY_LISTEN", listen)
            .env(
                "LLM_PROXY_ADMIN_LISTEN",
                format!("127.0.0.1:{}", e2e::ports::free()),
            )
            .env(
                "DATABASE_URL",
                format!("sqlite://{}", folder.path.join("start.db").display()),
            );
        let output = command.output().expect("running the gateway");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = run("127.0.0.1:0", "sk-short");
    assert!(text.contains("16") && !text.contains("sk-short"), "{text}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let text = run(&address, &random_key("master"));
    assert!(text.contains(&address), "it names the address: {text}");
}
