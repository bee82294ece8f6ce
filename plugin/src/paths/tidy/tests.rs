//! Tidying ends what it must, and nothing else.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use vault_plugin_sdk::wal as sdk_wal;

use super::*;
use crate::testing::Mount;
use crate::testing::admin::{Cut, FakeAdmin, STATIC_KEY, Style};

const MOUNT: &str = "team/litellm/";

async fn configured(gateway: &FakeAdmin) -> Mount {
    let mount = Mount::new();
    let config = json!({"base_url": gateway.url, "master_key": STATIC_KEY, "verify_connection": false, "request_timeout": "2s"});
    mount.write("config", config).await.unwrap();
    mount
}

async fn call(mount: &Mount, body: Value) -> Result<Response, Error> {
    let request = mount
        .request(Operation::Update, "tidy")
        .mount(MOUNT, "litellm_1a2b")
        .data(body.as_object().unwrap().clone());
    Ok(mount.backend.handle(request.build()).await?.unwrap())
}

/// A key of this mount's role `ci.build` that expired `ago`.
fn row(number: usize, ago: TimeDelta) -> Value {
    json!({
        "key_alias": format!("vault-ci_build-{number:020}"),
        "expires": Utc::now() - ago,
        "metadata": {"vault_mount": MOUNT, "vault_role": "ci.build"},
    })
}

fn add(gateway: &FakeAdmin, number: usize, row: Value) {
    gateway.add(&format!("sk-canary-{number}"), row);
}

fn with(mut row: Value, field: &str, value: Value) -> Value {
    row[field] = value;
    row
}

#[tokio::test]
async fn expired_keys_of_this_mount_go_and_nothing_else() {
    let gateway = FakeAdmin::start(Style::LiteLlm).await;
    let mount = configured(&gateway).await;
    let hour = TimeDelta::hours(1);
    let metadata = |mount: &str, role: &str| json!({"vault_mount": mount, "vault_role": role});
    let kept = [
        row(1, -hour),
        with(row(2, hour), "expires", Value::Null),
        with(row(3, hour), "expires", json!("soon")),
        with(row(4, hour), "metadata", metadata("litellm/", "ci.build")),
        with(row(5, hour), "metadata", metadata(MOUNT, "other")),
        with(row(6, hour), "metadata", metadata(MOUNT, "")),
        with(row(7, hour), "metadata", Value::Null),
        with(row(8, hour), "key_alias", json!("vault-ci_build-by-hand")),
        with(row(9, hour), "key_alias", Value::Null),
    ];
    for (number, row) in kept.iter().enumerate() {
        add(&gateway, number, row.clone());
    }
    let before = gateway.aliases().len();
    add(&gateway, 100, row(100, hour));
    // The gateway's time has whole seconds.
    add(&gateway, 101, row(101, TimeDelta::seconds(2)));

    let dry = call(&mount, json!({"dry_run": true})).await.unwrap();
    let dry = dry.data.unwrap();
    assert_eq!(
        (&dry["expired_keys"], &dry["deleted_keys"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(gateway.aliases().len(), before + 2);

    let answer = call(&mount, json!({})).await.unwrap();
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    let told = answer.data.unwrap();
    assert_eq!(told["keys_seen"], json!(before + 2));
    assert_eq!(told["deleted_keys"], 2);
    assert_eq!(told["complete"], true);
    let mut aliases: Vec<_> = told["key_aliases"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    aliases.sort();
    assert_eq!(
        aliases,
        [100, 101].map(|number| format!("\"vault-ci_build-{number:020}\""))
    );
    assert_eq!(gateway.aliases().len(), before);
}

#[tokio::test]
async fn all_pages_are_read_before_anything_is_deleted() {
    let gateway = FakeAdmin::start(Style::LiteLlm).await;
    let mount = configured(&gateway).await;
    for number in 0..350 {
        let ago = TimeDelta::hours(if number % 3 == 0 { -1 } else { 1 });
        add(&gateway, number, row(number, ago));
    }
    let told = call(&mount, json!({})).await.unwrap().data.unwrap();
    assert_eq!(
        (&told["keys_seen"], &told["deleted_keys"]),
        (&json!(350), &json!(233))
    );
    assert_eq!(gateway.aliases().len(), 117);
}

#[tokio::test]
async fn a_gateway_that_fails_half_way_is_told_and_the_rest_is_found_again() {
    let gateway = FakeAdmin::start(Style::LiteLlm).await;
    let mount = configured(&gateway).await;
    for number in 0..250 {
        add(&gateway, number, row(number, TimeDelta::hours(1)));
    }
    // The first page: nothing was done, so it is an error.
    gateway.cut(1, Cut::Before);
    let error = call(&mount, json!({})).await.unwrap_err().to_string();
    assert!(error.contains("status 500"), "{error}");
    // The second page, then the second batch.
    gateway.cut(2, Cut::Before);
    let answer = call(&mount, json!({})).await.unwrap();
    assert_eq!(answer.warnings.len(), 1);
    let told = answer.data.unwrap();
    assert_eq!(
        (&told["deleted_keys"], &told["complete"]),
        (&json!(100), &json!(false))
    );
    // The one page that was read is gone, so the next one has moved to its place.
    assert_eq!(told["next_page"], 1);
    gateway.cut(4, Cut::After);
    let told = call(&mount, json!({})).await.unwrap().data.unwrap();
    assert_eq!(
        (&told["deleted_keys"], &told["complete"]),
        (&json!(100), &json!(false))
    );
    gateway.works_again();
    let told = call(&mount, json!({})).await.unwrap().data.unwrap();
    assert_eq!(told["complete"], true);
    assert!(gateway.aliases().is_empty());
}

#[tokio::test]
async fn old_write_ahead_entries_are_rolled_back_and_young_ones_kept() {
    let gateway = FakeAdmin::start(Style::LiteLlm).await;
    let mount = configured(&gateway).await;
    add(&gateway, 1, row(1, TimeDelta::hours(-1)));
    add(&gateway, 2, row(2, TimeDelta::hours(-1)));
    for (number, age) in [(1, 3600), (2, 0)] {
        let alias = format!("vault-ci_build-{number:020}");
        let data = json!({"key_alias": alias, "base_url": gateway.url, "life_seconds": 7200});
        let entry =
            json!({"type": "key", "data": data, "created_at": Utc::now().timestamp() - age});
        let key = format!("{}{number}", sdk_wal::PREFIX);
        vault_plugin_sdk::put_json(mount.storage.as_ref(), &key, &entry)
            .await
            .unwrap();
    }
    let dry = call(&mount, json!({"dry_run": true}))
        .await
        .unwrap()
        .data
        .unwrap();
    assert_eq!(
        (&dry["wal_entries"], &dry["wal_rolled_back"]),
        (&json!(2), &json!(0))
    );
    // A caller cannot make it take young entries for old.
    let body = json!({"immediate": true});
    let told = call(&mount, body).await.unwrap().data.unwrap();
    assert_eq!(
        (&told["wal_rolled_back"], &told["wal_kept"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(mount.wal_entries().await, 1);
    assert_eq!(gateway.aliases(), [format!("vault-ci_build-{:020}", 2)]);
}

#[tokio::test]
async fn bad_input_and_a_gateway_without_a_list_are_told() {
    let gateway = FakeAdmin::start(Style::LiteLlm).await;
    let mount = configured(&gateway).await;
    for page in [json!(0), json!(-1), json!(1_i64 << 40)] {
        let error = call(&mount, json!({"page": page})).await.unwrap_err();
        assert!(error.to_string().contains("page must be 1"), "{error}");
    }
    gateway.cut(1, Cut::Garbled);
    let error = call(&mount, json!({})).await.unwrap_err().to_string();
    assert!(error.contains("none of a LiteLLM key API"), "{error}");
}
