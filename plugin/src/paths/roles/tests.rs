//! Roles through the backend's public surface, with storage in memory.

use serde_json::json;

use super::RoleEntry;
use crate::testing::Mount;

#[tokio::test]
async fn a_role_is_written_read_listed_and_deleted() {
    let mount = Mount::new();
    let role = json!({
        "models": "gpt-5,claude", "max_budget": "2.5", "ttl": "1h", "max_ttl": "24h",
        "key_alias_prefix": "ci", "metadata": {"team": "red"},
    });
    assert!(mount.write("roles/App.One", role).await.unwrap().is_none());
    let read = mount
        .read("roles/app.one")
        .await
        .unwrap()
        .unwrap()
        .data
        .unwrap();
    assert_eq!(
        serde_json::Value::Object(read),
        json!({
            "models": ["gpt-5", "claude"], "max_budget": 2.5, "ttl": 3600, "max_ttl": 86400,
            "key_alias_prefix": "ci", "metadata": {"team": "red"}, "budget_duration": "",
            "rpm_limit": 0, "tpm_limit": 0, "max_parallel_requests": 0,
            "model_max_budget": {}, "model_rpm_limit": {}, "model_tpm_limit": {},
            "allowed_routes": [], "allowed_cidrs": [], "key_request": {},
        })
    );
    let list = mount.list("roles/").await.unwrap().unwrap().data.unwrap();
    assert_eq!(list["keys"], json!(["app.one"]));
    mount.delete("roles/app.one").await.unwrap();
    assert!(mount.read("roles/app.one").await.unwrap().is_none());
}

#[tokio::test]
async fn a_field_left_out_of_an_update_stays() {
    let mount = Mount::new();
    mount
        .write(
            "roles/a",
            json!({"models": "m", "max_budget": 1, "ttl": "1h"}),
        )
        .await
        .unwrap();
    mount
        .write("roles/a", json!({"max_budget": 2}))
        .await
        .unwrap();
    let read = mount.read("roles/a").await.unwrap().unwrap().data.unwrap();
    assert_eq!(
        (&read["models"], &read["ttl"], &read["max_budget"]),
        (&json!(["m"]), &json!(3600), &json!(2.0))
    );
}

#[tokio::test]
async fn no_bounds_are_accepted_with_a_warning() {
    let mount = Mount::new();
    let warnings = mount
        .write("roles/a", json!({}))
        .await
        .unwrap()
        .unwrap()
        .warnings;
    assert!(
        warnings.iter().any(|text| text.contains("models is empty")),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("max_budget is not set")),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn bad_input_says_what_to_do_and_saves_nothing() {
    let mount = Mount::new();
    for (data, expected) in [
        (json!({"max_budget": -1}), "max_budget must be"),
        (json!({"max_budget": "NaN"}), "max_budget"),
        (json!({"max_budget": "inf"}), "max_budget"),
        (json!({"max_budget": "much"}), "max_budget"),
        (json!({"ttl": "2h", "max_ttl": "1h"}), "must not be longer"),
        (json!({"ttl": "-1s"}), "ttl"),
        (json!({"models": "a,,b"}), "stray comma"),
        (json!({"key_alias_prefix": "a b"}), "key_alias_prefix"),
        (json!({"metadata": {"vault_role": "x"}}), "vault_"),
        (json!({"entity_budget": 5}), "not yet supported"),
    ] {
        let text = mount.refused("roles/a", data.clone()).await;
        assert!(text.contains(expected), "{data}: {text}");
        assert!(mount.read("roles/a").await.unwrap().is_none(), "{data}");
    }
}

#[test]
fn entries_of_older_versions_load() {
    let first = r#"{"models":["m"],"max_budget":2.5,"ttl_seconds":3600,"max_ttl_seconds":86400,"key_alias_prefix":"ci","metadata":{"team":"red"}}"#;
    let entry: RoleEntry = serde_json::from_str(first).unwrap();
    let mut expected = RoleEntry {
        ttl_seconds: 3600,
        max_ttl_seconds: 86400,
        ..RoleEntry::default()
    };
    expected.grant.models = vec!["m".into()];
    expected.grant.max_budget = 2.5;
    expected.grant.key_alias_prefix = "ci".into();
    expected.grant.metadata.insert("team".into(), "red".into());
    assert_eq!(entry, expected);

    let entry: RoleEntry = serde_json::from_str(r#"{"models":["m"]}"#).unwrap();
    assert_eq!(entry.grant.key_alias_prefix, "vault");
}
