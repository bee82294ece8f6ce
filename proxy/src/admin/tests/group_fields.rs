//! What budgets, teams and users may not have, and what is told of their changes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Gateway, MASTER,
    groups::{calls, get, key, made},
    on_both,
};

on_both![
    what_no_group_can_have_is_refused_by_name,
    each_change_of_a_group_is_in_the_trail,
    an_unlimited_team_leaves_unpriced_models_open,
    an_update_of_a_group_that_was_changed_meanwhile_is_refused,
];

fn wrong_of_teams() -> Vec<(&'static str, Value, u16, &'static str)> {
    vec![
        ("/team/new", json!({"rpm_limit": -1}), 400, "rpm_limit"),
        ("/team/new", json!({"tpm_limit": "NaN"}), 400, "tpm_limit"),
        (
            "/user/new",
            json!({"max_parallel_requests": 1.5}),
            400,
            "max_parallel_requests",
        ),
        (
            "/team/new",
            json!({"model_max_budget": {"demo": {"max_budget": 1}}}),
            400,
            "model_max_budget",
        ),
        (
            "/team/new",
            json!({"metadata": {"model_rpm_limit": {"a": -1}}}),
            400,
            "model_rpm_limit",
        ),
        (
            "/user/new",
            json!({"model_tpm_limit": {"a": "b"}}),
            422,
            "model_tpm_limit",
        ),
        (
            "/team/new",
            json!({"budget_limits": [{"budget_duration": "1d", "max_budget": 1}]}),
            400,
            "budget_limits",
        ),
        (
            "/team/new",
            json!({"rpm_limit": null, "model_rpm_limit": {}}),
            200,
            "",
        ),
        ("/team/new", json!({"max_budget": -1}), 400, "max_budget"),
        ("/team/new", json!({"max_budget": "NaN"}), 400, "max_budget"),
        ("/team/new", json!({"max_budget": 1e308}), 400, "max_budget"),
        (
            "/team/new",
            json!({"budget_duration": "1y"}),
            400,
            "budget_duration",
        ),
        ("/team/new", json!({"models": "demo"}), 422, "models"),
        ("/team/new", json!({"blocked": 1}), 422, "blocked"),
        ("/team/new", json!({"team_id": 1}), 422, "team_id"),
        ("/team/new", json!({"team_id": "a\u{0}"}), 400, "team_id"),
        (
            "/team/new",
            json!({"team_alias": "a".repeat(256)}),
            400,
            "team_alias",
        ),
        (
            "/team/new",
            json!({"no_such_field": 1}),
            422,
            "no_such_field",
        ),
        ("/team/new", json!({"budget_id": "b"}), 422, "budget_id"),
    ]
}

fn wrong_besides() -> Vec<(&'static str, Value, u16, &'static str)> {
    vec![
        ("/budget/new", json!({"rpm_limit": -1}), 400, "rpm_limit"),
        (
            "/budget/new",
            json!({"soft_budget": -1}),
            400,
            "soft_budget",
        ),
        ("/budget/new", json!({"models": ["demo"]}), 422, "models"),
        (
            "/budget/new",
            json!({"model_max_budget": {"demo": {}}}),
            400,
            "model_max_budget",
        ),
        (
            "/user/new",
            json!({"user_role": "proxy_admin"}),
            400,
            "scopes",
        ),
        ("/user/new", json!({"user_role": "king"}), 422, "user_role"),
        ("/user/new", json!({"password": "x"}), 422, "password"),
        (
            "/user/new",
            json!({"auto_create_key": false, "duration": "1h"}),
            400,
            "duration",
        ),
        (
            "/user/new",
            json!({"auto_create_key": "no"}),
            422,
            "auto_create_key",
        ),
        ("/user/new", json!({"key": "sk-short"}), 400, "key"),
    ]
}

async fn what_no_group_can_have_is_refused_by_name() {
    let gateway = Gateway::start().await;
    for (path, body, status, named) in wrong_of_teams().into_iter().chain(wrong_besides()) {
        let answer = gateway.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(answer.body.to_string().contains(named), "{}", answer.body);
    }
    let body =
        json!({"members_with_roles": [{"user_id": "u"}], "organization_id": "o", "tags": []});
    let team = made(&gateway, "/team/new", body).await;
    assert_eq!(team.ignored, "members_with_roles,organization_id");
    assert_eq!(get(&gateway, "/user/list").await["total"], 0);
}

async fn each_change_of_a_group_is_in_the_trail() {
    let gateway = Gateway::start().await;
    for (path, body) in [
        ("/team/new", json!({"team_id": "t", "max_budget": 1})),
        ("/team/update", json!({"team_id": "t", "max_budget": 2})),
        ("/team/block", json!({"team_id": "t"})),
        ("/team/unblock", json!({"team_id": "t"})),
        ("/team/delete", json!({"team_ids": ["t"]})),
    ] {
        made(&gateway, path, body).await;
    }
    let trail = get(&gateway, "/audit?subject=team%20t").await;
    let rows = trail["data"].as_array().unwrap();
    let actions: Vec<_> = rows
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    let expected = [
        "team.delete",
        "team.unblock",
        "team.block",
        "team.update",
        "team.new",
    ];
    assert_eq!(actions, expected);
    assert_eq!(rows[3]["before"]["max_budget"], 1.0);
    assert_eq!(rows[3]["after"]["max_budget"], 2.0);
    assert_eq!(rows[0]["after"], Value::Null);
}

async fn an_update_of_a_group_that_was_changed_meanwhile_is_refused() {
    let gateway = Gateway::start().await;
    for kind in ["team", "user", "budget"] {
        let id = format!("{kind}_id");
        let new = match kind {
            "user" => json!({"user_id": "g", "auto_create_key": false}),
            _ => json!({&id: "g"}),
        };
        made(&gateway, &format!("/{kind}/new"), new).await;
        let read = async || match kind {
            "budget" => {
                gateway
                    .post("/budget/info", &json!({"budgets": ["g"]}))
                    .await
            }
            _ => {
                let path = format!("/{kind}/info?{id}=g");
                gateway.admin_get(MASTER, &path).await
            }
        };
        let update = async |tag: &str, budget: u64| {
            let body = json!({&id: "g", "max_budget": budget});
            let path = format!("/{kind}/update");
            gateway.post_if(tag, &path, &body).await
        };
        let first = read().await.etag;
        assert!(!first.is_empty(), "{kind}");
        assert_eq!(update(&first, 9).await.status, 200, "{kind}");
        // The clock stands still: each change has a tag of its own all the same.
        let refused = update(&first, 7).await;
        assert_eq!(refused.status, 412, "{kind}");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("/{kind}/info")), "{message}");
        let shown = read().await;
        assert!(
            shown.body.to_string().contains("\"max_budget\":9.0"),
            "{kind}"
        );
        assert_eq!(update(&shown.etag, 7).await.status, 200, "{kind}");
        assert_eq!(update("*", 5).await.status, 200, "{kind}");
    }
    let both = json!({"budgets": ["g", "absent"]});
    assert!(
        !gateway.post("/budget/info", &both).await.etag.is_empty(),
        "of the only one"
    );
}

async fn an_unlimited_team_leaves_unpriced_models_open() {
    let gateway = Gateway::start_with(|config| {
        for deployment in &mut config.models {
            let deployment = Arc::make_mut(deployment);
            deployment.price = None;
            deployment.free = false;
        }
    })
    .await;
    made(&gateway, "/team/new", json!({"team_id": "t"})).await;
    let key = key(&gateway, json!({"team_id": "t"})).await;
    calls(&gateway, &key, 200, "no budget").await;
    made(
        &gateway,
        "/team/update",
        json!({"team_id": "t", "max_budget": 1}),
    )
    .await;
    let refused = calls(&gateway, &key, 403, "its budget is the team's").await;
    assert_eq!(refused.body["error"]["type"], "model_not_priced");
}
