//! A whole gateway inside a test: a real database, a clock that the test
//! moves, and both routers called without a socket.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{Router, body::Body, response::Response};
use chrono::{DateTime, Utc};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;
use tower::ServiceExt as _;

use super::{AppState, Shared, Tasks};
use crate::{
    auth::{Peer, Refusals},
    clock::Clock,
    config::{Config, Environment, Options, resolve},
    key::{Cache, KeyHash},
    ledger::Ledger,
    router,
    store::testing::Database,
};

pub(crate) const MASTER: &str = "sk-master-key-of-the-tests";

pub(crate) struct Gateway {
    pub(crate) state: AppState,
    pub(crate) clock: Clock,
    admin: Router,
    data: Router,
    /// Where all requests come from.
    pub(crate) peer: Option<IpAddr>,
    database: Arc<Database>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) ignored: String,
    pub(crate) etag: String,
    pub(crate) body: Value,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_on(Database::new().await).await
    }

    /// On a database that need not be empty.
    pub(crate) async fn start_on(database: Database) -> Self {
        Self::on(Arc::new(database), |_| ()).await
    }

    /// With another configuration than the usual one.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Arc::new(Database::new().await), change).await
    }

    /// Another gateway on the same store, which must be PostgreSQL.
    pub(crate) async fn beside(&self) -> Self {
        Self::on(Arc::clone(&self.database), |_| ()).await
    }

    async fn on(database: Arc<Database>, change: impl FnOnce(&mut Config)) -> Self {
        let clock = Clock::manual("2027-03-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let variables = [
            ("LLM_PROXY_MASTER_KEY", MASTER),
            ("DATABASE_URL", "sqlite://unused.db"),
        ];
        let options = Options {
            file: None,
            dev: true,
        };
        let (mut config, _) = resolve(&options, &Environment::of(&variables)).unwrap();
        change(&mut config);
        let store = database.open().await;
        let tasks = Tasks::new();
        let ledger = Ledger::open(&store, clock.clone(), &tasks).await.unwrap();
        let keys = match store.is_shared() {
            true => Cache::shared(config.stale_window),
            false => Cache::new(),
        };
        let following = super::changes::follow(&store, &keys, &ledger, &tasks);
        following.await.unwrap();
        let state = AppState::new(Shared {
            master: KeyHash::of(config.master_key.expose()),
            config: Arc::new(config),
            store,
            keys,
            ledger,
            upstream: crate::upstream::Client::new().unwrap(),
            refusals: Refusals::default(),
            tasks,
            clock: clock.clone(),
        });
        Self {
            admin: router::admin_plane(state.clone()),
            data: router::data_plane(state.clone()),
            peer: Some(IpAddr::from([127, 0, 0, 1])),
            clock,
            state,
            database,
        }
    }

    /// `POST` with the master key to the admin plane.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: String) -> Answer {
        call(self.peer, &self.admin, Method::POST, path, MASTER, body).await
    }

    /// As [`Gateway::post`], if the key still has this tag.
    pub(crate) async fn post_if(&self, tag: &str, path: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {MASTER}"))
            .header("if-match", tag)
            .extension(Peer::new(self.peer))
            .body(Body::from(body.to_string()))
            .unwrap();
        send(&self.admin, request).await
    }

    pub(crate) async fn post_as(&self, key: &str, path: &str, body: &Value) -> Answer {
        call(
            self.peer,
            &self.admin,
            Method::POST,
            path,
            key,
            body.to_string(),
        )
        .await
    }

    /// `GET` on the admin plane.
    pub(crate) async fn admin_get(&self, key: &str, path: &str) -> Answer {
        call(
            self.peer,
            &self.admin,
            Method::GET,
            path,
            key,
            String::new(),
        )
        .await
    }

    pub(crate) async fn data_post(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.data_post_text(key, path, body.to_string()).await
    }

    pub(crate) async fn data_post_text(&self, key: &str, path: &str, body: String) -> Answer {
        call(self.peer, &self.data, Method::POST, path, key, body).await
    }

    /// A chat call whose sender is slow: `meanwhile` is done once the call has
    /// been let in and its body is asked for.
    pub(crate) async fn chat_slowly(&self, key: &str, path: &str, meanwhile: Value) -> Answer {
        let admin = self.admin.clone();
        let peer = self.peer;
        let sent = json!({"model": "demo", "messages": [{"role": "user", "content": "x"}]});
        let (part, parts) = tokio::sync::mpsc::channel::<Result<String, Infallible>>(1);
        let sender = async move {
            let update = meanwhile.to_string();
            let done = call(peer, &admin, Method::POST, "/key/update", MASTER, update).await;
            assert_eq!(done.status, 200, "{}", done.body);
            part.send(Ok(sent.to_string())).await.unwrap();
        };
        let body = Body::from_stream(ReceiverStream::new(parts));
        let chat = call(peer, &self.data, Method::POST, path, key, body);
        tokio::join!(chat, sender).0
    }

    /// An answer that is 200, with its body not yet read.
    pub(crate) async fn data_response(&self, key: &str, path: &str, body: &Value) -> Response {
        let response = self.data_stream(key, path, body).await;
        assert_eq!(response.status(), 200);
        response
    }

    /// An answer with its body not yet read.
    pub(crate) async fn data_stream(&self, key: &str, path: &str, body: &Value) -> Response {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
            .extension(Peer::new(self.peer))
            .body(Body::from(body.to_string()))
            .unwrap();
        self.data.clone().oneshot(request).await.unwrap()
    }

    /// Any request, to the admin plane or to the data plane.
    pub(crate) async fn request(&self, is_admin: bool, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(Peer::new(self.peer));
        let plane = if is_admin { &self.admin } else { &self.data };
        send(plane, request).await
    }

    pub(crate) async fn data_get(&self, key: &str, path: &str) -> Answer {
        call(self.peer, &self.data, Method::GET, path, key, String::new()).await
    }

    /// What the data plane says to this key about itself: the cheapest proof
    /// that it is accepted or refused.
    pub(crate) async fn try_key(&self, key: &str) -> Answer {
        call(
            self.peer,
            &self.data,
            Method::GET,
            "/key/info",
            key,
            String::new(),
        )
        .await
    }
}

async fn call(
    peer: Option<IpAddr>,
    routes: &Router,
    method: Method,
    path: &str,
    key: &str,
    body: impl Into<Body>,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {key}"))
        .extension(Peer::new(peer))
        .body(body.into())
        .unwrap();
    send(routes, request).await
}

async fn send(routes: &Router, request: Request<Body>) -> Answer {
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let (parts, body) = response.into_parts();
    let header = |name| {
        let text = parts.headers.get(name);
        text.map(|text| text.to_str().unwrap().to_owned())
            .unwrap_or_default()
    };
    let (ignored, etag) = (header("x-llm-proxy-ignored"), header("etag"));
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status,
        ignored,
        etag,
        body: serde_json::from_slice(&bytes).unwrap(),
    }
}
