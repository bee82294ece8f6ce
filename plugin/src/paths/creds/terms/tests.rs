//! What a caller can ask for, and what is more than the role allows.

use serde_json::{Value, json};
use vault_plugin_sdk::{Error, Operation};

use super::is_covered;
use crate::testing::{Gateway, Mount, generated_as};

async fn asked(gateway: &Gateway, mount: &Mount, data: &Value) -> Value {
    mount.write("creds/app", data.clone()).await.unwrap();
    gateway.script.asked().pop().unwrap().1
}

#[tokio::test]
async fn less_than_the_role_allows_is_what_the_gateway_is_asked_for() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let role = json!({"models": "m,openai/*", "max_budget": 2, "rpm_limit": 10, "metadata": {"team": "red"}});
    mount.write("roles/app", role).await.unwrap();
    let data = json!({
        "ttl": "5m", "max_budget": "0.5", "models": "openai/gpt-5", "rpm_limit": 3,
        "tpm_limit": 7, "metadata": {"job": 7},
    });
    gateway.script.then(
        200,
        &generated_as(
            360,
            json!({"models": ["openai/gpt-5"], "max_budget": 0.5, "rpm_limit": 3, "tpm_limit": 5}),
        ),
    );
    let response = mount.write("creds/app", data).await.unwrap().unwrap();
    assert_eq!(response.warnings, ["the gateway set tpm_limit=5"]);
    let secret = response.secret.unwrap();
    assert_eq!(secret.lease.ttl.as_secs(), 300);
    assert_eq!(secret.internal_data["ttl_seconds"], 300);
    let body = gateway.script.asked().pop().unwrap().1;
    assert_eq!(
        (
            &body["duration"],
            &body["max_budget"],
            &body["models"],
            &body["rpm_limit"],
            &body["tpm_limit"]
        ),
        (
            &json!("360s"),
            &json!(0.5),
            &json!(["openai/gpt-5"]),
            &json!(3),
            &json!(7)
        )
    );
    assert_eq!(
        (
            &body["metadata"]["team"],
            &body["metadata"]["job"],
            &body["metadata"]["vault_role"]
        ),
        (&json!("red"), &json!(7), &json!("app"))
    );

    // A read with the same words is bound by them too.
    gateway
        .script
        .then(200, &generated_as(360, json!({"max_budget": 0.5})));
    let request = mount
        .request(Operation::Read, "creds/app")
        .value("ttl", "300")
        .value("max_budget", "0.5");
    mount.backend.handle(request.build()).await.unwrap();
    assert_eq!(gateway.script.asked().pop().unwrap().1["max_budget"], 0.5);
}

#[tokio::test]
async fn an_unrestricted_role_can_be_narrowed() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let role = json!({"models": "", "max_budget": 0});
    mount.write("roles/app", role).await.unwrap();
    gateway.script.then(
        200,
        &generated_as(3660, json!({"models": ["x"], "max_budget": 9.0})),
    );
    let body = asked(&gateway, &mount, &json!({"models": "x", "max_budget": 9})).await;
    assert_eq!(
        (&body["models"], &body["max_budget"]),
        (&json!(["x"]), &json!(9.0))
    );
}

#[tokio::test]
async fn more_than_the_role_allows_is_refused_with_the_bound_and_issues_nothing() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    let role =
        json!({"rpm_limit": 10, "metadata": {"team": "red"}, "key_request": {"tpm_limit": 50}});
    mount.write("roles/app", role).await.unwrap();
    for (data, expected) in [
        (json!({"max_budget": 2}), "at most the role's 1"),
        (json!({"max_budget": 0}), "max_budget must be above 0"),
        (json!({"max_budget": -1}), "max_budget must be"),
        (json!({"max_budget": "NaN"}), "max_budget"),
        (json!({"max_budget": "inf"}), "max_budget"),
        (json!({"max_budget": {}}), "max_budget"),
        (
            json!({"models": "other"}),
            "among the role's, a pattern in the role's own words: m",
        ),
        (
            json!({"models": "m,other"}),
            "among the role's, a pattern in the role's own words: m",
        ),
        (json!({"models": "m,"}), "stray comma"),
        (json!({"models": ""}), "at least one"),
        (json!({"models": ["m\u{7}"]}), "control"),
        (
            json!({"models": "*"}),
            "among the role's, a pattern in the role's own words: m",
        ),
        (json!({"rpm_limit": 11}), "at most the role's 10"),
        (json!({"rpm_limit": 0}), "rpm_limit must be above 0"),
        (json!({"rpm_limit": -1}), "rpm_limit must be above 0"),
        (json!({"tpm_limit": 51}), "at most the role's 50"),
        (json!({"max_parallel_requests": 0}), "leave it out"),
        (
            json!({"max_parallel_requests": "many"}),
            "max_parallel_requests",
        ),
        (json!({"ttl": "3h"}), "at most 7200s"),
        (json!({"ttl": 0}), "at least 1s"),
        (json!({"ttl": "-1s"}), "ttl"),
        (json!({"ttl": "99999999999h"}), "ttl"),
        (json!({"metadata": {"team": "blue"}}), "that the role sets"),
        (json!({"metadata": {"vault_role": "x"}}), "vault_"),
        (json!({"metadata": {"a": "x".repeat(20_000)}}), "at most"),
        (json!({"metadata": "x"}), "metadata"),
        (json!({"metadata": {"job": {"a": 1}}}), "strings, numbers"),
        (json!({"metadata": {"job": ["a"]}}), "strings, numbers"),
        (json!({"metadata": {"job": null}}), "strings, numbers"),
    ] {
        let text = mount.refused("creds/app", data.clone()).await;
        assert!(text.contains(expected), "{data}: {text}");
    }
    let asked = gateway.script.asked();
    assert!(asked.iter().all(|(path, _)| path == "/health/readiness"));
    assert_eq!(mount.wal_entries().await, 0);
}

#[tokio::test]
async fn a_name_that_controls_the_gateway_is_the_roles_alone() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    for name in [
        "temp_budget_increase",
        "temp_budget_expiry",
        "model_rpm_limit",
        "model_tpm_limit",
        "mcp_rpm_limit",
        "guardrails",
        "disable_global_guardrails",
        "opted_out_global_guardrails",
        "policies",
        "tags",
        "Tags",
        "logging",
        "soft_budget",
        "priority",
        "allowed_passthrough_routes",
        "enforced_params",
        "throttle_on_budget_exceeded",
        "tpd_limit",
        "litellm_disabled_callbacks",
        "service_account_id",
    ] {
        let asked = json!({"metadata": {name: 1}});
        let text = mount.refused("creds/app", asked).await;
        assert!(text.contains("controls the gateway"), "{name}: {text}");
    }
    assert!(gateway.script.asked().is_empty());

    let role = json!({"metadata": {"tags": ["red"]}});
    mount.write("roles/app", role).await.unwrap();
    gateway.script.then(200, &generated_as(3660, json!({})));
    let asked = json!({"metadata": {"job_tags": "7", "run": 7, "dry": true}});
    let body = self::asked(&gateway, &mount, &asked).await;
    assert_eq!(
        (&body["metadata"]["tags"], &body["metadata"]["job_tags"]),
        (&json!(["red"]), &json!("7"))
    );
}

#[tokio::test]
async fn an_unknown_field_is_warned_of() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(200, &generated_as(3660, json!({})));
    let response = mount.write("creds/app", json!({"budget": 1})).await;
    let warnings = response.unwrap().unwrap().warnings;
    assert!(
        warnings.iter().any(|text| text.contains("[budget]")),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_role_without_a_bound_says_so_to_zero() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    mount
        .write("roles/app", json!({"max_budget": 0}))
        .await
        .unwrap();
    match mount.write("creds/app", json!({"max_budget": 0})).await {
        Err(Error::User(text)) => assert!(text.contains("as the role says"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pattern_covers_the_names_that_it_matches_and_no_other_pattern() {
    for (bound, asked, expected) in [
        ("gpt-5", "gpt-5", true),
        ("gpt-5", "gpt-5-mini", false),
        ("openai/*", "openai/gpt-5", true),
        ("openai/*", "openai/*", true),
        ("openai/*", "openai/gpt-*", false),
        ("openai/*", "openai/x|*", false),
        ("openai/*", "openai/x|y", false),
        ("openai/*", "openai/(x", false),
        ("openai/*", "openai/x?", false),
        ("openai/*", "openai/x$", false),
        ("openai/*", "openai/x\\d", false),
        ("openai/x|*", "openai/x|*", true),
        ("openai/x|y", "openai/x|y", true),
        ("all-proxy-models", "openai/*", false),
        ("*", "openai/*", false),
        ("*", "openai/gpt-4.1", true),
        ("openai/gpt-*", "openai/*", false),
        ("openai/*", "*", false),
        ("openai/*", "anthropic/x", false),
        ("openai/*", "gpt-5", false),
        ("*", "anything", true),
        ("*", "all-proxy-models", false),
        ("all-proxy-models", "anything", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxbyy", false),
        ("a*c", "ac", true),
        ("ab*bc", "abc", false),
    ] {
        assert_eq!(is_covered(bound, asked), expected, "{bound} {asked}");
    }
}
