//! A model provider on loopback that does what a test scripts, well-behaved or
//! hostile, and remembers what it was asked and what it has counted.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;

/// How it answers calls for one of its models.
#[derive(Debug, Clone)]
pub struct Script {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Before the first byte of the answer.
    pub delay: Duration,
    /// Between the chunks of a stream, of which each is one token.
    pub interval: Duration,
    /// Answered instead, for what is not a model's answer.
    pub instead: Option<(StatusCode, &'static str, String)>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            prompt_tokens: 5,
            completion_tokens: 4,
            delay: Duration::ZERO,
            interval: Duration::ZERO,
            instead: None,
        }
    }
}

/// A request as the provider got it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct Shared {
    scripts: Mutex<BTreeMap<String, Script>>,
    seen: Mutex<Vec<Seen>>,
    tokens: AtomicU64,
}

#[derive(Debug)]
pub struct Upstream {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("binding the provider's port");
        let url = format!(
            "http://{}/v1",
            listener.local_addr().expect("the port just bound")
        );
        let shared = Arc::new(Shared::default());
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = serve(listener, app);
        Self {
            url,
            shared,
            server,
        }
    }

    /// What goes into `api_base`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn script(&self, model: &str, script: Script) {
        self.shared
            .scripts
            .lock()
            .expect("the scripts")
            .insert(model.to_owned(), script);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("the requests").clone()
    }

    /// Output tokens that it has sent, and would send a bill for.
    pub fn counted_tokens(&self) -> u64 {
        self.shared.tokens.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves until the handle is aborted by its owner.
pub(crate) fn serve(listener: TcpListener, app: axum::Router) -> JoinHandle<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "its owner aborts it when it goes out of scope"
    )]
    tokio::spawn(async move {
        let _ = axum::serve(listener, app).await;
    })
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = Seen {
        path: uri.path().to_owned(),
        headers,
        body: body.clone(),
    };
    shared.seen.lock().expect("the requests").push(seen);
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let model = request["model"].as_str().unwrap_or_default().to_owned();
    let script = {
        let scripts = shared.scripts.lock().expect("the scripts");
        scripts.get(&model).cloned().unwrap_or_default()
    };
    tokio::time::sleep(script.delay).await;
    if let Some((status, content_type, text)) = script.instead {
        return (status, [(header::CONTENT_TYPE, content_type)], text).into_response();
    }
    if request["stream"] == json!(true) {
        return stream(&shared, &script, &model, &request);
    }
    shared
        .tokens
        .fetch_add(script.completion_tokens, Ordering::SeqCst);
    axum::Json(json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "scripted answer"}}],
        "usage": usage(&script),
    }))
    .into_response()
}

fn usage(script: &Script) -> Value {
    json!({
        "prompt_tokens": script.prompt_tokens,
        "completion_tokens": script.completion_tokens,
        "total_tokens": script.prompt_tokens + script.completion_tokens,
    })
}

fn stream(shared: &Arc<Shared>, script: &Script, model: &str, request: &Value) -> Response {
    let model = model.to_owned();
    let chunk = move |choices: Value| {
        json!({"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1,
            "model": model, "choices": choices})
    };
    let mut events: Vec<(bool, String)> = (0..script.completion_tokens)
        .map(|number| {
            let delta = json!([{"index": 0, "finish_reason": null,
                "delta": {"role": "assistant", "content": format!("word{number} ")}}]);
            (true, chunk(delta).to_string())
        })
        .collect();
    events.push((
        false,
        chunk(json!([{"index": 0, "finish_reason": "stop", "delta": {}}])).to_string(),
    ));
    if request["stream_options"]["include_usage"] == json!(true) {
        let mut last = chunk(json!([]));
        last["usage"] = usage(script);
        events.push((false, last.to_string()));
    }
    events.push((false, "[DONE]".into()));

    let shared = Arc::clone(shared);
    let interval = script.interval;
    let body = tokio_stream::iter(events).then(move |(token, event)| {
        let shared = Arc::clone(&shared);
        async move {
            if token {
                tokio::time::sleep(interval).await;
                shared.tokens.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<_, Infallible>(Bytes::from(format!("data: {event}\n\n")))
        }
    });
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(body),
    )
        .into_response()
}
