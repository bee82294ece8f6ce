//! Named budgets, teams and users: made through the key API and felt by calls.

use serde_json::{Value, json};

use super::{Answer, Gateway, MASTER, on_both, text};

on_both![
    a_team_that_is_blocked_stops_all_its_keys,
    the_models_of_a_team_bind_its_keys_and_those_of_a_user_his_own,
    keys_of_a_team_spend_its_budget_together,
    keys_of_a_team_and_those_of_a_user_have_its_rates_together,
    a_key_takes_from_its_budget_what_it_does_not_set,
    a_budget_that_keys_name_cannot_go_and_an_unknown_one_cannot_be_named,
    a_team_or_user_goes_with_its_keys,
    a_user_is_made_with_a_key_or_without,
];

/// What was made, which must be.
pub(super) async fn made(gateway: &Gateway, path: &str, body: Value) -> Answer {
    let answer = gateway.post(path, &body).await;
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    answer
}

pub(super) async fn key(gateway: &Gateway, body: Value) -> String {
    text(&made(gateway, "/key/generate", body).await, "key")
}

async fn call(gateway: &Gateway, key: &str) -> Answer {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    gateway.data_post(key, "/v1/chat/completions", &body).await
}

pub(super) async fn calls(gateway: &Gateway, key: &str, status: u16, why: &str) -> Answer {
    let answer = call(gateway, key).await;
    assert_eq!(answer.status, status, "{why}: {}", answer.body);
    answer
}

pub(super) async fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.admin_get(MASTER, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

async fn a_team_that_is_blocked_stops_all_its_keys() {
    let gateway = Gateway::start().await;
    // It named the team before there was one.
    let early = key(&gateway, json!({"team_id": "t"})).await;
    calls(&gateway, &early, 200, "a label").await;
    made(&gateway, "/team/new", json!({"team_id": "t"})).await;
    let late = key(&gateway, json!({"team_id": "t"})).await;
    let other = key(&gateway, json!({"team_id": "u"})).await;
    for (path, status) in [
        ("/team/block", 401),
        ("/team/block", 401),
        ("/team/unblock", 200),
    ] {
        let row = made(&gateway, path, json!({"team_id": "t"})).await;
        assert_eq!(row.body["blocked"], json!(status == 401));
        for key in [&early, &late] {
            let answer = calls(&gateway, key, status, path).await;
            assert_eq!(gateway.try_key(key).await.status, status, "{path}");
            if status == 401 {
                let message = answer.body["error"]["message"].as_str().unwrap();
                assert!(message.contains("Team is blocked"), "{message}");
            }
        }
        calls(&gateway, &other, 200, "of another team").await;
    }
    let body = json!({"team_id": "t", "blocked": true});
    made(&gateway, "/team/update", body).await;
    calls(&gateway, &late, 401, "/team/update").await;
    let admin = json!({"team_id": "t", "scopes": ["keys.read", "keys.write"]});
    let admin = key(&gateway, admin).await;
    let body = json!({"team_id": "t"});
    let refused = gateway.post_as(&admin, "/team/unblock", &body).await;
    assert_eq!(
        refused.status, 401,
        "an admin key of the team is blocked too"
    );
    let info = get(&gateway, &format!("/key/info?key={late}")).await;
    assert_eq!(info["info"]["last_refusal"]["reason"], "team_blocked");
}

async fn the_models_of_a_team_bind_its_keys_and_those_of_a_user_his_own() {
    let gateway = Gateway::start().await;
    let narrow = json!({"team_id": "narrow", "models": ["other"]});
    made(&gateway, "/team/new", narrow).await;
    made(&gateway, "/team/new", json!({"team_id": "wide"})).await;
    let user = json!({"user_id": "u", "models": ["other"], "auto_create_key": false});
    made(&gateway, "/user/new", user).await;
    for (fields, refused_as) in [
        (
            json!({"team_id": "narrow"}),
            Some("team_model_access_denied"),
        ),
        (
            json!({"team_id": "narrow", "models": ["all-team-models"]}),
            Some("team_model_access_denied"),
        ),
        (
            json!({"team_id": "narrow", "models": ["other"]}),
            Some("key_model_access_denied"),
        ),
        (json!({"team_id": "wide"}), None),
        (json!({"user_id": "u"}), Some("user_model_access_denied")),
        // LiteLLM: what is a user's does not bind his keys of a team.
        (json!({"user_id": "u", "team_id": "wide"}), None),
        (
            json!({"user_id": "u", "team_id": "a label"}),
            Some("user_model_access_denied"),
        ),
    ] {
        let key = key(&gateway, fields.clone()).await;
        let why = fields.to_string();
        let answer = match refused_as {
            Some(_) => calls(&gateway, &key, 403, &why).await,
            None => calls(&gateway, &key, 200, &why).await,
        };
        let kind = answer.body["error"]["type"].as_str();
        assert_eq!(kind, refused_as, "{why}");
        let models = gateway.data_get(&key, "/v1/models").await.body["data"].to_string();
        assert_eq!(models.contains("demo"), refused_as.is_none(), "{why}");
    }
    let key = key(&gateway, json!({"team_id": "narrow"})).await;
    let body = json!({"team_id": "narrow", "models": ["de*"]});
    made(&gateway, "/team/update", body).await;
    calls(&gateway, &key, 200, "the models of the update").await;
}

async fn keys_of_a_team_spend_its_budget_together() {
    let gateway = Gateway::start().await;
    made(&gateway, "/team/new", json!({"team_id": "t"})).await;
    let (first, second) = (
        key(&gateway, json!({"team_id": "t"})).await,
        key(&gateway, json!({"team_id": "t", "max_budget": 5})).await,
    );
    calls(&gateway, &first, 200, "no budget yet").await;
    let spent = get(&gateway, "/team/info?team_id=t").await["team_info"]["spend"].clone();
    assert!(spent.as_f64().unwrap() > 0.0);
    for (budget, status) in [
        (spent.clone(), 422),
        (json!(1), 200),
        (json!(0), 422),
        (json!(null), 200),
    ] {
        let body = json!({"team_id": "t", "max_budget": budget});
        made(&gateway, "/team/update", body).await;
        for key in [&first, &second] {
            let answer = calls(&gateway, key, status, &budget.to_string()).await;
            if status == 422 {
                let message = answer.body["error"]["message"].as_str().unwrap();
                assert!(message.contains("Team=t"), "{message}");
            }
        }
    }
    // Windows count from zero.
    let body = json!({"team_id": "t", "max_budget": 1, "budget_duration": "30d"});
    let updated = made(&gateway, "/team/update", body).await;
    assert_eq!(updated.body["data"]["budget_duration"], "30d");
    assert_eq!(updated.body["data"]["spend"], 0.0);
    calls(&gateway, &first, 200, "in the window").await;
    let shown = get(&gateway, "/team/list").await;
    let spend = shown[0]["spend"].as_f64().unwrap();
    assert!(spend > 0.0 && spend < 1.0, "{shown}");
    // Nobody changes it in passing.
    let budgets = json!([{"scope": "team", "id": "t", "max_budget": 9}]);
    let refused = gateway
        .post("/key/generate", &json!({"shared_budgets": budgets}))
        .await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let same = json!([{"scope": "team", "id": "t", "max_budget": 1, "budget_duration": "30d"}]);
    let twice = json!({"team_id": "t", "shared_budgets": same});
    calls(&gateway, &key(&gateway, twice).await, 200, "held once").await;
}

async fn keys_of_a_team_and_those_of_a_user_have_its_rates_together() {
    for (kind, id) in [("team", "team_id"), ("user", "user_id")] {
        let gateway = Gateway::start().await;
        let (made_by, update) = (format!("/{kind}/new"), format!("/{kind}/update"));
        // Made before the limit, and one of them before the group.
        let first = key(&gateway, json!({id: "g"})).await;
        let body = match kind {
            "user" => json!({id: "g", "auto_create_key": false}),
            _ => json!({id: "g"}),
        };
        made(&gateway, &made_by, body).await;
        let second = json!({id: "g", "rpm_limit": 50, "max_parallel_requests": 1});
        let second = key(&gateway, second).await;
        let other = key(&gateway, json!({id: "another"})).await;
        calls(&gateway, &first, 200, "no limit yet").await;
        let row = made(&gateway, &update, json!({id: "g", "rpm_limit": 3})).await;
        assert_eq!(row.body["data"]["rpm_limit"], 3);
        for key in [&first, &second, &first] {
            calls(&gateway, key, 200, "within the limit").await;
        }
        for key in [&second, &first] {
            let refused = calls(&gateway, key, 429, "over the limit of both").await;
            let message = refused.body["error"]["message"].as_str().unwrap();
            let named = format!("Rate limit exceeded for {kind}: g. Limit type: requests");
            assert!(message.starts_with(&named), "{message}");
        }
        calls(&gateway, &other, 200, "of another").await;
        // Other limits of it, each from the answer on.
        for (limit, value, status) in [
            ("rpm_limit", json!(null), 200),
            ("tpm_limit", json!(1), 429),
            ("tpm_limit", json!(null), 200),
            ("max_parallel_requests", json!(0), 429),
            ("max_parallel_requests", json!(1), 200),
        ] {
            made(&gateway, &update, json!({id: "g", limit: value})).await;
            for key in [&first, &second] {
                calls(&gateway, key, status, &format!("{limit} {value}")).await;
            }
        }
    }
    // LiteLLM: a user's rates count his keys of a team too.
    let gateway = Gateway::start().await;
    made(
        &gateway,
        "/team/new",
        json!({"team_id": "t", "rpm_limit": 9}),
    )
    .await;
    let user = json!({"user_id": "u", "rpm_limit": 1, "auto_create_key": false});
    made(&gateway, "/user/new", user).await;
    let both = key(&gateway, json!({"team_id": "t", "user_id": "u"})).await;
    calls(&gateway, &both, 200, "the user's only one").await;
    let refused = calls(&gateway, &both, 429, "over the user's").await;
    assert!(refused.body.to_string().contains("for user: u"));
    let member = key(&gateway, json!({"team_id": "t"})).await;
    for _ in 0..8 {
        calls(&gateway, &member, 200, "the refused call took nothing").await;
    }
    calls(&gateway, &member, 429, "over the team's").await;
}

async fn a_key_takes_from_its_budget_what_it_does_not_set() {
    let gateway = Gateway::start().await;
    let budget = json!({"budget_id": "b", "max_budget": 0, "rpm_limit": 2, "soft_budget": 0});
    made(&gateway, "/budget/new", budget).await;
    let bound = key(&gateway, json!({"budget_id": "b"})).await;
    let own = json!({"budget_id": "b", "max_budget": 5, "rpm_limit": 3});
    let own = key(&gateway, own).await;
    calls(&gateway, &bound, 422, "the cap of its budget").await;
    for _ in 0..3 {
        calls(&gateway, &own, 200, "its own cap").await;
    }
    calls(&gateway, &own, 429, "its own rate").await;
    let info = get(&gateway, &format!("/key/info?key={bound}")).await;
    assert_eq!(info["info"]["max_budget"], Value::Null);
    assert_eq!(info["info"]["budget_id"], "b");
    assert_eq!(info["info"]["litellm_budget_table"]["rpm_limit"], 2);
    let update = json!({"budget_id": "b", "max_budget": 1, "budget_duration": "1d"});
    made(&gateway, "/budget/update", update).await;
    for _ in 0..2 {
        calls(&gateway, &bound, 200, "the new cap").await;
    }
    calls(&gateway, &bound, 429, "the rate of its budget").await;
    let info = get(&gateway, &format!("/key/info?key={bound}")).await;
    assert_eq!(
        info["info"]["budget_reset_at"],
        "2027-03-02T00:00:00.000000+00:00"
    );
    assert!(info["info"]["spend"].as_f64().unwrap() > 0.0);
    let list = get(&gateway, "/key/list?return_full_object=true").await;
    assert!(list.to_string().contains("\"budget_id\":\"b\""));
    // A cap of its own goes with a duration of its own, also with none.
    let update = json!({"key": bound, "max_budget": 0});
    made(&gateway, "/key/update", update).await;
    calls(&gateway, &bound, 429, "rates come first").await;
    let update = json!({"key": bound, "budget_id": null, "max_budget": null});
    made(&gateway, "/key/update", update).await;
    calls(&gateway, &bound, 200, "without any budget").await;
}

async fn a_budget_that_keys_name_cannot_go_and_an_unknown_one_cannot_be_named() {
    let gateway = Gateway::start().await;
    made(
        &gateway,
        "/budget/new",
        json!({"budget_id": "b", "max_budget": 1}),
    )
    .await;
    let key = key(&gateway, json!({"budget_id": "b"})).await;
    let again = gateway
        .post("/budget/new", &json!({"budget_id": "b"}))
        .await;
    assert_eq!(again.status, 400, "{}", again.body);
    for (path, body, status) in [
        ("/budget/delete", json!({"id": "b"}), 400),
        ("/budget/delete", json!({"id": "absent"}), 404),
        ("/budget/delete", json!({}), 422),
        ("/budget/update", json!({"budget_id": "absent"}), 404),
        ("/budget/update", json!({"max_budget": 1}), 422),
        ("/budget/info", json!({"budgets": []}), 400),
        ("/key/generate", json!({"budget_id": "absent"}), 400),
        (
            "/key/update",
            json!({"key": key, "budget_id": "absent"}),
            400,
        ),
    ] {
        let answer = gateway.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
    }
    let asked = json!({"budgets": ["b", "absent"]});
    let told = made(&gateway, "/budget/info", asked).await;
    assert_eq!(told.body.as_array().unwrap().len(), 1);
    assert_eq!(told.body[0]["max_budget"], 1.0);
    let update = json!({"key": key, "budget_id": null});
    made(&gateway, "/key/update", update).await;
    made(&gateway, "/budget/delete", json!({"id": "b"})).await;
    assert_eq!(get(&gateway, "/budget/list").await, json!([]));
}

async fn a_team_or_user_goes_with_its_keys() {
    let gateway = Gateway::start().await;
    made(&gateway, "/team/new", json!({"team_id": "t"})).await;
    let user = made(&gateway, "/user/new", json!({"user_id": "u"})).await;
    let of_user = text(&user, "key");
    let of_team = key(&gateway, json!({"team_id": "t"})).await;
    let other = key(&gateway, json!({})).await;
    for (path, body, status) in [
        ("/team/delete", json!({"team_ids": ["t", "absent"]}), 404),
        ("/team/delete", json!({"team_ids": []}), 400),
        ("/team/delete", json!({}), 400),
        ("/user/delete", json!({"user_ids": ["absent"]}), 404),
        ("/team/block", json!({"team_id": "absent"}), 404),
        ("/team/update", json!({"team_id": "absent"}), 404),
        ("/team/new", json!({"team_id": "t"}), 400),
        ("/user/new", json!({"user_id": "u"}), 409),
    ] {
        let answer = gateway.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
    }
    for key in [&of_user, &of_team, &other] {
        assert_eq!(gateway.try_key(key).await.status, 200);
    }
    let gone = made(&gateway, "/team/delete", json!({"team_ids": ["t", "t"]})).await;
    assert_eq!(gone.body["deleted_teams"], json!(["t"]));
    let gone = made(&gateway, "/user/delete", json!({"user_ids": ["u"]})).await;
    assert_eq!(gone.body, json!(1));
    for (key, status) in [(&of_user, 401), (&of_team, 401), (&other, 200)] {
        assert_eq!(gateway.try_key(key).await.status, status);
    }
    for path in ["/team/info?team_id=t", "/user/info?user_id=u"] {
        assert_eq!(gateway.admin_get(MASTER, path).await.status, 404, "{path}");
    }
    let path = "/team/info";
    assert_eq!(gateway.admin_get(MASTER, path).await.status, 400);
}

async fn a_user_is_made_with_a_key_or_without() {
    let gateway = Gateway::start().await;
    let body = json!({
        "user_id": "u", "user_email": "u@example.org", "user_alias": "U", "max_budget": 0,
        "key_alias": "first", "duration": "1h", "user_role": "internal_user", "teams": ["t"],
    });
    let user = made(&gateway, "/user/new", body).await;
    assert_eq!(user.ignored, "teams,user_role");
    assert_eq!(user.body["user_email"], "u@example.org");
    assert_eq!(user.body["key_alias"], "first");
    assert_eq!(user.body["max_budget"], 0.0);
    assert_eq!(user.body["expires"], "2027-03-01T13:00:00.000000Z");
    let key = text(&user, "key");
    let refused = calls(&gateway, &key, 422, "the user's budget").await;
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("User=u"), "{message}");
    let info = get(&gateway, "/user/info?user_id=u").await;
    assert_eq!(info["user_info"]["user_alias"], "U");
    assert_eq!(info["keys"][0]["key_alias"], "first");
    let body = json!({"user_id": "u", "max_budget": 1});
    made(&gateway, "/user/update", body).await;
    calls(&gateway, &key, 200, "the user's new budget").await;
    // Neither the user nor the key is there where one of them cannot be.
    let body = json!({"user_id": "v", "key_alias": "first"});
    assert_eq!(gateway.post("/user/new", &body).await.status, 400);
    let body = json!({"user_id": "v", "auto_create_key": false});
    let user = made(&gateway, "/user/new", body).await;
    assert_eq!(user.body["key"], "");
    let list = get(&gateway, "/user/list?page_size=1").await;
    assert_eq!(
        (&list["total"], &list["total_pages"]),
        (&json!(2), &json!(2))
    );
    let named = made(&gateway, "/user/new", json!({})).await;
    assert_eq!(text(&named, "user_id").len(), 36);
    let keys = get(&gateway, "/key/list").await;
    assert_eq!(keys["total_count"], 2);
}
