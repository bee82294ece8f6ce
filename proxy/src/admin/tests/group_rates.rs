//! Rates of one model that the keys of a team, or of a user, have together.

use serde_json::json;

use super::{
    Gateway,
    groups::{calls, key, made},
    on_both,
};

on_both![keys_of_a_group_share_its_rates_of_a_model];

async fn keys_of_a_group_share_its_rates_of_a_model() {
    for kind in ["team", "user"] {
        let (id, update) = (format!("{kind}_id"), format!("/{kind}/update"));
        let gateway = Gateway::start().await;
        let group = json!({
            id.as_str(): "g", "model_rpm_limit": {"other": 0}, "metadata": {"a": 1, "model_tpm_limit": {"other": 0}},
        });
        made(&gateway, &format!("/{kind}/new"), group).await;
        let (own, first) = (
            json!({"model_rpm_limit": {"demo": 9}}),
            json!({id.as_str(): "g"}),
        );
        let mut second = first.clone();
        second["model_rpm_limit"] = own["model_rpm_limit"].clone();
        let (first, second) = (key(&gateway, first).await, key(&gateway, second).await);
        calls(&gateway, &first, 200, "of another model").await;
        let row = made(
            &gateway,
            &update,
            json!({id.as_str(): "g", "model_rpm_limit": {"demo": 3}}),
        )
        .await;
        let expected =
            json!({"a": 1, "model_rpm_limit": {"demo": 3}, "model_tpm_limit": {"other": 0}});
        assert_eq!(row.body["data"]["metadata"], expected);
        for key in [&first, &second, &first] {
            calls(&gateway, key, 200, "within the limit").await;
        }
        for key in [&second, &first] {
            let refused = calls(&gateway, key, 429, "over the limit of both").await;
            let message = refused.body["error"]["message"].as_str().unwrap();
            let named =
                format!("Rate limit exceeded for model_per_{kind}: g:demo. Limit type: requests");
            assert!(message.starts_with(&named), "{message}");
        }
        for (value, status) in [(json!({"demo": 0}), 429), (json!({}), 200)] {
            made(
                &gateway,
                &update,
                json!({id.as_str(): "g", "model_rpm_limit": value}),
            )
            .await;
            calls(&gateway, &first, status, &format!("{value}")).await;
        }
    }
}
