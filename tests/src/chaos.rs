//! A proxy between the engine and the gateway's admin plane that breaks single
//! calls on demand: late, lost, refused, nonsense. It also keeps the keys that
//! the gateway has issued through it, so that a test can try a key that nobody
//! was ever given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::upstream::serve;

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It never reaches the gateway and the connection breaks.
    Lost,
    /// The gateway does it, and the answer is lost.
    AnswerLost,
    /// The gateway does it, and the answer comes later.
    AnswerLate(Duration),
    /// It never reaches the gateway, and this comes back.
    Answer(StatusCode, &'static str, String),
    /// The gateway does it, and its answer is changed.
    Changed(fn(&mut Value)),
}

#[derive(Debug)]
struct Shared {
    target: String,
    http: reqwest::Client,
    faults: Mutex<BTreeMap<String, Fault>>,
    issued: Mutex<Vec<String>>,
    done: Mutex<BTreeMap<String, usize>>,
}

#[derive(Debug)]
pub struct Chaos {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Chaos {
    /// In front of `target`, passing everything.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("binding the chaos proxy's port");
        let url = format!(
            "http://{}",
            listener.local_addr().expect("the port just bound")
        );
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            http: crate::world::http(),
            faults: Mutex::default(),
            issued: Mutex::default(),
            done: Mutex::default(),
        });
        let app = axum::Router::new()
            .fallback(pass)
            .with_state(Arc::clone(&shared));
        let server = serve(listener, app);
        Self {
            url,
            shared,
            server,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Breaks calls of this path from now on.
    pub fn break_calls(&self, path: &str, fault: Fault) {
        self.shared
            .faults
            .lock()
            .expect("the faults")
            .insert(path.to_owned(), fault);
    }

    pub fn heal(&self) {
        self.shared.faults.lock().expect("the faults").clear();
    }

    /// How many calls of this path the gateway has answered.
    pub fn calls(&self, path: &str) -> usize {
        let done = self.shared.done.lock().expect("the counts");
        done.get(path).copied().unwrap_or_default()
    }

    /// Every key that the gateway has issued through this proxy.
    pub fn issued_keys(&self) -> Vec<String> {
        self.shared.issued.lock().expect("the keys").clone()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fault = shared
        .faults
        .lock()
        .expect("the faults")
        .get(uri.path())
        .cloned();
    match fault {
        None => forward(&shared, method, &uri, headers, body).await,
        Some(Fault::Lost) => broken(),
        Some(Fault::AnswerLost) => {
            forward(&shared, method, &uri, headers, body).await;
            broken()
        }
        Some(Fault::AnswerLate(delay)) => {
            let answer = forward(&shared, method, &uri, headers, body).await;
            tokio::time::sleep(delay).await;
            answer
        }
        Some(Fault::Answer(status, content_type, text)) => {
            (status, [(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Some(Fault::Changed(change)) => {
            let answer = forward(&shared, method, &uri, headers, body).await;
            changed(answer, change).await
        }
    }
}

async fn changed(answer: Response, change: fn(&mut Value)) -> Response {
    let status = answer.status();
    let Ok(bytes) = axum::body::to_bytes(answer.into_body(), usize::MAX).await else {
        return broken();
    };
    let mut body = serde_json::from_slice(&bytes).unwrap_or_default();
    change(&mut body);
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, body.to_string()).into_response()
}

async fn forward(
    shared: &Shared,
    method: Method,
    uri: &Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let answer = shared
        .http
        .request(method, format!("{}{uri}", shared.target))
        .headers(headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = answer else { return broken() };
    let status = answer.status();
    let Ok(bytes) = answer.bytes().await else {
        return broken();
    };
    if uri.path() == "/key/generate"
        && let Some(key) =
            serde_json::from_slice::<Value>(&bytes).unwrap_or_default()["key"].as_str()
    {
        shared.issued.lock().expect("the keys").push(key.to_owned());
    }
    *shared
        .done
        .lock()
        .expect("the counts")
        .entry(uri.path().to_owned())
        .or_default() += 1;
    (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// An answer whose body ends before it began: the client sees the connection break.
fn broken() -> Response {
    let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Response::new(Body::from_stream(tokio_stream::once(Err::<Bytes, _>(cut))))
}
