//! What LiteLLM was recorded to answer, played to the client by a scripted
//! gateway: each answer is read as it was meant, each refusal is of the right
//! class, and no error shows a key or the hash of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use regex::Regex;
use serde_json::{Map, Value};
use vault_plugin_sdk::Error;

use super::wire::GenerateRequest;
use super::{AdminGrant, Client, Deleted};
use crate::error::GatewayError;
use crate::paths::config::ConfigEntry;
use crate::testing::Gateway;

/// The parts of the key API that the engine calls.
const ROUTES: [&str; 7] = [
    "POST /key/generate",
    "POST /key/update",
    "POST /key/delete",
    "GET /key/list",
    "GET /key/info",
    "GET /health/readiness",
    "POST /user/new",
];

struct Vector {
    name: String,
    route: String,
    status: u16,
    body: Value,
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/litellm-1.106.2");
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let shapes = read(&folder.join("shapes.json"))["shapes"].clone();
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(['0', '1'])
        })
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        for vector in read(&file)["vectors"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let path = text(&vector["request"]["path"]);
            let route = format!(
                "{} {}",
                text(&vector["request"]["method"]),
                path.split('?').next().unwrap()
            );
            if ROUTES.contains(&route.as_str()) {
                found.push(Vector {
                    name: text(&vector["name"]),
                    route,
                    status: vector["status"].as_u64().unwrap().try_into().unwrap(),
                    body: expanded(&vector["body"], &shapes),
                });
            }
        }
    }
    assert!(found.len() > 150, "only {} vectors", found.len());
    found
}

/// `{"$like": "<shape>", …}` is the shape with its other fields put over it.
fn expanded(value: &Value, shapes: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut whole = fields
                .get("$like")
                .map(|shape| shapes[shape.as_str().unwrap()].as_object().unwrap().clone())
                .unwrap_or_default();
            for (name, field) in fields.iter().filter(|(name, _)| *name != "$like") {
                whole.insert(name.clone(), expanded(field, shapes));
            }
            Value::Object(whole)
        }
        Value::Array(items) => items.iter().map(|item| expanded(item, shapes)).collect(),
        other => other.clone(),
    }
}

async fn at_a_gateway() -> (Gateway, Client) {
    let gateway = Gateway::start().await;
    let config: ConfigEntry = serde_json::from_value(serde_json::json!({
        "base_url": gateway.url, "master_key": "sk-canary-of-the-admin",
    }))
    .unwrap();
    let client = Client::new(&config).unwrap();
    (gateway, client)
}

fn wanted() -> GenerateRequest {
    GenerateRequest {
        key_alias: "vault-app-1".into(),
        duration: Duration::from_secs(60),
        models: Vec::new(),
        max_budget: None,
        metadata: Map::new(),
        key_type: "llm_api",
        more: Map::new(),
    }
}

/// The refusal's class follows from its status, its text is the gateway's own,
/// and nothing in it is shaped like a key.
fn check_refusal(vector: &Vector, error: GatewayError) {
    let name = &vector.name;
    let message = match (vector.status, &error) {
        (
            401 | 403,
            GatewayError::AdminKeyRefused {
                status, message, ..
            },
        )
        | (
            400 | 404 | 405 | 422,
            GatewayError::Refused {
                status, message, ..
            },
        )
        | (
            500..,
            GatewayError::Failed {
                status, message, ..
            },
        ) => {
            assert_eq!(*status, vector.status, "{name}");
            message.clone()
        }
        _ => panic!("{name}: status {} became {error:?}", vector.status),
    };
    // The probes answer no error, but a state.
    if vector.route != "GET /health/readiness" {
        assert_ne!(message, "the body names no error", "{name}");
    }
    assert_ne!(message, "the body is not JSON", "{name}");
    let key_shaped = Regex::new("sk-[A-Za-z0-9_]|[0-9a-f]{32}").unwrap();
    let told = format!("{error} {error:?}");
    assert!(!key_shaped.is_match(&told), "{name}: {told}");
    match (vector.status, Error::from(error)) {
        (400..500, Error::User(_)) | (500.., Error::Coded { status: 502, .. }) => {}
        (_, other) => panic!("{name}: {other:?}"),
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// The life between two times of an answer.
fn life(from: &Value, expires: &Value) -> Option<Duration> {
    (!expires.is_null()).then(|| (time(expires) - time(from)).to_std().unwrap_or_default())
}

#[tokio::test]
async fn each_recorded_answer_to_generate_is_read_as_it_was_meant() {
    let (gateway, client) = at_a_gateway().await;
    for vector in vectors() {
        if vector.route != "POST /key/generate" {
            continue;
        }
        let (name, body) = (&vector.name, &vector.body);
        gateway.script.then(vector.status, body);
        match client.generate(&wanted()).await {
            Ok(issued) => {
                assert_eq!(vector.status, 200, "{name}");
                assert_eq!(issued.key.expose(), body["key"], "{name}");
                assert_eq!(issued.hash, body["token_id"], "{name}");
                let granted = life(&body["created_at"], &body["expires"]);
                assert_eq!(issued.life, Some(granted), "{name}");
                assert_eq!(
                    issued.max_budget,
                    Some(body["max_budget"].as_f64()),
                    "{name}"
                );
                let models = serde_json::from_value(body["models"].clone()).unwrap();
                assert_eq!(issued.models, Some(models), "{name}");
                let shown = format!("{issued:?}");
                assert!(!shown.contains(issued.key.expose()), "{name}: {shown}");
            }
            Err(error) => check_refusal(&vector, error),
        }
    }
}

#[tokio::test]
async fn each_recorded_answer_to_update_and_delete_is_read_as_it_was_meant() {
    let (gateway, client) = at_a_gateway().await;
    for vector in vectors() {
        let (name, body) = (&vector.name, &vector.body);
        match vector.route.as_str() {
            "POST /key/update" => {
                gateway.script.then(vector.status, body);
                match client.extend("hash", Duration::from_secs(60)).await {
                    Ok(granted) => {
                        assert_eq!(vector.status, 200, "{name}");
                        let expected = life(&body["updated_at"], &body["expires"]);
                        assert_eq!(granted, Some(expected), "{name}");
                    }
                    Err(error) => check_refusal(&vector, error),
                }
            }
            "POST /key/delete" => {
                gateway.script.then(vector.status, body);
                match (vector.status, client.delete_hash("hash").await) {
                    (200, Ok(Deleted::Now)) | (404, Ok(Deleted::Absent)) => {}
                    (200 | 404, other) => panic!("{name}: {other:?}"),
                    (_, Ok(other)) => panic!("{name}: {other:?}"),
                    (_, Err(error)) => check_refusal(&vector, error),
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn each_recorded_list_and_readiness_is_read_as_it_was_meant() {
    let (gateway, client) = at_a_gateway().await;
    for vector in vectors() {
        let name = &vector.name;
        match vector.route.as_str() {
            "GET /key/list" => {
                gateway.script.then(vector.status, &vector.body);
                match client.verify().await {
                    Ok(()) => assert_eq!(vector.status, 200, "{name}"),
                    Err(error) => check_refusal(&vector, error),
                }
            }
            "GET /health/readiness" => {
                gateway.script.then(vector.status, &vector.body);
                match client.gateway().await {
                    Ok(info) => {
                        assert_eq!(vector.status, 200, "{name}");
                        assert!(!info.is_llm_proxy, "{name}");
                        assert!(info.lacks("scopes"), "{name}");
                        assert_eq!(info.version, None, "{name}");
                    }
                    Err(error) => check_refusal(&vector, error),
                }
            }
            _ => {}
        }
    }
}

/// LiteLLM knows no scopes, so the successor of an admin key belongs to the user
/// of the present one, or to one that is made for it.
#[tokio::test]
async fn each_recorded_key_names_the_user_of_its_successor() {
    let (gateway, client) = at_a_gateway().await;
    let all = vectors();
    let of_route = |route: &str| all.iter().find(|vector| vector.route == route).unwrap();
    let readiness = of_route("GET /health/readiness");
    let user = of_route("POST /user/new");
    for vector in all.iter().filter(|vector| vector.route == "GET /key/info") {
        let name = &vector.name;
        gateway.script.then(readiness.status, &readiness.body);
        gateway.script.then(vector.status, &vector.body);
        let owner = vector.body["info"]["user_id"].as_str();
        if matches!(vector.status, 200 | 404) && owner.is_none() {
            gateway.script.then(user.status, &user.body);
        }
        match client.admin_grant("vault-litellm").await {
            Ok(grant) => {
                let expected = owner.unwrap_or("vault-litellm");
                assert_eq!(grant, AdminGrant::User(expected.into()), "{name}");
            }
            Err(error) => assert!(!matches!(vector.status, 200 | 404), "{name}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn only_the_gateways_own_words_make_the_admin_key_a_static_one() {
    let (gateway, client) = at_a_gateway().await;
    let elsewhere = serde_json::json!({"detail": "Not Found"});
    let unknown = serde_json::json!({"error": {"message": "Key not found in database"}});
    gateway.script.then(404, &elsewhere).then(404, &unknown);
    assert!(client.own_key().await.is_err());
    assert!(client.own_key().await.unwrap().is_none());
}
