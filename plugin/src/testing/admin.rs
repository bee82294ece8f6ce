//! A gateway that keeps keys, for tests in which it matters which of them live.
//! Fails one of its calls when told to, before or after the call took effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Request as HttpRequest, State as AxumState};
use axum::http::{StatusCode, header};
use axum::response::Response as HttpResponse;
use serde_json::{Value, json};

use crate::client::MasterKey;

pub(crate) const STATIC_KEY: &str = "sk-canary-static-master";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    LlmProxy,
    LiteLlm,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// 500, and nothing happened.
    Before,
    /// It happened, and the answer is a 500.
    After,
    /// It happened, and the answer makes no sense.
    Garbled,
}

#[derive(Debug, Clone)]
pub(crate) struct FakeKey {
    pub(crate) alias: String,
    pub(crate) is_admin: bool,
    /// As `/key/list` shows it.
    pub(crate) row: Value,
}

pub(crate) struct Inner {
    pub(crate) style: Style,
    /// By hash.
    pub(crate) keys: BTreeMap<String, FakeKey>,
    pub(crate) users: BTreeMap<String, String>,
    pub(crate) calls: Vec<String>,
    pub(crate) cut: Option<(usize, Cut)>,
    made: usize,
}

/// The gateway on loopback. Its static master key is `STATIC_KEY`.
#[derive(Clone)]
pub(crate) struct FakeAdmin {
    pub(crate) url: String,
    inner: Arc<Mutex<Inner>>,
}

impl FakeAdmin {
    pub(crate) async fn start(style: Style) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::new(Mutex::new(Inner {
                style,
                keys: BTreeMap::new(),
                users: BTreeMap::new(),
                calls: Vec::new(),
                cut: None,
                made: 0,
            })),
        };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        fake
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Fails the call with this number, counted from now; the first is 1.
    pub(crate) fn cut(&self, call: usize, cut: Cut) {
        let mut inner = self.inner();
        inner.calls.clear();
        inner.cut = Some((call, cut));
    }

    pub(crate) fn works_again(&self) {
        self.inner().cut = None;
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.inner().calls.clone()
    }

    /// Whether the gateway takes this as an admin key.
    pub(crate) fn admits(&self, key: &str) -> bool {
        self.inner().admits(key)
    }

    /// The aliases of the keys that live.
    pub(crate) fn aliases(&self) -> Vec<String> {
        let inner = self.inner();
        inner.keys.values().map(|key| key.alias.clone()).collect()
    }

    /// Adds a key that no call made, and answers its hash.
    pub(crate) fn add(&self, text: &str, mut row: Value) -> String {
        let hash = hash(text);
        row["token"] = json!(hash);
        self.inner().keys.insert(
            hash.clone(),
            FakeKey {
                alias: row["key_alias"].as_str().unwrap_or_default().to_owned(),
                is_admin: row["user_id"].is_string() || row["scopes"].is_array(),
                row,
            },
        );
        hash
    }
}

fn hash(text: &str) -> String {
    MasterKey::parse(text).unwrap().hash()
}

impl Inner {
    fn admits(&self, key: &str) -> bool {
        key == STATIC_KEY
            || self
                .keys
                .get(&hash(key))
                .is_some_and(|known| known.is_admin)
    }

    fn call(&mut self, path: &str, query: &BTreeMap<String, String>, body: &Value) -> (u16, Value) {
        let text = |name: &str| query.get(name).cloned().unwrap_or_default();
        match path {
            "/health/readiness" if self.style == Style::LlmProxy => (
                200,
                json!({"status": "healthy", "gateway": "llm-proxy", "version": "1.0.0", "features": ["scopes"]}),
            ),
            "/health/readiness" => (200, json!({"status": "healthy", "db": "connected"})),
            "/key/list" => self.list(&text("page"), &text("size")),
            "/key/info" => match self.keys.get(&text("key")) {
                Some(key) => (200, json!({"key": text("key"), "info": key.row})),
                None => (
                    404,
                    json!({"error": {"message": "Key not found in database"}}),
                ),
            },
            "/key/generate" => self.generate(body),
            "/key/delete" => self.delete(body),
            "/user/new" => {
                let id = body["user_id"].as_str().unwrap().to_owned();
                if self.users.contains_key(&id) {
                    return (409, json!({"error": {"message": "User already exists"}}));
                }
                let role = body["user_role"].as_str().unwrap_or_default();
                self.users.insert(id, role.to_owned());
                (200, json!({"key": ""}))
            }
            "/user/info" => (
                200,
                json!({"user_info": {"user_role": self.users.get(&text("user_id"))}}),
            ),
            _ => (404, json!({"detail": "Not Found"})),
        }
    }

    fn list(&self, page: &str, size: &str) -> (u16, Value) {
        let size: usize = size.parse().unwrap_or(10);
        let page: usize = page.parse().unwrap_or(1);
        let rows: Vec<Value> = self.keys.values().map(|key| key.row.clone()).collect();
        let pages = rows.len().div_ceil(size);
        let keys: Vec<Value> = rows
            .into_iter()
            .skip((page - 1) * size)
            .take(size)
            .collect();
        let body = json!({"keys": keys, "total_count": self.keys.len(), "current_page": page, "total_pages": pages});
        (200, body)
    }

    fn generate(&mut self, body: &Value) -> (u16, Value) {
        let alias = body["key_alias"].as_str().unwrap_or_default().to_owned();
        if self.keys.values().any(|key| key.alias == alias) {
            return (400, json!({"error": {"message": "alias exists"}}));
        }
        self.made += 1;
        let text = format!("sk-canary-made-{}", self.made);
        let user = body["user_id"].as_str();
        let has_admin_user = user
            .and_then(|user| self.users.get(user))
            .is_some_and(|role| role == "proxy_admin");
        let has_scopes = self.style == Style::LlmProxy && body["scopes"].is_array();
        let mut row = body.clone();
        row["token"] = json!(hash(&text));
        let mut answer = row.clone();
        answer["key"] = json!(text);
        answer["expires"] = Value::Null;
        if self.style == Style::LiteLlm {
            answer.as_object_mut().unwrap().remove("scopes");
        }
        self.keys.insert(
            hash(&text),
            FakeKey {
                alias,
                is_admin: has_admin_user || has_scopes,
                row,
            },
        );
        (200, answer)
    }

    fn delete(&mut self, body: &Value) -> (u16, Value) {
        let names = |field: &str| -> Vec<String> {
            let values = body[field].as_array().cloned().unwrap_or_default();
            values
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let (hashes, aliases) = (names("keys"), names("key_aliases"));
        let before = self.keys.len();
        self.keys
            .retain(|hash, key| !hashes.contains(hash) && !aliases.contains(&key.alias));
        if self.keys.len() == before {
            // LiteLLM 1.106.2: a printed dict inside the envelope.
            return (
                404,
                json!({"error": {"message": "{'error': 'No keys found'}"}}),
            );
        }
        let deleted = [hashes, aliases].concat();
        (200, json!({"deleted_keys": deleted}))
    }
}

async fn answer(AxumState(fake): AxumState<FakeAdmin>, request: HttpRequest) -> HttpResponse {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .into_owned()
        .collect();
    let path = parts.uri.path().to_owned();
    let bearer = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();

    let mut inner = fake.inner();
    inner.calls.push(path.clone());
    let cut = inner.cut.filter(|(at, _)| *at == inner.calls.len());
    let cut = cut.map(|(_, cut)| cut);
    let (status, answer) = if cut == Some(Cut::Before) {
        (500, json!({"error": {"message": "cut before"}}))
    } else if path != "/health/readiness" && !inner.admits(bearer) {
        (401, json!({"error": {"message": "Authentication Error"}}))
    } else {
        inner.call(&path, &query, &body)
    };
    let (status, text) = match cut {
        Some(Cut::After) => (500, "cut after".to_owned()),
        Some(Cut::Garbled) => (200, "<html>".to_owned()),
        _ => (status, answer.to_string()),
    };
    let mut response = HttpResponse::new(text.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
