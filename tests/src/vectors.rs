//! Recorded requests and answers, `tests/vectors/<gateway>-<version>`: read,
//! played to a gateway that runs now, and compared field by field. A value that
//! a gateway makes up (a key, its hash) is bound where it first appears, and
//! what it was recorded as stands for it from then on.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Map, Value};

pub use compare::{Difference, glob};

use crate::{artefacts, world};

/// What stands in the recordings for the admin key of the gateway.
pub const MASTER: &str = "<master>";

#[derive(Debug, Clone)]
pub struct Vector {
    pub name: String,
    pub request: Value,
    pub status: u16,
    /// The headers that are compared, by name only.
    pub headers: BTreeSet<String>,
    pub body: Value,
    /// Waited for before the request, for what must expire.
    pub after: Duration,
}

/// One file of vectors, in the order in which they were recorded.
#[derive(Debug)]
pub struct Group {
    pub name: String,
    /// How the gateway was configured.
    pub configuration: String,
    pub vectors: Vec<Vector>,
}

pub fn folder() -> PathBuf {
    artefacts::repository().join("tests/vectors/litellm-1.106.2")
}

/// Every group, in order.
pub fn groups() -> Vec<Group> {
    let shapes = read(&folder().join("shapes.json"))["shapes"].clone();
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .expect("the folder of vectors")
        .map(|entry| entry.expect("an entry of the folder of vectors").path())
        .filter(|path| file_name(path).starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    files.sort();
    files.iter().map(|path| group(path, &shapes)).collect()
}

pub fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("a file name")
}

fn group(path: &Path, shapes: &Value) -> Group {
    let file = read(path);
    let text = |value: &Value| value.as_str().expect("a text in a vector").to_owned();
    let vectors = file["vectors"].as_array().expect("a list of vectors");
    Group {
        name: file_name(path).to_owned(),
        configuration: text(&file["configuration"]),
        vectors: vectors
            .iter()
            .map(|vector| Vector {
                name: text(&vector["name"]),
                request: vector["request"].clone(),
                status: vector["status"]
                    .as_u64()
                    .and_then(|status| status.try_into().ok())
                    .expect("a status"),
                headers: vector["headers"]
                    .as_object()
                    .map(|headers| headers.keys().cloned().collect())
                    .unwrap_or_default(),
                body: expanded(&vector["body"], shapes),
                after: Duration::from_secs(vector["after_seconds"].as_u64().unwrap_or_default()),
            })
            .collect(),
    }
}

/// `{"$like": "<shape>", …}` is the shape with its other fields put over it.
fn expanded(value: &Value, shapes: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut whole = match fields.get("$like").and_then(Value::as_str) {
                Some(shape) => shapes[shape].as_object().expect("a known shape").clone(),
                None => Map::new(),
            };
            for (name, field) in fields.iter().filter(|(name, _)| *name != "$like") {
                whole.insert(name.clone(), expanded(field, shapes));
            }
            Value::Object(whole)
        }
        Value::Array(items) => items.iter().map(|item| expanded(item, shapes)).collect(),
        other => other.clone(),
    }
}

/// Plays vectors to one gateway.
#[derive(Debug)]
pub struct Player {
    /// Where calls of models go, and where all else does.
    pub data: String,
    pub admin: String,
    pub master_key: String,
    /// By what a value was recorded as.
    bound: BTreeMap<String, String>,
    http: reqwest::Client,
}

impl Player {
    pub fn new(data: &str, admin: &str, master_key: &str) -> Self {
        Self {
            data: data.to_owned(),
            admin: admin.to_owned(),
            master_key: master_key.to_owned(),
            bound: BTreeMap::from([(MASTER.to_owned(), master_key.to_owned())]),
            http: world::http(),
        }
    }

    /// What differs from the recording.
    pub async fn play(&mut self, vector: &Vector) -> Vec<Difference> {
        tokio::time::sleep(vector.after).await;
        let answer = self.send(&vector.request).await;
        let status = answer.status().as_u16();
        let missing: Vec<Difference> = vector
            .headers
            .iter()
            .filter(|name| !answer.headers().contains_key(name.as_str()))
            .map(|name| Difference::missing_header(name))
            .collect();
        let text = answer.text().await.expect("the body of an answer");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        // Another status is another answer, of which no field is comparable.
        if status != vector.status {
            return vec![Difference::of_status(vector.status, status)];
        }
        self.bind(&vector.body, &body);
        let mut found = missing;
        found.extend(compare::bodies(&self.with_our_values(&vector.body), &body));
        found
    }

    async fn send(&self, request: &Value) -> Response {
        let text = |value: &Value| self.replaced(value.as_str().expect("a text in a request"));
        let path = text(&request["path"]);
        let plane = if path.starts_with("/v1/") {
            &self.data
        } else {
            &self.admin
        };
        let method = Method::from_bytes(text(&request["method"]).as_bytes()).expect("a method");
        let mut sent = self
            .http
            .request(method, format!("{plane}{path}"))
            .header("content-type", "application/json")
            // A gateway may close a connection that waits while this sends.
            .header("connection", "close");
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            sent = sent.header(name, text(value));
        }
        sent = match request.get("body") {
            None => sent,
            // What is no JSON was sent as it stands.
            Some(Value::String(raw)) => sent.body(self.replaced(raw)),
            Some(body) => sent.body(self.replaced(&body.to_string())),
        };
        sent.send().await.expect("an answer of the gateway")
    }

    /// A new key's own values, which later vectors name.
    fn bind(&mut self, recorded: &Value, ours: &Value) {
        for name in ["key", "token", "key_name"] {
            if recorded.get("token_id").is_some()
                && let (Some(recorded), Some(ours)) = (recorded[name].as_str(), ours[name].as_str())
            {
                self.bound.insert(recorded.to_owned(), ours.to_owned());
            }
        }
    }

    fn with_our_values(&self, value: &Value) -> Value {
        let text = self.replaced(&value.to_string());
        serde_json::from_str(&text).expect("JSON stays JSON")
    }

    fn replaced(&self, text: &str) -> String {
        self.bound
            .iter()
            .fold(text.to_owned(), |text, (recorded, ours)| {
                text.replace(recorded, ours)
            })
    }
}
