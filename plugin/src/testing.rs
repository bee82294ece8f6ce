//! What the engine's unit tests share: a mount with storage in memory, and a
//! gateway that answers what a test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request as HttpRequest, State as AxumState};
use axum::http::StatusCode;
use axum::response::Response as HttpResponse;
use serde_json::{Map, Value, json};
use vault_plugin_sdk::testing::{MemoryStorage, RequestBuilder};
use vault_plugin_sdk::{Backend, Error, Operation, Response, Secret, Storage};

use crate::backend::{self, State};

pub(crate) mod admin;

#[expect(non_snake_case, reason = "reads as the constant that it is")]
pub(crate) fn GOOD_CONFIG() -> Value {
    json!({"base_url": "http://127.0.0.1:4001/", "master_key": "sk-canary", "verify_connection": false})
}

pub(crate) struct Mount {
    pub(crate) backend: Backend<State>,
    pub(crate) storage: Arc<MemoryStorage>,
}

impl Mount {
    pub(crate) fn new() -> Self {
        Self {
            backend: backend::backend(),
            storage: Arc::new(MemoryStorage::default()),
        }
    }

    /// A mount that is configured for `gateway` and has the role `app`.
    pub(crate) async fn at(gateway: &Gateway) -> Self {
        let mount = Self::new();
        let config = json!({"base_url": gateway.url, "master_key": "sk-canary", "verify_connection": false, "request_timeout": "1s"});
        mount.write("config", config).await.unwrap();
        mount
            .write(
                "roles/app",
                json!({"models": "m", "max_budget": 1, "ttl": "1h", "max_ttl": "2h"}),
            )
            .await
            .unwrap();
        mount
    }

    pub(crate) fn request(&self, operation: Operation, path: &str) -> RequestBuilder {
        RequestBuilder::new(operation, path).storage(self.storage.clone())
    }

    pub(crate) async fn write(&self, path: &str, data: Value) -> Result<Option<Response>, Error> {
        self.backend
            .handle(
                self.request(Operation::Update, path)
                    .data(object(data))
                    .build(),
            )
            .await
    }

    pub(crate) async fn read(&self, path: &str) -> Result<Option<Response>, Error> {
        self.backend
            .handle(self.request(Operation::Read, path).build())
            .await
    }

    pub(crate) async fn list(&self, path: &str) -> Result<Option<Response>, Error> {
        self.backend
            .handle(self.request(Operation::List, path).build())
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Option<Response>, Error> {
        self.backend
            .handle(self.request(Operation::Delete, path).build())
            .await
    }

    pub(crate) async fn on_lease(
        &self,
        operation: Operation,
        secret: Secret,
    ) -> Result<Option<Response>, Error> {
        self.backend
            .handle(self.request(operation, "creds/app").secret(secret).build())
            .await
    }

    /// The text of the 400 that a write is answered with.
    pub(crate) async fn refused(&self, path: &str, data: Value) -> String {
        match self.write(path, data).await {
            Err(Error::User(text)) => text,
            Ok(Some(response)) => response
                .data
                .and_then(|data| data["error"].as_str().map(str::to_owned))
                .expect("an error answer"),
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn coded(&self, path: &str, data: Value) -> (u16, String) {
        match self.write(path, data).await {
            Err(Error::Coded { status, message }) => (status, message),
            other => panic!("no coded error: {other:?}"),
        }
    }

    pub(crate) async fn wal_entries(&self) -> usize {
        self.storage.list("wal/").await.unwrap().len()
    }
}

/// One scripted answer.
struct Answer {
    status: u16,
    body: String,
    headers: Vec<(&'static str, String)>,
}

/// A gateway's admin API on loopback that answers from a script, in order, and
/// remembers what it was asked.
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) script: Script,
}

#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Script {
    pub(crate) fn then(&self, status: u16, body: &(impl ToString + ?Sized)) -> &Self {
        self.then_with(status, body, &[])
    }

    pub(crate) fn then_with(
        &self,
        status: u16,
        body: &(impl ToString + ?Sized),
        headers: &[(&'static str, &str)],
    ) -> &Self {
        self.answers.lock().unwrap().push_back(Answer {
            status,
            body: body.to_string(),
            headers: headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        });
        self
    }

    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let script = Script::default();
        let router = Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, script }
    }
}

async fn answer(AxumState(script): AxumState<Script>, request: HttpRequest) -> HttpResponse {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    script.asked.lock().unwrap().push((path, body));
    let answer = script.answers.lock().unwrap().pop_front();
    let answer = answer.unwrap_or_else(|| Answer {
        status: 500,
        body: "the script has ended".into(),
        headers: Vec::new(),
    });
    let mut response = HttpResponse::new(answer.body.into());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// What a gateway answers to a generate call that asked for `life` seconds.
pub(crate) fn generated(life: i64) -> Value {
    let now = chrono::Utc::now();
    json!({
        "key": "sk-canarykey0123456789", "models": ["m"], "max_budget": 1.0,
        "created_at": now, "expires": now + chrono::TimeDelta::seconds(life),
    })
}

/// As `generated`, with other fields laid over it.
pub(crate) fn generated_as(life: i64, fields: Value) -> Value {
    let mut answer = object(generated(life));
    answer.extend(object(fields));
    Value::Object(answer)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}
