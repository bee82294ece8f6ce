//! Roles through the backend's public surface, with storage in memory.

use serde_json::json;

use vault_plugin_sdk::{Error, Operation};

use super::RoleEntry;
use crate::testing::{Gateway, Mount, generated};

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
            "user_id_template": "", "team_id_template": "", "role_budget": 0.0,
            "role_budget_duration": "", "entity_budget": 0.0, "entity_budget_duration": "",
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
        (json!({"role_budget": -5}), "role_budget must be"),
        (json!({"entity_budget": "NaN"}), "entity_budget"),
        (
            json!({"role_budget_duration": "1y"}),
            "role_budget_duration must be",
        ),
        (
            json!({"entity_budget_duration": "soon"}),
            "entity_budget_duration must be",
        ),
        (
            json!({"user_id_template": "{{identity.x}}"}),
            "user_id_template asks",
        ),
        (
            json!({"team_id_template": "a\u{1}"}),
            "team_id_template must not",
        ),
        (json!({"user_id_template": [1]}), "user_id_template"),
        (
            json!({"role_budget": 5}),
            "write base_url and master_key to config first",
        ),
    ] {
        let text = mount.refused("roles/a", data.clone()).await;
        assert!(text.contains(expected), "{data}: {text}");
        assert!(mount.read("roles/a").await.unwrap().is_none(), "{data}");
    }
}

#[tokio::test]
async fn a_field_that_the_gateway_does_not_enforce_is_refused() {
    const PROXY: &str = r#"{"status":"healthy","gateway":"llm-proxy","version":"1.2","features":["shared_budgets"]}"#;
    const LITELLM: &str = r#"{"status":"healthy","db":"connected"}"#;
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    for (readiness, data, refused) in [
        (PROXY, json!({"role_budget": 5}), None),
        (PROXY, json!({"entity_budget": 5}), None),
        (
            PROXY,
            json!({"allowed_cidrs": "10.0.0.0/8"}),
            Some("allowed_cidrs"),
        ),
        (
            PROXY,
            json!({"model_max_budget": {"m": {"budget_limit": 1}}}),
            Some("model_max_budget"),
        ),
        (LITELLM, json!({"role_budget": 5}), Some("shared_budgets")),
        (
            LITELLM,
            json!({"entity_budget": 5}),
            Some("LiteLLM at http"),
        ),
        (
            LITELLM,
            json!({"allowed_cidrs": "10.0.0.0/8"}),
            Some("Leave allowed_cidrs out"),
        ),
        (
            LITELLM,
            json!({"model_max_budget": {"m": {"budget_limit": 1}}}),
            None,
        ),
        (
            LITELLM,
            json!({"key_request": {"model_max_budget": {"m": {"budget_limit": 1}}}}),
            None,
        ),
    ] {
        gateway.script.then(200, readiness);
        mount.delete("roles/a").await.unwrap();
        match refused {
            None => {
                mount.write("roles/a", data.clone()).await.unwrap();
            }
            Some(expected) => {
                let text = mount.refused("roles/a", data.clone()).await;
                assert!(text.contains(expected), "{data}: {text}");
                assert!(mount.read("roles/a").await.unwrap().is_none(), "{data}");
            }
        }
    }
    let asked = gateway.script.asked();
    assert!(asked.iter().all(|(path, _)| path == "/health/readiness"));
    assert_eq!(asked.len(), 9);

    // What was taken before is not asked about again.
    gateway.script.then(200, PROXY);
    mount
        .write("roles/b", json!({"role_budget": 5}))
        .await
        .unwrap();
    mount
        .write("roles/b", json!({"models": "m"}))
        .await
        .unwrap();
    assert_eq!(gateway.script.asked().len(), 10);
}

#[tokio::test]
async fn a_gateway_that_cannot_be_asked_is_502_and_saves_nothing() {
    let mount = Mount::new();
    let config = json!({"base_url": "http://127.0.0.1:1", "master_key": "sk-canary", "verify_connection": false});
    mount.write("config", config).await.unwrap();
    let (status, _) = mount.coded("roles/a", json!({"role_budget": 5})).await;
    assert_eq!(status, 502);
    assert!(mount.read("roles/a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_field_without_effect_is_warned_of_once_the_gateway_has_told() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let role = json!({"rpm_limit": 5, "tpm_limit": 7});
    assert!(
        mount
            .write("roles/app", role.clone())
            .await
            .unwrap()
            .is_none()
    );
    let answer = generated(3660);
    let headers = [("x-llm-proxy-ignored", "rpm_limit")];
    gateway.script.then_with(200, &answer, &headers);
    let issued = mount.read("creds/app").await.unwrap().unwrap();
    assert!(
        issued
            .warnings
            .iter()
            .any(|text| text.contains("does not enforce rpm_limit")),
        "{:?}",
        issued.warnings
    );

    let written = mount.write("roles/app", role).await.unwrap().unwrap();
    assert!(
        written.warnings[0].contains("did not enforce rpm_limit"),
        "{:?}",
        written.warnings
    );
    let gone = json!({"rpm_limit": 0});
    assert!(mount.write("roles/app", gone).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_gateway_names_as_ignored_is_warned_of_at_the_write() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let ready =
        json!({"status": "healthy", "gateway": "llm-proxy", "ignored": ["rpm_limit", "tags"]});
    let role = json!({"models": "m", "max_budget": 1, "rpm_limit": 5, "allowed_routes": "/v1/chat/completions"});
    // A gateway that can't be asked keeps nothing from being written.
    assert!(
        mount
            .write("roles/a", role.clone())
            .await
            .unwrap()
            .is_none()
    );
    gateway.script.then(200, &ready);
    for name in ["a", "b"] {
        let answer = mount.write(&format!("roles/{name}"), role.clone()).await;
        let warnings = answer.unwrap().unwrap().warnings;
        assert_eq!(warnings, ["the gateway does not enforce rpm_limit"]);
    }
    let plain = json!({"models": "m", "max_budget": 1});
    assert!(mount.write("roles/c", plain).await.unwrap().is_none());
    assert_eq!(gateway.script.asked().len(), 2);
}

#[tokio::test]
async fn names_and_networks_are_bounded_as_at_the_gateway() {
    let mount = Mount::new();
    for path in ["roles", "static-roles"] {
        let path = format!("{path}/{}", "a".repeat(101));
        let data = json!({"models": "m", "rotation_period": "1h"});
        let text = mount.refused(&path, data).await;
        assert!(text.contains("at most 100 characters"), "{path}: {text}");
    }
    let longest = format!("roles/{}", "a".repeat(100));
    mount.write(&longest, json!({"models": "m"})).await.unwrap();

    let networks = |count: u8| {
        (0..count)
            .map(|i| format!("10.0.{i}.0/24"))
            .collect::<Vec<_>>()
    };
    let text = mount
        .refused("roles/a", json!({"allowed_cidrs": networks(65)}))
        .await;
    assert!(text.contains("at most 64 networks"), "{text}");
    // The next thing that is missing: a gateway to ask.
    let text = mount
        .refused("roles/a", json!({"allowed_cidrs": networks(64)}))
        .await;
    assert!(text.contains("config first"), "{text}");
}

#[tokio::test]
async fn two_bounds_for_one_entity_are_warned_of() {
    const PROXY: &str =
        r#"{"status":"healthy","gateway":"llm-proxy","features":["shared_budgets"]}"#;
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let mut warned = Vec::new();
    for (role, budget) in [("a", 5), ("b", 5), ("c", 6)] {
        gateway.script.then(200, PROXY);
        let data = json!({"models": "m", "entity_budget": budget});
        let answer = mount.write(&format!("roles/{role}"), data).await.unwrap();
        warned.extend(answer.map(|answer| answer.warnings).unwrap_or_default());
    }
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("another entity_budget"), "{warned:?}");
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_takes_away() {
    let mount = Mount::new();
    let patch = |data: serde_json::Value| {
        let request = mount
            .request(Operation::Patch, "roles/a")
            .data(data.as_object().unwrap().clone());
        mount.backend.handle(request.build())
    };
    let refused = patch(json!({"ttl": "1h"})).await;
    assert!(
        matches!(refused, Err(Error::Coded { status: 404, .. })),
        "{refused:?}"
    );
    let role = json!({"models": "m", "max_budget": 1, "ttl": "1h", "rpm_limit": 5, "metadata": {"a": 1, "b": {"c": 1}}, "model_rpm_limit": {"m": 1, "n": 2}});
    mount.write("roles/a", role).await.unwrap();
    patch(json!({"ttl": null, "rpm_limit": null, "tpm_limit": 9, "metadata": {"a": null, "b": {"d": 2}}, "model_rpm_limit": {"m": null}}))
        .await
        .unwrap();
    let read = mount.read("roles/a").await.unwrap().unwrap().data.unwrap();
    for (field, expected) in [
        ("models", json!(["m"])),
        ("max_budget", json!(1.0)),
        ("ttl", json!(0)),
        ("rpm_limit", json!(0)),
        ("tpm_limit", json!(9)),
        ("metadata", json!({"b": {"c": 1, "d": 2}})),
        ("model_rpm_limit", json!({"n": 2})),
    ] {
        assert_eq!(read[field], expected, "{field}");
    }
    let refused = patch(json!({"metadata": {"vault_role": "x"}})).await;
    assert!(refused.is_err(), "{refused:?}");
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

#[tokio::test]
async fn a_window_of_a_shared_budget_needs_a_gateway_with_windows() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let features = json!({"status": "healthy", "gateway": "llm-proxy", "version": "1", "features": ["shared_budgets"]});
    for budget in ["role_budget", "entity_budget"] {
        let duration = format!("{budget}_duration");
        gateway.script.then(200, &features);
        let role = json!({budget: 5, &duration: "30d"});
        let text = mount.refused("roles/app", role).await;
        assert!(
            text.contains(&duration) && text.contains("shared_budget_windows"),
            "{text}"
        );
        gateway.script.then(200, &features);
        mount.write("roles/app", json!({budget: 5})).await.unwrap();
    }
}
