//! A grant's fields, from what is written to what the gateway is asked for.

use std::time::Duration;

use serde_json::{Value, json};

use super::Grant;
use crate::testing::{Gateway, Mount};

async fn written(data: Value) -> Grant {
    let mount = Mount::new();
    mount.write("roles/a", data).await.unwrap();
    stored(&mount).await
}

async fn stored(mount: &Mount) -> Grant {
    use vault_plugin_sdk::Storage as _;
    let entry = mount.storage.get("roles/a").await.unwrap().unwrap();
    serde_json::from_slice(&entry.value).unwrap()
}

fn body(grant: &Grant) -> Value {
    let metadata = json!({"vault_role": "a"});
    let request = grant.request(
        "vault-a-x".into(),
        Duration::from_secs(60),
        metadata.as_object().unwrap().clone(),
    );
    serde_json::to_value(request).unwrap()
}

#[tokio::test]
async fn an_empty_grant_asks_for_no_bound() {
    let grant = written(json!({})).await;
    assert_eq!(
        body(&grant),
        json!({
            "key_alias": "vault-a-x", "duration": "60s", "models": [],
            "metadata": {"vault_role": "a"}, "key_type": "llm_api",
        })
    );
}

#[tokio::test]
async fn each_field_reaches_the_gateway_and_can_be_taken_away() {
    let gateway = Gateway::start().await;
    let mount = Mount::at(&gateway).await;
    gateway.script.then(200, r#"{"status":"healthy"}"#);
    let full = json!({
        "models": "m", "max_budget": 2, "budget_duration": "1mo",
        "rpm_limit": 10, "tpm_limit": "20", "max_parallel_requests": 3,
        "model_max_budget": {"m": {"budget_limit": "0.5", "time_period": "1d"}},
        "model_rpm_limit": "{\"m\": 4}", "model_tpm_limit": {"m": 5},
        "allowed_routes": "/v1/chat/completions", "metadata": {"team": "red"},
        "key_request": {"tags": ["a"], "rpm_limit": 99},
    });
    mount.write("roles/a", full).await.unwrap();
    assert_eq!(
        body(&stored(&mount).await),
        json!({
            "key_alias": "vault-a-x", "duration": "60s", "models": ["m"], "max_budget": 2.0,
            "budget_duration": "1mo", "rpm_limit": 10, "tpm_limit": 20, "max_parallel_requests": 3,
            "model_max_budget": {"m": {"budget_limit": "0.5", "time_period": "1d"}},
            "model_rpm_limit": {"m": 4}, "model_tpm_limit": {"m": 5},
            "allowed_routes": ["/v1/chat/completions"], "tags": ["a"],
            "metadata": {"team": "red", "vault_role": "a"}, "key_type": "default",
        })
    );
    let nothing = json!({
        "models": "", "max_budget": 0, "budget_duration": "", "rpm_limit": 0, "tpm_limit": 0,
        "max_parallel_requests": 0, "model_max_budget": {}, "model_rpm_limit": "",
        "model_tpm_limit": {}, "allowed_routes": [], "metadata": {}, "key_request": {},
        "key_alias_prefix": "",
    });
    mount.write("roles/a", nothing).await.unwrap();
    assert_eq!(stored(&mount).await, Grant::default());
}

#[tokio::test]
async fn key_request_stands_below_the_named_fields() {
    let grant = written(json!({
        "models": "m",
        "metadata": {"a": 1},
        "key_request": "{\"models\": [\"x\"], \"max_budget\": 3, \"metadata\": {\"a\": 2, \"b\": 2}, \"tags\": [\"t\"], \"tpm_limit\": null}",
    }))
    .await;
    assert_eq!(grant.settled().budget(), Some(3.0));
    assert_eq!(
        body(&grant),
        json!({
            "key_alias": "vault-a-x", "duration": "60s", "models": ["m"], "max_budget": 3.0,
            "tags": ["t"], "metadata": {"a": 1, "b": 2, "vault_role": "a"}, "key_type": "llm_api",
        })
    );
}

#[tokio::test]
async fn networks_are_stored_in_normal_form() {
    for (given, expected) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::1/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
    ] {
        let cidrs = super::check::cidrs("allowed_cidrs", &[given.to_owned()]).unwrap();
        assert_eq!(cidrs, [expected], "{given}");
    }
    for bad in [
        "",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0/8",
        "::/129",
        "a",
        "10.0.0.0/8/8",
        "10.0.0.0/4294967295",
        "1.2.3.4:80",
        "[::1]",
        "fe80::1%eth0",
    ] {
        assert!(
            super::check::cidrs("allowed_cidrs", &[bad.to_owned()]).is_err(),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn bad_values_are_refused_by_name() {
    let mount = Mount::new();
    let long = "x".repeat(256);
    for (data, expected) in [
        (json!({"models": [long]}), "models"),
        (json!({"models": ["a\u{0}b"]}), "control"),
        (json!({"models": [["a"]]}), "models"),
        (json!({"models": {"a": 1}}), "models"),
        (json!({"max_budget": 1e10}), "max_budget must be"),
        (json!({"max_budget": 1e-12}), "max_budget must be"),
        (json!({"max_budget": "1e400"}), "max_budget"),
        (json!({"max_budget": [1]}), "max_budget"),
        (json!({"budget_duration": "30"}), "budget_duration must be"),
        (json!({"budget_duration": "0d"}), "budget_duration must be"),
        (json!({"budget_duration": "-1d"}), "budget_duration must be"),
        (
            json!({"budget_duration": "1.5h"}),
            "budget_duration must be",
        ),
        (
            json!({"budget_duration": "99999999999999999999d"}),
            "budget_duration must be",
        ),
        (
            json!({"budget_duration": "9999999999999999mo"}),
            "budget_duration must be",
        ),
        (json!({"budget_duration": "1y"}), "budget_duration must be"),
        (json!({"budget_duration": {}}), "budget_duration"),
        (json!({"rpm_limit": -1}), "rpm_limit must be"),
        (json!({"tpm_limit": "many"}), "tpm_limit"),
        (json!({"tpm_limit": 1e300}), "tpm_limit"),
        (
            json!({"max_parallel_requests": "99999999999999999999"}),
            "max_parallel_requests",
        ),
        (
            json!({"model_max_budget": {"m": 5}}),
            "model_max_budget must map",
        ),
        (
            json!({"model_max_budget": {"m": {"budget_limit": -1}}}),
            "model_max_budget must map",
        ),
        (
            json!({"model_max_budget": {"m": {"budget_limit": "NaN"}}}),
            "model_max_budget must map",
        ),
        (
            json!({"model_max_budget": {"m": {"budget_limit": 1, "time_period": "x"}}}),
            "model_max_budget must map",
        ),
        (
            json!({"model_rpm_limit": {"m": -1}}),
            "model_rpm_limit must map",
        ),
        (
            json!({"model_rpm_limit": {"m": 0}}),
            "model_rpm_limit must map",
        ),
        (
            json!({"model_tpm_limit": {"m": "5"}}),
            "model_tpm_limit must map",
        ),
        (json!({"model_tpm_limit": "{"}), "model_tpm_limit"),
        (json!({"model_tpm_limit": [1]}), "model_tpm_limit"),
        (
            json!({"allowed_routes": "/key/generate"}),
            "manages nothing",
        ),
        (json!({"allowed_routes": "/*"}), "manages nothing"),
        (json!({"allowed_routes": "/v1/*"}), "manages nothing"),
        (json!({"allowed_routes": "*"}), "manages nothing"),
        (
            json!({"allowed_routes": "/v1/chat/../key"}),
            "manages nothing",
        ),
        (
            json!({"allowed_routes": "management_routes"}),
            "manages nothing",
        ),
        (
            json!({"allowed_cidrs": "10.0.0.0/33"}),
            "allowed_cidrs must hold",
        ),
    ] {
        expect_refused(&mount, &data, expected).await;
    }
}

async fn expect_refused(mount: &Mount, data: &Value, expected: &str) {
    let text = mount.refused("roles/a", data.clone()).await;
    assert!(text.contains(expected), "{data}: {text}");
    assert!(mount.read("roles/a").await.unwrap().is_none(), "{data}");
}

#[tokio::test]
async fn bad_objects_are_refused_by_name() {
    let mount = Mount::new();
    let mut deep = json!(1);
    for _ in 0..20 {
        deep = json!([deep]);
    }
    for (data, expected) in [
        (
            json!({"metadata": {"a": "x".repeat(20_000)}}),
            "metadata must be at most",
        ),
        (json!({"metadata": {"a": deep}}), "levels deep"),
        (json!({"metadata": {"a": "line\nbreak"}}), "control"),
        (json!({"metadata": {"": 1}}), "empty name"),
        (json!({"metadata": "team=red"}), "metadata"),
        (json!({"key_request": "{not json"}), "key_request"),
        (json!({"key_request": {"duration": "9d"}}), "write ttl"),
        (
            json!({"key_request": {"scopes": ["keys.write"]}}),
            "must not set scopes",
        ),
        (json!({"key_request": {"user_id": "u"}}), "user_id_template"),
        (json!({"key_request": {"max_budget": 0}}), "more than 0"),
        (
            json!({"key_request": {"max_budget": -1}}),
            "key_request.max_budget must be",
        ),
        (
            json!({"key_request": {"max_budget": "1"}}),
            "key_request.max_budget",
        ),
        (
            json!({"key_request": {"rpm_limit": -1}}),
            "key_request.rpm_limit",
        ),
        (
            json!({"key_request": {"metadata": {"vault_role": "x"}}}),
            "key_request.metadata",
        ),
        (
            json!({"key_request": {"allowed_routes": ["/*"]}}),
            "manages nothing",
        ),
        (
            json!({"key_alias_prefix": "x".repeat(65)}),
            "key_alias_prefix",
        ),
    ] {
        expect_refused(&mount, &data, expected).await;
    }
}

#[test]
fn budgets_are_finite_and_bounded() {
    for good in [0.0, 1e-9, 0.5, 1e9] {
        assert!(super::check::budget("b", good).is_ok(), "{good}");
    }
    for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY, -1.0, 1e-10, 1e10] {
        assert!(super::check::budget("b", bad).is_err(), "{bad}");
    }
}
