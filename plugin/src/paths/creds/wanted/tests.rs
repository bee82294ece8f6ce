//! Whose a key is, what it shares with others, and what a warm request costs.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use vault_plugin_sdk::testing::{MemoryStorage, StaticSystemView};
use vault_plugin_sdk::{
    Entity, Error, Group, Operation, Request, Response, Storage, StorageEntry, StorageError,
};

use crate::testing::{Gateway, Mount, generated_as};

const FEATURES: &str = r#"{"status":"healthy","gateway":"llm-proxy","version":"1","features":["shared_budgets","shared_budget_windows","allowed_cidrs"]}"#;

/// A read by the entity `e-1` through a mount with an accessor.
fn by_ada(mount: &Mount) -> Request {
    let ada = Entity {
        id: "e-1".into(),
        name: "ada".into(),
        ..Entity::default()
    };
    let group = Group {
        id: "g-1".into(),
        name: "red".into(),
        ..Group::default()
    };
    let mut system = StaticSystemView::new();
    system.entities = vec![ada];
    system.groups = [("e-1".to_owned(), vec![group])].into();
    mount
        .request(Operation::Read, "creds/app")
        .entity("e-1")
        .mount("llm/", "litellm_1")
        .system(Arc::new(system))
        .build()
}

async fn answered(gateway: &Gateway, mount: &Mount, req: Request) -> Result<Value, Error> {
    gateway.script.then(200, &generated_as(3660, json!({})));
    let _: Option<Response> = mount.backend.handle(req).await?;
    Ok(gateway.script.asked().pop().unwrap().1)
}

#[tokio::test]
async fn templates_name_the_owner_or_nobody_gets_a_key() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let role = json!({"user_id_template": "u-{{identity.entity.name}}", "team_id_template": "{{identity.groups.names.red.id}}"});
    mount.write("roles/app", role).await.unwrap();
    let body = answered(&gateway, &mount, by_ada(&mount)).await.unwrap();
    assert_eq!(
        (&body["user_id"], &body["team_id"]),
        (&json!("u-ada"), &json!("g-1"))
    );

    let calls = gateway.script.asked().len();
    let text = mount.read("creds/app").await.unwrap_err().to_string();
    assert!(
        text.contains("user_id_template") && text.contains("no identity entity"),
        "{text}"
    );
    mount
        .write(
            "roles/app",
            json!({"team_id_template": "{{identity.groups.names.blue.id}}"}),
        )
        .await
        .unwrap();
    let error = mount.backend.handle(by_ada(&mount)).await.unwrap_err();
    assert!(error.to_string().contains("not in that group"), "{error}");
    assert_eq!(gateway.script.asked().len(), calls, "nothing was asked for");
    assert_eq!(mount.wal_entries().await, 0);
}

#[tokio::test]
async fn shared_accounts_are_named_by_mount_role_and_entity() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(200, FEATURES);
    let role = json!({"role_budget": 5, "role_budget_duration": "30d", "entity_budget": 2});
    mount.write("roles/app", role).await.unwrap();
    let body = answered(&gateway, &mount, by_ada(&mount)).await.unwrap();
    assert_eq!(
        body["shared_budgets"],
        json!([
            {"scope": "role", "id": "litellm_1/app", "max_budget": 5.0, "budget_duration": "30d"},
            {"scope": "entity", "id": "litellm_1/e-1", "max_budget": 2.0},
        ])
    );

    let calls = gateway.script.asked().len();
    let text = mount.read("creds/app").await.unwrap_err().to_string();
    assert!(
        text.contains("entity_budget") && text.contains("no identity entity"),
        "{text}"
    );
    assert_eq!(gateway.script.asked().len(), calls, "nothing was asked for");

    mount
        .write("roles/app", json!({"entity_budget": 0}))
        .await
        .unwrap();
    let mut unnamed = by_ada(&mount);
    unnamed.mount_accessor.clear();
    let body = answered(&gateway, &mount, unnamed).await.unwrap();
    assert_eq!(body["shared_budgets"][0]["id"], "llm/app");
}

/// Storage that remembers what was done with it.
#[derive(Debug)]
struct Watched {
    inner: Arc<MemoryStorage>,
    seen: Mutex<Vec<&'static str>>,
}

impl Watched {
    fn saw(&self, call: &'static str) {
        self.seen.lock().unwrap().push(call);
    }
}

#[async_trait]
impl Storage for Watched {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.saw("list");
        self.inner.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<StorageEntry>, StorageError> {
        self.saw("get");
        self.inner.get(key).await
    }

    async fn put(&self, entry: StorageEntry) -> Result<(), StorageError> {
        self.saw(if entry.key.starts_with("wal/") {
            "put wal"
        } else {
            "put"
        });
        self.inner.put(entry).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.saw(if key.starts_with("wal/") {
            "delete wal"
        } else {
            "delete"
        });
        self.inner.delete(key).await
    }
}

#[tokio::test]
async fn a_warm_request_puts_and_deletes_the_write_ahead_entry_and_nothing_else() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    answered(&gateway, &mount, by_ada(&mount)).await.unwrap();
    let watched = Arc::new(Watched {
        inner: mount.storage.clone(),
        seen: Mutex::default(),
    });
    let mut req = by_ada(&mount);
    req.storage = watched.clone();
    answered(&gateway, &mount, req).await.unwrap();
    assert_eq!(*watched.seen.lock().unwrap(), ["put wal", "delete wal"]);
}

#[tokio::test]
async fn a_role_is_not_issued_by_a_gateway_that_would_not_enforce_it() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(200, FEATURES);
    let role = json!({"role_budget": 5, "allowed_cidrs": "10.0.0.0/8"});
    mount.write("roles/app", role).await.unwrap();

    let other = Gateway::start().await;
    let config =
        json!({"base_url": other.url, "master_key": "sk-canary", "verify_connection": false});
    mount.write("config", config.clone()).await.unwrap();
    // Asked again before each refusal, never asked for a key.
    for _ in 0..2 {
        let litellm = r#"{"status":"healthy"}"#;
        other.script.then(200, litellm).then(200, litellm);
        let text = mount.read("creds/app").await.unwrap_err().to_string();
        assert!(
            text.contains("would have no effect") && text.contains(&other.url),
            "{text}"
        );
        mount.write("config", config.clone()).await.unwrap();
    }
    assert!(
        other
            .script
            .asked()
            .iter()
            .all(|(path, _)| path == "/health/readiness")
    );
    assert_eq!(mount.wal_entries().await, 0);
}

#[tokio::test]
async fn a_gateway_is_asked_who_it_is_once_and_only_where_a_role_needs_it() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    answered(&gateway, &mount, by_ada(&mount)).await.unwrap();
    assert_eq!(gateway.script.asked().len(), 1);

    gateway.script.then(200, FEATURES);
    let role = json!({"role_budget": 5});
    mount.write("roles/app", role).await.unwrap();
    let config = json!({"verify_connection": false});
    mount.write("config", config).await.unwrap();
    let before = gateway.script.asked().len();
    gateway.script.then(503, "{}");
    assert!(mount.backend.handle(by_ada(&mount)).await.is_err());
    gateway.script.then(200, FEATURES);
    for _ in 0..2 {
        answered(&gateway, &mount, by_ada(&mount)).await.unwrap();
    }
    let asked = gateway.script.asked().split_off(before);
    let paths: Vec<&str> = asked.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/health/readiness",
            "/health/readiness",
            "/key/generate",
            "/key/generate"
        ]
    );
}
