//! A gateway that is hostile or confused down to the bytes: a clean error in
//! bounded time, the write-ahead entry kept, and the key ended by a rollback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vault_plugin_sdk::{Operation, Secret};

use crate::testing::{Gateway, Mount, generated};

/// What a gateway does with a connection once it has read the request.
#[derive(Clone)]
enum Answer {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// A good head, then a byte now and then for as long as anyone listens.
    Drip,
    /// Nothing at all.
    Silence,
    /// A good head, then more than anyone wants to read.
    Flood,
}

struct Hostile {
    url: String,
    calls: Arc<AtomicUsize>,
}

impl Hostile {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let _ = answer_with(stream, answer).await;
                });
            }
        });
        Self { url, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn answer_with(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    let mut request = [0; 8192];
    let _ = stream.read(&mut request).await?;
    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10485760\r\n\r\n";
    match answer {
        Answer::Bytes(bytes) => stream.write_all(&bytes).await,
        Answer::Silence => {
            let _ = stream.read(&mut request).await?;
            Ok(())
        }
        Answer::Drip => {
            stream.write_all(head).await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Answer::Flood => {
            stream.write_all(head).await?;
            for _ in 0..160 {
                stream.write_all(&[b' '; 65536]).await?;
            }
            Ok(())
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Bytes(
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
            .into_bytes(),
    )
}

fn json_body(body: &str) -> Answer {
    http("200 OK", "content-type: application/json\r\n", body)
}

/// Each answer, and a part of the error that it must become.
fn answers(trap: &str) -> Vec<(Answer, &'static str)> {
    let redirect = format!("location: {trap}/key/generate\r\n");
    let mut wrong_hash = generated(3660);
    wrong_hash["token_id"] = json!("0".repeat(64));
    let mut huge_budget = generated(3660);
    huge_budget["max_budget"] = json!(1e308);
    let mut far_expiry = generated(3660);
    far_expiry["expires"] = json!("9999-12-31T23:59:59Z");
    let mut past_expiry = generated(3660);
    past_expiry["expires"] = json!("1970-01-01T00:00:00Z");
    let mut no_key = generated(3660);
    no_key["key"] = Value::Null;
    let mut other_models = generated(3660);
    other_models["models"] = json!(["m", "all-proxy-models"]);
    vec![
        (http("500 Oops", "", "sk-canary1"), "status 500"),
        (http("503 Busy", "retry-after: 1\r\n", ""), "status 503"),
        (http("429 Slow", "", "{}"), "status 429"),
        (
            http(
                "200 OK",
                "content-type: text/html\r\n",
                "<html>sk-canary1</html>",
            ),
            "none of a LiteLLM key API",
        ),
        (http("302 Found", &redirect, ""), "status 302"),
        (http("307 Again", &redirect, ""), "status 307"),
        (http("308 Moved", &redirect, ""), "status 308"),
        (
            http(
                "400 Bad",
                "",
                r#"{"error":{"message":"Key with alias 'a' already exists. sk-canary1"}}"#,
            ),
            "already exists",
        ),
        (json_body("{}"), "none of a LiteLLM key API"),
        (json_body("[]"), "none of a LiteLLM key API"),
        (json_body(r#"{"key":"#), "none of a LiteLLM key API"),
        (
            json_body(r#"{"key":"sk-canary1","max_budget":1e999}"#),
            "none of a LiteLLM key API",
        ),
        (json_body(&no_key.to_string()), "none of a LiteLLM key API"),
        (json_body(&wrong_hash.to_string()), "SHA-256"),
        (json_body(&huge_budget.to_string()), "larger budget"),
        (json_body(&far_expiry.to_string()), "life of"),
        (json_body(&past_expiry.to_string()), "upper bound"),
        (json_body(&other_models.to_string()), "does not name"),
        (Answer::Flood, "over 1 MiB"),
        (Answer::Drip, "can't be reached"),
        (Answer::Silence, "no answer within request_timeout"),
        (Answer::Bytes(Vec::new()), "can't be reached"),
        (
            Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"key\"".to_vec()),
            "can't be reached",
        ),
        (
            Answer::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n".to_vec()),
            "can't be reached",
        ),
        (
            Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            "can't be reached",
        ),
    ]
}

#[tokio::test]
async fn a11_whatever_the_gateway_answers_no_key_is_without_a_lease_or_an_entry() {
    let trap = Hostile::start(Answer::Silence).await;
    for (answer, expected) in answers(&trap.url) {
        let hostile = Hostile::start(answer).await;
        let mount = mount_at(&hostile.url).await;
        let started = Instant::now();
        let error = mount.read("creds/app").await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("canary"), "{error}");
        // The timeout of a second for the call, and once more for taking back.
        assert!(started.elapsed() < Duration::from_secs(8), "{expected}");
        assert_eq!(mount.wal_entries().await, 1, "{expected}");
        assert!(hostile.calls() > 0, "{expected}");

        // The rollback of that entry ends the key, whatever became of it.
        let healed = Gateway::start().await;
        mount.write("config", config(&healed.url)).await.unwrap();
        healed.script.then(200, &json!({"deleted_keys": ["x"]}));
        let rollback = mount.request(Operation::Rollback, "");
        let rollback = rollback.data(serde_json::Map::from_iter([(
            "immediate".to_owned(),
            json!(true),
        )]));
        mount.backend.handle(rollback.build()).await.unwrap();
        let (path, body) = healed.script.asked().pop().unwrap();
        assert_eq!(path, "/key/delete", "{expected}");
        assert!(body["key_aliases"][0].is_string(), "{expected}: {body}");
        assert_eq!(mount.wal_entries().await, 0, "{expected}");
    }
    assert_eq!(trap.calls(), 0, "the admin key was carried elsewhere");
}

#[tokio::test]
async fn a11_whatever_the_gateway_answers_a_lease_stays_as_it_is() {
    let trap = Hostile::start(Answer::Silence).await;
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(200, &generated(3660));
    let response = mount.read("creds/app").await.unwrap().unwrap();
    let mut secret: Secret = response.secret.unwrap();
    secret.lease.issue_time = Some(chrono::Utc::now());
    for (answer, expected) in answers(&trap.url) {
        // What generate must not answer, update and delete may.
        if ["SHA-256", "larger budget", "does not name"].contains(&expected) {
            continue;
        }
        let hostile = Hostile::start(answer).await;
        mount.write("config", config(&hostile.url)).await.unwrap();
        secret
            .internal_data
            .insert("base_url".into(), json!(hostile.url));
        for operation in [Operation::Renew, Operation::Revoke] {
            let named = format!("{operation:?} {expected}");
            let outcome = mount.on_lease(operation, secret.clone()).await;
            // An empty object from update tells of no expiry: LiteLLM's own.
            let tells_nothing = expected == "none of a LiteLLM key API";
            assert!(outcome.is_err() || tells_nothing, "{named}");
            if let Err(error) = outcome {
                assert!(!error.to_string().contains("canary"), "{named}: {error}");
            }
        }
    }
    assert_eq!(trap.calls(), 0, "the admin key was carried elsewhere");
}

pub(super) fn config(url: &str) -> Value {
    json!({"base_url": url, "master_key": "sk-canary", "verify_connection": false, "request_timeout": "1s"})
}

pub(super) async fn mount_at(url: &str) -> Mount {
    let mount = Mount::new();
    mount.write("config", config(url)).await.unwrap();
    let role = json!({"models": "m", "max_budget": 1, "ttl": "1h", "max_ttl": "2h"});
    mount.write("roles/app", role).await.unwrap();
    mount
}

/// A gateway that is slow and counts how much it does at once.
pub(super) struct Slow {
    pub(super) url: String,
    state: Arc<SlowState>,
}

struct SlowState {
    delay: Duration,
    answer: Value,
    under_way: AtomicUsize,
    most: AtomicUsize,
    paths: Mutex<Vec<String>>,
}

impl Slow {
    pub(super) async fn start(delay: Duration, answer: Value) -> Self {
        let state = Arc::new(SlowState {
            delay,
            answer,
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            paths: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer_slowly)
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state }
    }

    /// How many calls wait for their answer now.
    pub(super) fn under_way(&self) -> usize {
        self.state.under_way.load(Ordering::SeqCst)
    }

    /// How many did so at once, at most.
    pub(super) fn most(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.state.paths.lock().unwrap().clone()
    }
}

async fn answer_slowly(State(state): State<Arc<SlowState>>, uri: Uri) -> String {
    state.paths.lock().unwrap().push(uri.path().to_owned());
    let now = state.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    state.most.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(state.delay).await;
    state.under_way.fetch_sub(1, Ordering::SeqCst);
    state.answer.to_string()
}
