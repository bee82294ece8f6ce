//! What a stranger finds without reading the code: help, the OpenAPI document,
//! policies that tell create from update, and an audit log that shows who did
//! what and no secret.

use std::fs;

use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World};
use reqwest::Method;
use serde_json::{Value, json};

on_both!(
    every_path_and_field_is_documented,
    create_and_update_are_told_apart_by_policies,
    the_audit_log_shows_hashes_in_place_of_secrets,
);

/// A path, its operations as verb and id, and the fields of a write.
type Documented = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

/// The paths, their operations by the id that clients are generated from, and
/// the fields that each must explain.
const PATHS: [Documented; 10] = [
    (
        "config",
        &[
            ("get", "litellm-read-configuration"),
            ("post", "litellm-configure-gateway"),
            ("delete", "litellm-delete-configuration"),
        ],
        &[
            "base_url",
            "url",
            "master_key",
            "admin_key",
            "ca_cert",
            "tls_server_name",
            "insecure_tls",
            "request_timeout",
            "verify_connection",
            "public_url",
        ],
    ),
    (
        "config/rotate-root",
        &[("post", "litellm-rotate-root-credentials")],
        &[],
    ),
    ("rotate-root", &[("post", "litellm-rotate-root")], &[]),
    ("roles/", &[("get", "litellm-list-roles")], &[]),
    (
        "roles/{name}",
        &[
            ("get", "litellm-read-role"),
            ("post", "litellm-write-role"),
            ("delete", "litellm-delete-role"),
        ],
        ROLE_FIELDS,
    ),
    (
        "creds/{name}",
        &[("get", "litellm-generate-credentials")],
        &[],
    ),
    (
        "static-roles/{name}",
        &[
            ("get", "litellm-read-static-role"),
            ("post", "litellm-write-static-role"),
        ],
        &[
            "models",
            "max_budget",
            "rotation_period",
            "rotation_schedule",
            "rotation_window",
            "grace_period",
        ],
    ),
    (
        "static-creds/{name}",
        &[("get", "litellm-read-static-credentials")],
        &[],
    ),
    ("check", &[("get", "litellm-check-gateway")], &[]),
    ("tidy", &[("post", "litellm-tidy-keys")], &["dry_run"]),
];

const ROLE_FIELDS: &[&str] = &[
    "models",
    "max_budget",
    "budget_duration",
    "ttl",
    "max_ttl",
    "key_alias_prefix",
    "metadata",
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "allowed_routes",
    "allowed_cidrs",
    "user_id_template",
    "team_id_template",
    "role_budget",
    "role_budget_duration",
    "entity_budget",
    "entity_budget_duration",
    "key_request",
];

async fn every_path_and_field_is_documented(kind: Kind) {
    let world = World::start(kind).await;
    let specs = world.server.read("sys/internal/specs/openapi").await;
    let specs = specs.body;
    for (path, operations, fields) in PATHS {
        let item = &specs["paths"][format!("/{MOUNT}/{path}")];
        assert!(item.is_object(), "{path} is not in the document");
        assert!(is_text(&item["description"]), "{path}: {item}");
        for (verb, id) in operations {
            let operation = &item[verb];
            assert_eq!(operation["operationId"], *id, "{path}");
            assert!(is_text(&operation["summary"]), "{path} {verb}");
        }
        check_fields(&specs, &item["post"], path, fields);
        check_help(&world, path, fields).await;
    }
    check_ids(&specs);
    let key = &schema_of(&specs, &specs["paths"][format!("/{MOUNT}/config")]["post"])["properties"]
        ["master_key"];
    assert_eq!(key["x-vault-displayAttrs"]["sensitive"], true, "{key}");
    let list = &specs["paths"][format!("/{MOUNT}/roles/")];
    assert_eq!(list["x-vault-displayAttrs"]["navigation"], true, "{list}");
    let root = help(&world, MOUNT).await;
    assert!(root.contains("Issues short-lived keys"), "{root}");
    world.expect_no_leaks();
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() > 10)
}

/// Every field of a write has a type and a description, and those that the
/// contract names are there.
fn check_fields(specs: &Value, post: &Value, path: &str, fields: &[&str]) {
    let schema = schema_of(specs, post);
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for field in fields {
        assert!(
            properties.contains_key(*field),
            "{path}: no {field} in {post}"
        );
    }
    for (name, field) in properties {
        assert!(is_text(&field["description"]), "{path} {name}: {field}");
        assert!(field["type"].is_string(), "{path} {name}: {field}");
    }
}

/// The servers drop the reference to a schema that comes from a plugin process,
/// and keep the schema under the name that is made of the operation's id.
fn schema_of(specs: &Value, operation: &Value) -> Value {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let words = id.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    let name = words.collect::<String>() + "Request";
    specs["components"]["schemas"][name].clone()
}

/// A generated client has one function for each id.
fn check_ids(specs: &Value) {
    let mut seen = Vec::new();
    for (path, item) in specs["paths"].as_object().expect("paths") {
        if !path.starts_with(&format!("/{MOUNT}/")) {
            continue;
        }
        for verb in ["get", "post", "delete", "patch"] {
            let Some(id) = item[verb]["operationId"].as_str() else {
                continue;
            };
            assert!(id.starts_with("litellm-"), "{path} {verb}: {id}");
            assert!(!seen.contains(&id), "{path} {verb}: {id} is there twice");
            seen.push(id);
        }
    }
    assert!(seen.len() >= 20, "{seen:?}");
}

/// `vault path-help` of the path.
async fn check_help(world: &World, path: &str, fields: &[&str]) {
    let path = path.replace("{name}", "app");
    let text = help(world, &format!("{MOUNT}/{}", path.trim_end_matches('/'))).await;
    assert!(text.contains("## DESCRIPTION"), "{path}: {text}");
    for field in fields {
        assert!(
            text.contains(&format!("\n    {field} (")),
            "{path} {field}: {text}"
        );
    }
}

async fn help(world: &World, path: &str) -> String {
    let answer = world.server.read(&format!("{path}?help=1")).await;
    answer.expect_ok()["help"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn create_and_update_are_told_apart_by_policies(kind: Kind) {
    let world = World::start(kind).await;
    let rules = format!(
        r#"path "{MOUNT}/roles/*" {{ capabilities = ["create"] }}
           path "{MOUNT}/config" {{ capabilities = ["create"] }}"#
    );
    let creator = world.server.token("creator", &rules).await;
    let role = format!("{MOUNT}/roles/app");
    let body = json!({"models": "demo", "max_budget": 1});
    let write = async |path: &str, body: &Value| {
        world
            .server
            .call_as(&creator, Method::POST, path, body)
            .await
            .status
    };
    assert!((200..300).contains(&write(&role, &body).await));
    // The role and the configuration are there, so writing them is an update.
    assert_eq!(write(&role, &json!({"max_budget": 1000})).await, 403);
    assert_eq!(
        write(&format!("{MOUNT}/config"), &json!({"insecure_tls": true})).await,
        403
    );
    let kept = world.server.read(&role).await.expect_ok();
    assert_eq!(kept["data"]["max_budget"], 1.0);

    let rules = format!(r#"path "{MOUNT}/roles/*" {{ capabilities = ["update"] }}"#);
    let updater = world.server.token("updater", &rules).await;
    let as_updater = async |path: &str| {
        world
            .server
            .call_as(&updater, Method::POST, path, &body)
            .await
            .status
    };
    assert!((200..300).contains(&as_updater(&role).await));
    assert_eq!(as_updater(&format!("{MOUNT}/roles/new")).await, 403);

    // No path of the engine asks for more than its policy says.
    let rules = format!(r#"path "{MOUNT}/config/rotate-root" {{ capabilities = ["update"] }}"#);
    let rotator = world.server.token("rotator", &rules).await;
    let path = format!("{MOUNT}/config/rotate-root");
    let rotated = world
        .server
        .call_as(&rotator, Method::POST, &path, &json!({}))
        .await;
    for key in world.chaos.issued_keys() {
        world.canaries.add(&key);
    }
    rotated.expect_ok();
    let creds = format!("{MOUNT}/creds/app");
    let denied = world
        .server
        .call_as(&rotator, Method::GET, &creds, &Value::Null)
        .await;
    assert_eq!(denied.status, 403);
    world.expect_no_leaks();
}

async fn the_audit_log_shows_hashes_in_place_of_secrets(kind: Kind) {
    let world = World::start(kind).await;
    let log = world.folder.path.join("audit.log");
    world.server.audit_to(&log).await;
    world.configure(MOUNT).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let answer = world.server.read(&format!("{MOUNT}/creds/app")).await;
    let lease = Lease::of(&answer.expect_ok());
    world.canaries.add(&lease.key);
    let text = fs::read_to_string(&log).expect("the audit log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let find = |kind: &str, path: &str| {
        let path = format!("{MOUNT}/{path}");
        let mut found = lines
            .iter()
            .filter(|line| line["type"] == kind && line["request"]["path"] == path.as_str());
        found
            .next_back()
            .unwrap_or_else(|| panic!("no {kind} of {path}"))
            .clone()
    };
    let is_hashed = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.starts_with("hmac-sha256:"))
    };
    // Hashed, so that an auditor can ask for one, and not left out.
    let written = find("request", "config");
    assert!(
        is_hashed(&written["request"]["data"]["master_key"]),
        "{written}"
    );
    let issued = find("response", "creds/app");
    assert!(is_hashed(&issued["response"]["data"]["key"]), "{issued}");
    assert!(
        is_hashed(&issued["response"]["data"]["key_hash"]),
        "{issued}"
    );
    let asked = world
        .server
        .write("sys/audit-hash/file", &json!({"input": lease.key}))
        .await
        .expect_ok();
    assert_eq!(issued["response"]["data"]["key"], asked["data"]["hash"]);
    // The log lies in the test's folder, which is searched for every secret.
    world.expect_no_leaks();
}
