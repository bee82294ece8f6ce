//! A real Vault or OpenBao, spoken to over its HTTP API, which is the same for
//! both. Nothing here knows how the engine works inside.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::process::Process;

mod audit;
mod identity;
mod lease;
mod mount;
mod plugin;
mod start;

/// Which product serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Vault,
    OpenBao,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::OpenBao => "bao",
        }
    }
}

/// Where it keeps what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// A development server: unsealed at once, forgets everything at its end.
    Memory,
    /// Raft, one node or several: survives a restart, and must be unsealed after it.
    Raft,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub kind: Kind,
    pub storage: Storage,
    /// The age from which the engine takes a write-ahead entry for abandoned,
    /// where it is not to be that of a release.
    pub wal_min_age: Option<Duration>,
    pub folder: PathBuf,
}

#[derive(Debug)]
pub struct Server {
    pub settings: Settings,
    pub address: String,
    token: String,
    unseal_key: Option<String>,
    cluster_port: u16,
    process: Mutex<Process>,
    http: reqwest::Client,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body of a success.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn expect_ok(self) -> Value {
        assert!(self.is_ok(), "status {}: {}", self.status, self.body);
        self.body
    }

    /// The text of a refusal with this status.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn expect_refused(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let texts: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
        texts.join("; ")
    }
}

impl Server {
    pub async fn read(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &Value::Null).await
    }

    pub async fn write(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &Value::Null).await
    }

    /// What a path that speaks no JSON answers.
    async fn text(&self, path: &str) -> String {
        let url = format!("{}/v1/{path}", self.address);
        let request = self.http.get(url).header("X-Vault-Token", &self.token);
        let answer = request.send().await.expect("an answer of the server");
        answer.text().await.expect("a text")
    }

    /// The names under a path; none when there are none.
    pub async fn list(&self, path: &str) -> Vec<String> {
        let answer = self
            .call(Method::GET, &format!("{path}?list=true"), &Value::Null)
            .await;
        if answer.status == 404 {
            return Vec::new();
        }
        let body = answer.expect_ok();
        let keys = body["data"]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.call_with(method, path, &[("X-Vault-Token", &self.token)], body)
            .await
    }

    /// A JSON merge patch.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        let url = format!("{}/v1/{path}", self.address);
        let request = self
            .http
            .patch(url)
            .header("X-Vault-Token", &self.token)
            .header("Content-Type", "application/merge-patch+json")
            .body(body.to_string());
        send(request, Value::Null).await
    }

    /// A call by the holder of another token.
    pub async fn call_as(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        self.call_with(method, path, &[("X-Vault-Token", token)], body)
            .await
    }

    /// The same, to be awaited wherever and whenever the test likes.
    pub fn detached_call(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let url = format!("{}/v1/{path}", self.address);
        let request = self
            .http
            .request(method, url)
            .header("X-Vault-Token", &self.token);
        send(request, body)
    }

    /// A call with headers of its own, the token among them.
    async fn call_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let url = format!("{}/v1/{path}", self.address);
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request, body.clone()).await
    }

    /// Every key of the storage below a prefix, with what stands there, as
    /// `sys/raw` shows it to an operator.
    pub async fn raw_dump(&self, prefix: &str) -> Vec<(String, String)> {
        let mut dump = Vec::new();
        let mut folders = vec![prefix.to_owned()];
        while let Some(folder) = folders.pop() {
            for name in self.list(&format!("sys/raw/{folder}")).await {
                let path = format!("{folder}{name}");
                if name.ends_with('/') {
                    folders.push(path);
                    continue;
                }
                let answer = self.read(&format!("sys/raw/{path}")).await;
                if answer.is_ok() {
                    let value = answer.body["data"]["value"].as_str().unwrap_or_default();
                    dump.push((path, value.to_owned()));
                }
            }
        }
        dump
    }

    /// The storage prefix of a mount, as `sys/raw` names it.
    pub async fn storage_of(&self, mount: &str) -> String {
        let mounts = self.read("sys/mounts").await.expect_ok();
        let uuid = mounts["data"][format!("{mount}/")]["uuid"]
            .as_str()
            .expect("a mount's uuid");
        format!("logical/{uuid}/")
    }
}

async fn send(mut request: reqwest::RequestBuilder, body: Value) -> Answer {
    if !body.is_null() {
        request = request.json(&body);
    }
    match request.send().await {
        Err(error) => Answer {
            status: 0,
            body: json!({"errors": [error.to_string()]}),
        },
        Ok(answer) => Answer {
            status: answer.status().as_u16(),
            body: answer.json().await.unwrap_or_default(),
        },
    }
}
