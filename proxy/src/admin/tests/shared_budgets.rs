//! Budgets that keys share, defined through the key API and felt by calls.

use serde_json::{Value, json};

use super::{Answer, Gateway, MASTER, on_both, text};

const ROLE: &str = "auth_llm_1/app";

async fn generate(gateway: &Gateway, max_budget: Value) -> (String, String) {
    let budgets = json!([{"scope": "role", "id": ROLE, "max_budget": max_budget}]);
    let made = gateway
        .post("/key/generate", &json!({"shared_budgets": budgets}))
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    (text(&made, "key"), text(&made, "token"))
}

async fn call(gateway: &Gateway, key: &str) -> Answer {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    gateway.data_post(key, "/v1/chat/completions", &body).await
}

async fn shared(gateway: &Gateway, key: &str) -> Value {
    let info = gateway
        .admin_get(MASTER, &format!("/key/info?key={key}"))
        .await;
    info.body["info"]["shared_budgets"].clone()
}

on_both![
    what_is_no_shared_budget_is_refused_and_changes_nothing,
    a_key_shares_few_budgets_and_each_once,
    the_last_definition_holds_at_once_for_every_key_that_shares_it,
    an_update_leaves_shared_budgets_or_replaces_the_list,
    issuing_again_resets_nothing,
    a_budget_with_a_duration_says_when_it_counts_from_zero_again,
];

async fn what_is_no_shared_budget_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let one = |scope: &str, id: &str| json!({"scope": scope, "id": id, "max_budget": 1});
    let with = |field: &str, value: Value| {
        let mut entry = one("role", "r");
        entry[field] = value;
        json!([entry])
    };
    for (budgets, status, named) in [
        (json!({}), 422, "list"),
        (json!("role"), 422, "list"),
        (json!([1]), 400, "object"),
        (
            json!([{"id": "r", "max_budget": 1}]),
            400,
            "scope must be one of role, entity, team, user",
        ),
        (with("scope", json!("key")), 400, "scope must be one of"),
        (with("scope", json!(null)), 400, "scope must be one of"),
        (with("id", json!("")), 400, "id must be"),
        (with("id", json!(7)), 400, "id must be"),
        (with("id", json!("a\u{7}b")), 400, "id must be"),
        (with("id", json!("é".repeat(256))), 400, "id must be"),
        (with("id", json!("é".repeat(255))), 200, ""),
        (
            json!([{"scope": "role", "id": "r"}]),
            400,
            "max_budget is missing",
        ),
        (
            with("max_budget", json!(null)),
            400,
            "max_budget is missing",
        ),
        (with("max_budget", json!(-1)), 400, "max_budget"),
        (with("max_budget", json!("NaN")), 400, "max_budget"),
        (with("max_budget", json!("inf")), 400, "max_budget"),
        (with("max_budget", json!([])), 422, "number"),
        (
            with("budget_duration", json!("1y")),
            400,
            "budget_duration must be",
        ),
        (with("budget_duration", json!("0d")), 400, "as in 30d"),
        (with("budget_duration", json!(30)), 400, "as in 30d"),
        (with("budget_duration", json!("30d")), 200, ""),
        (with("budget_duration", json!(null)), 200, ""),
        (with("rpm_limit", json!(1)), 400, "rpm_limit"),
    ] {
        refused_or_made(&gateway, &budgets, status, named).await;
    }
}

async fn a_key_shares_few_budgets_and_each_once() {
    let gateway = Gateway::start().await;
    let one = |scope: &str, id: &str| json!({"scope": scope, "id": id, "max_budget": 1});
    let many = |count: usize| {
        let entries = (0..count).map(|at| one("role", &at.to_string()));
        Value::Array(entries.collect())
    };
    for (budgets, status, named) in [
        (json!([one("role", "r"), one("role", "r")]), 400, "once"),
        (json!([one("role", "r"), one("team", "r")]), 200, ""),
        (many(8), 200, ""),
        (many(9), 400, "at most 8"),
    ] {
        refused_or_made(&gateway, &budgets, status, named).await;
    }
}

async fn refused_or_made(gateway: &Gateway, budgets: &Value, status: u16, named: &str) {
    let before = gateway.admin_get(MASTER, "/key/list").await;
    let body = json!({"shared_budgets": budgets});
    let answer = gateway.post("/key/generate", &body).await;
    assert_eq!(answer.status.as_u16(), status, "{budgets}: {}", answer.body);
    let text = answer.body.to_string();
    assert!(text.contains(named), "{budgets}: {text}");
    let after = gateway.admin_get(MASTER, "/key/list").await;
    let count = |list: &Answer| list.body["total_count"].as_u64().unwrap();
    let made = u64::from(status == 200);
    assert_eq!(count(&after), count(&before) + made, "{budgets}");
}

async fn the_last_definition_holds_at_once_for_every_key_that_shares_it() {
    let gateway = Gateway::start().await;
    let (first, first_hash) = generate(&gateway, json!(1)).await;
    assert_eq!(call(&gateway, &first).await.status, 200);
    let spent = shared(&gateway, &first).await[0]["spend"].as_f64().unwrap();
    assert!(spent > 0.0);
    let (second, _) = generate(&gateway, json!(0)).await;
    for key in [&first, &second] {
        let refused = call(&gateway, key).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert_eq!(refused.body["error"]["type"], "budget_exceeded");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("Role={ROLE} ")), "{message}");
        assert!(message.contains("Max budget: 0.0;"), "{message}");
        assert!(
            message.contains(&format!("Current cost: {spent},")),
            "{message}"
        );
    }
    let raised = json!({
        "key": first_hash,
        "shared_budgets": [{"scope": "role", "id": ROLE, "max_budget": "2.5"}],
    });
    let updated = gateway.post("/key/update", &raised).await;
    let expected = json!([{
        "scope": "role", "id": ROLE, "max_budget": 2.5, "budget_duration": null,
        "budget_reset_at": null, "spend": spent,
    }]);
    assert_eq!(updated.body["shared_budgets"], expected);
    assert_eq!(
        shared(&gateway, &second).await,
        expected,
        "whoever defined it"
    );
    for key in [&first, &second] {
        assert_eq!(call(&gateway, key).await.status, 200);
    }
}

async fn an_update_leaves_shared_budgets_or_replaces_the_list() {
    let gateway = Gateway::start().await;
    let (key, hash) = generate(&gateway, json!(0)).await;
    let entity = json!([{"scope": "entity", "id": "e", "max_budget": 1}]);
    for (sent, scopes, status) in [
        (json!({"key": hash, "max_budget": 5}), vec!["role"], 422),
        (
            json!({"key": hash, "shared_budgets": null}),
            vec!["role"],
            422,
        ),
        (
            json!({"key": hash, "shared_budgets": entity}),
            vec!["entity"],
            200,
        ),
        (json!({"key": hash, "shared_budgets": []}), vec![], 200),
    ] {
        let updated = gateway.post("/key/update", &sent).await;
        assert_eq!(updated.status, 200, "{sent}: {}", updated.body);
        let budgets = updated.body["shared_budgets"].as_array().unwrap();
        let found: Vec<&str> = budgets
            .iter()
            .map(|one| one["scope"].as_str().unwrap())
            .collect();
        assert_eq!(found, scopes, "{sent}");
        assert_eq!(call(&gateway, &key).await.status.as_u16(), status, "{sent}");
    }
    let list = "/key/list?return_full_object=true&key_hash=";
    let listed = gateway.admin_get(MASTER, &format!("{list}{hash}")).await;
    assert_eq!(listed.body["keys"][0]["shared_budgets"], json!([]));
}

async fn issuing_again_resets_nothing() {
    let gateway = Gateway::start().await;
    let (key, hash) = generate(&gateway, json!(1)).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    let spent = shared(&gateway, &key).await[0]["spend"].clone();
    let deleted = gateway.post("/key/delete", &json!({"keys": [hash]})).await;
    assert_eq!(deleted.status, 200);
    let (next, _) = generate(&gateway, json!(1)).await;
    assert_eq!(shared(&gateway, &next).await[0]["spend"], spent);
    // Its own account is new.
    let info = gateway
        .admin_get(MASTER, &format!("/key/info?key={next}"))
        .await;
    assert_eq!(info.body["info"]["spend"], 0.0);
}

async fn a_budget_with_a_duration_says_when_it_counts_from_zero_again() {
    let gateway = Gateway::start().await;
    let budgets = |max_budget: f64, duration: &str| {
        json!([{
            "scope": "role", "id": ROLE, "max_budget": max_budget, "budget_duration": duration,
        }])
    };
    let of_a_day = json!({"shared_budgets": budgets(1.0, "1d")});
    let made = gateway.post("/key/generate", &of_a_day).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let mut expected = json!({
        "scope": "role", "id": ROLE, "max_budget": 1.0, "budget_duration": "1d",
        "budget_reset_at": "2027-03-02T00:00:00.000000+00:00",
    });
    assert_eq!(made.body["shared_budgets"], json!([expected]));
    let (key, hash) = (text(&made, "key"), text(&made, "token"));
    expected["spend"] = json!(0.0);
    assert_eq!(
        shared(&gateway, &key).await,
        json!([expected]),
        "nobody called"
    );
    assert_eq!(call(&gateway, &key).await.status, 200);
    let spent = shared(&gateway, &key).await[0]["spend"].as_f64().unwrap();
    assert!(spent > 0.0);

    let lowered = json!({"key": hash, "shared_budgets": budgets(0.0, "1d")});
    let updated = gateway.post("/key/update", &lowered).await;
    assert_eq!(updated.body["shared_budgets"][0]["spend"], spent);
    let refused = call(&gateway, &key).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("Role={ROLE} ")), "{message}");
    assert!(
        message.ends_with("the budget counts from zero again at 2027-03-02T00:00:00Z"),
        "{message}"
    );

    let raised = json!({"key": hash, "shared_budgets": budgets(1.0, "1d")});
    assert_eq!(gateway.post("/key/update", &raised).await.status, 200);
    gateway.clock.advance(chrono::Duration::hours(12));
    let (mut next, before) = (expected.clone(), spent);
    next["budget_reset_at"] = json!("2027-03-03T00:00:00.000000+00:00");
    assert_eq!(shared(&gateway, &key).await, json!([next]), "a new window");
    assert_eq!(call(&gateway, &key).await.status, 200);
    next["spend"] = json!(before);
    assert_eq!(shared(&gateway, &key).await, json!([next]), "the same call");
    let info = gateway.try_key(&key).await;
    assert_eq!(info.body["info"]["spend"], 2.0 * spent, "of the key itself");
}
