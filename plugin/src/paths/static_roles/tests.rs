//! What a write may say. None of these writes reaches a gateway.

use serde_json::{Value, json};

use crate::testing::{GOOD_CONFIG, Mount};

async fn check(fields: Value, expected: &str) {
    let mount = Mount::new();
    mount.write("config", GOOD_CONFIG()).await.unwrap();
    let text = mount.refused("static-roles/app", fields.clone()).await;
    assert!(text.contains(expected), "{fields}: {text}");
    assert_eq!(mount.wal_entries().await, 0);
    assert!(mount.read("static-roles/app").await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_that_makes_no_sense_says_why() {
    for (fields, expected) in [
        (json!({}), "one of rotation_period and rotation_schedule"),
        (
            json!({"rotation_period": 60, "rotation_schedule": "@daily"}),
            "exclude each other",
        ),
        (json!({"rotation_period": 4}), "5 seconds or more"),
        (json!({"rotation_period": 0}), "5 seconds or more"),
        (json!({"rotation_period": -60}), "rotation_period"),
        (json!({"rotation_period": "1 fortnight"}), "rotation_period"),
        (json!({"rotation_period": "100000h"}), "ten years"),
        (json!({"rotation_period": u64::MAX}), "rotation_period"),
        (
            json!({"rotation_period": 60, "rotation_window": 3600}),
            "needs rotation_schedule",
        ),
        (json!({"rotation_window": 3600}), "one of rotation_period"),
        (
            json!({"rotation_schedule": "@daily", "rotation_window": 3599}),
            "3600 seconds or more",
        ),
        (
            json!({"rotation_schedule": "@daily", "rotation_window": "100000h"}),
            "ten years",
        ),
        (json!({"rotation_schedule": "@every 1h"}), "rotation_period"),
        (
            json!({"rotation_schedule": "0 0 * * 7"}),
            "rotation_schedule has a day of week",
        ),
        (json!({"rotation_schedule": ["a"]}), "rotation_schedule"),
        (
            json!({"rotation_period": 60, "grace_period": 61}),
            "grace_period",
        ),
        (
            json!({"rotation_period": 60, "grace_period": -1}),
            "grace_period",
        ),
        (
            json!({"rotation_schedule": "@daily", "grace_period": "100000h"}),
            "grace_period",
        ),
        (
            json!({"rotation_period": 60, "max_budget": -1}),
            "max_budget",
        ),
        (
            json!({"rotation_period": 60, "user_id": "a\u{0}b"}),
            "user_id",
        ),
        (
            json!({"rotation_period": 60, "team_id": "x".repeat(257)}),
            "team_id",
        ),
    ] {
        check(fields, expected).await;
    }
}

#[tokio::test]
async fn a_role_without_a_configuration_is_refused() {
    let mount = Mount::new();
    let text = mount
        .refused("static-roles/app", json!({"rotation_period": 60}))
        .await;
    assert!(text.contains("not configured"), "{text}");
}

#[tokio::test]
async fn unknown_roles_are_named_and_absent_ones_are_absent() {
    let mount = Mount::new();
    let text = mount.refused("rotate-role/nobody", json!({})).await;
    assert!(text.contains("static-roles/nobody"), "{text}");
    let error = mount.read("static-creds/nobody").await.unwrap_err();
    assert!(error.to_string().contains("static-roles/nobody"), "{error}");
    assert!(mount.delete("static-roles/nobody").await.unwrap().is_none());
    let text = mount.refused("static-roles/", json!({})).await;
    assert!(text.contains("name the role"), "{text}");
}
