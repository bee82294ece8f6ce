//! A mount with one static role before a gateway that keeps keys as a real one
//! does, and that fails at any call, before or after it has done what was asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request as HttpRequest, State as AxumState};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::testing::{FaultStorage, MemoryStorage, RequestBuilder, StaticSystemView};
use vault_plugin_sdk::{
    Backend, Error, Operation, Response, Storage, StorageEntry, StorageError, get_json, put_json,
};

use crate::backend::{self, State};
use crate::paths::static_roles::StaticRole;

/// What goes wrong at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Refused,
    /// It is done, and the answer does not tell.
    AnswerLost,
    Nonsense,
}

#[derive(Default)]
pub(super) struct Model {
    /// By alias: the key and its expiry.
    pub(super) keys: BTreeMap<String, (String, DateTime<Utc>)>,
    pub(super) calls: Vec<(String, Value)>,
    /// From which call on, counted from the arming, and to which.
    fault: Option<(usize, usize, Wrong)>,
    issued: usize,
    /// The longest life that it grants, in seconds.
    pub(super) longest: Option<i64>,
    /// What it says of the expiry that an update asked for.
    pub(super) updated_expiry: Option<Value>,
}

impl Model {
    fn act(&mut self, path: &str, body: &Value) -> (u16, Value) {
        match path {
            "/key/generate" => self.generate(body),
            "/key/update" => self.update(body),
            "/key/delete" => self.delete(body),
            "/health/readiness" => (200, json!({"status": "healthy"})),
            _ => (404, json!({"detail": "Not Found"})),
        }
    }

    /// Now, and when a key dies that was asked for now.
    fn expiry(&self, body: &Value) -> (DateTime<Utc>, DateTime<Utc>) {
        let now = Utc::now();
        let text = body["duration"].as_str().unwrap();
        let seconds: i64 = text.strip_suffix('s').unwrap().parse().unwrap();
        let granted = seconds.min(self.longest.unwrap_or(seconds));
        (now, now + TimeDelta::seconds(granted))
    }

    fn generate(&mut self, body: &Value) -> (u16, Value) {
        self.issued += 1;
        let key = format!("sk-canary-static-{}", self.issued);
        let (now, expires) = self.expiry(body);
        let alias = body["key_alias"].as_str().unwrap().to_owned();
        self.keys.insert(alias, (key.clone(), expires));
        let answer = json!({"key": key, "created_at": now, "expires": expires,
            "models": body["models"], "max_budget": body["max_budget"]});
        (200, answer)
    }

    fn update(&mut self, body: &Value) -> (u16, Value) {
        let (now, expires) = self.expiry(body);
        let Some(alias) = self.alias_of(body["key"].as_str().unwrap()) else {
            return (404, json!({"error": {"message": "Key not found."}}));
        };
        self.keys.get_mut(&alias).unwrap().1 = expires;
        let told = self.updated_expiry.clone();
        let expires = told.unwrap_or_else(|| json!(expires));
        (200, json!({"updated_at": now, "expires": expires}))
    }

    fn delete(&mut self, body: &Value) -> (u16, Value) {
        let alias = match body["key_aliases"][0].as_str() {
            Some(alias) => Some(alias.to_owned()),
            None => self.alias_of(body["keys"][0].as_str().unwrap()),
        };
        match alias.and_then(|alias| self.keys.remove(&alias)) {
            Some(_) => (200, json!({"deleted_keys": ["x"]})),
            None => (404, json!({"error": {"message": "No keys found"}})),
        }
    }

    fn alias_of(&self, hash: &str) -> Option<String> {
        let found = self.keys.iter().find(|(_, (key, _))| hash_of(key) == hash);
        found.map(|(alias, _)| alias.clone())
    }
}

pub(super) fn hash_of(key: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Storage that can do what it is told to and report a failure, as a server
/// does whose answer is lost.
#[derive(Debug)]
struct Unsure {
    inner: Arc<MemoryStorage>,
    loses_answers: AtomicBool,
}

impl Unsure {
    fn answer(&self, done: Result<(), StorageError>) -> Result<(), StorageError> {
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(StorageError::Unavailable("the answer is lost".into()));
        }
        done
    }
}

#[async_trait::async_trait]
impl Storage for Unsure {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError> {
        self.inner.get(key).await
    }

    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError> {
        let is_role = entry.key.starts_with("static-role/");
        let done = self.inner.put(entry).await;
        if is_role { self.answer(done) } else { done }
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let done = self.inner.delete(key).await;
        if key.starts_with("static-role/") {
            return self.answer(done);
        }
        done
    }
}

type Shared = Arc<Mutex<Model>>;

pub(super) struct World {
    pub(super) backend: Arc<Backend<State>>,
    pub(super) memory: Arc<MemoryStorage>,
    pub(super) storage: Arc<FaultStorage>,
    unsure: Arc<Unsure>,
    pub(super) system: Arc<StaticSystemView>,
    pub(super) gateway: Shared,
}

impl World {
    /// Configured, without a role.
    pub(super) async fn empty() -> Self {
        let gateway = Shared::default();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&gateway));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let memory = Arc::new(MemoryStorage::new());
        let unsure = Arc::new(Unsure {
            inner: memory.clone(),
            loses_answers: AtomicBool::new(false),
        });
        let world = Self {
            backend: Arc::new(backend::backend()),
            storage: Arc::new(FaultStorage::new(unsure.clone())),
            unsure,
            memory,
            system: Arc::new(StaticSystemView::new()),
            gateway,
        };
        let config = json!({"base_url": url, "master_key": "sk-admin", "verify_connection": false,
            "public_url": "https://llm.example.com"});
        world.write("config", config).await.unwrap();
        world
    }

    /// With the role `app`, rotated each hour.
    pub(super) async fn start() -> Self {
        let world = Self::empty().await;
        world
            .write("static-roles/app", hourly(&json!({})))
            .await
            .unwrap();
        world
    }

    /// A process that begins anew over the same storage.
    pub(super) fn restarted(mut self) -> Self {
        self.backend = Arc::new(backend::backend());
        self
    }

    pub(super) async fn handle(
        &self,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Result<Option<Response>, Error> {
        let Value::Object(data) = data else {
            panic!("not an object")
        };
        let request = RequestBuilder::new(operation, path)
            .storage(self.storage.clone())
            .system(self.system.clone())
            .mount("litellm/", "accessor")
            .data(data)
            .build();
        self.backend.handle(request).await
    }

    pub(super) async fn write(&self, path: &str, data: Value) -> Result<Option<Response>, Error> {
        self.handle(Operation::Update, path, data).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Option<Response>, Error> {
        self.handle(Operation::Delete, path, json!({})).await
    }

    pub(super) async fn read(&self, path: &str) -> Map<String, Value> {
        let answer = self.handle(Operation::Read, path, json!({})).await;
        answer.unwrap().unwrap().data.unwrap()
    }

    /// The minute's work.
    pub(super) async fn tick(&self) -> Result<Option<Response>, Error> {
        self.handle(Operation::Rollback, "", json!({})).await
    }

    /// The minute's work, when every write-ahead entry is old enough.
    pub(super) async fn late_tick(&self) {
        let answer = self
            .handle(Operation::Rollback, "", json!({"immediate": true}))
            .await;
        let answer = answer.unwrap();
        assert!(answer.is_none(), "{answer:?}");
    }

    pub(super) async fn entry(&self, name: &str) -> Option<StaticRole> {
        get_json(self.memory.as_ref(), &format!("static-role/{name}"))
            .await
            .unwrap()
    }

    /// Changes what is stored of `app` and forgets the queue, as time would.
    pub(super) async fn let_pass(&self, change: impl FnOnce(&mut StaticRole)) {
        let mut role = self.entry("app").await.unwrap();
        change(&mut role);
        put_json(self.memory.as_ref(), "static-role/app", &role)
            .await
            .unwrap();
        self.backend.invalidated("static-role/app".to_owned()).await;
    }

    pub(super) async fn make_due(&self) {
        self.let_pass(|role| role.next_rotation = Utc::now() - TimeDelta::seconds(1))
            .await;
    }

    /// The gateway goes wrong at one call, the first being 1.
    pub(super) fn break_call(&self, number: usize, wrong: Wrong) {
        self.arm(number, number, wrong);
    }

    pub(super) fn break_gateway(&self) {
        self.arm(1, usize::MAX, Wrong::Refused);
    }

    fn arm(&self, first: usize, last: usize, wrong: Wrong) {
        let mut model = self.gateway.lock().unwrap();
        let done = model.calls.len();
        model.fault = Some((done + first, last.saturating_add(done), wrong));
    }

    /// Writes of roles take effect and seem to have failed.
    pub(super) fn lose_answers_of_storage(&self) {
        self.unsure.loses_answers.store(true, Ordering::SeqCst);
    }

    pub(super) fn heal(&self) {
        self.storage.set(None);
        self.unsure.loses_answers.store(false, Ordering::SeqCst);
        self.gateway.lock().unwrap().fault = None;
    }

    pub(super) fn calls(&self, path: &str) -> Vec<Value> {
        let model = self.gateway.lock().unwrap();
        let calls = model.calls.iter().filter(|(called, _)| called == path);
        calls.map(|(_, body)| body.clone()).collect()
    }

    pub(super) fn calls_made(&self) -> usize {
        self.gateway.lock().unwrap().calls.len()
    }

    /// The keys that work at this moment.
    pub(super) fn alive(&self) -> Vec<String> {
        let model = self.gateway.lock().unwrap();
        let alive = model
            .keys
            .values()
            .filter(|(_, expires)| *expires > Utc::now());
        alive.map(|(key, _)| key.clone()).collect()
    }

    /// What static-creds answers, which must work.
    pub(super) async fn working_key(&self) -> String {
        let answer = self.read("static-creds/app").await;
        let key = answer["key"].as_str().unwrap().to_owned();
        assert!(
            self.alive().contains(&key),
            "{key} is handed out and does not work: {:?}",
            self.alive()
        );
        key
    }

    pub(super) async fn wal_entries(&self) -> usize {
        self.memory.list("wal/").await.unwrap().len()
    }
}

pub(super) fn hourly(more: &Value) -> Value {
    let mut fields = json!({"models": "m", "max_budget": 1, "rotation_period": "1h"});
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields
}

async fn answer(
    AxumState(gateway): AxumState<Shared>,
    request: HttpRequest,
) -> (StatusCode, String) {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut model = gateway.lock().unwrap();
    model.calls.push((path.clone(), body.clone()));
    let number = model.calls.len();
    let wrong = match model.fault {
        Some((first, last, wrong)) if (first..=last).contains(&number) => Some(wrong),
        _ => None,
    };
    if wrong == Some(Wrong::Refused) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "down".into());
    }
    let (status, answer) = model.act(&path, &body);
    match wrong {
        Some(Wrong::AnswerLost) => (StatusCode::BAD_GATEWAY, "lost".into()),
        Some(Wrong::Nonsense) => (StatusCode::OK, "<html>".into()),
        _ => (StatusCode::from_u16(status).unwrap(), answer.to_string()),
    }
}
