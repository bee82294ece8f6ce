//! `/key/{key}/reset_spend`: less spent than the calls have cost.

use serde_json::json;

use super::{Gateway, MASTER, on_both, text};

on_both![
    spend_is_reset_and_the_books_stay_right,
    spend_of_a_budget_with_windows_is_reset_in_its_window,
];

async fn spend_is_reset_and_the_books_stay_right() {
    let gateway = Gateway::start().await;
    let made = gateway
        .post("/key/generate", &json!({"max_budget": 0.0001}))
        .await;
    let (key, hash) = (text(&made, "key"), text(&made, "token"));
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5});
    let mut calls = 0;
    while gateway
        .data_post(&key, "/chat/completions", &chat)
        .await
        .status
        == 200
    {
        calls += 1;
        assert!(calls < 10_000);
    }
    assert!(calls > 0);
    let spent = gateway.try_key(&key).await.body["info"]["spend"].clone();
    let path = format!("/key/{hash}/reset_spend");
    for (body, status) in [
        (json!({"reset_to": true}), 422),
        (json!({"reset_to": "x"}), 422),
        (json!({"reset_to": null}), 422),
        (json!({"reset_to": -1}), 400),
        (json!({"reset_to": 50}), 400),
        (json!({}), 422),
    ] {
        let refused = gateway.post(&path, &body).await;
        assert_eq!(refused.status, status, "{body}");
        let told = refused.body.to_string();
        assert!(told.contains("reset_to"), "{body}: {told}");
        assert!(!told.contains("max_budget"), "{body}: {told}");
    }
    let reset = gateway.post(&path, &json!({"reset_to": 0})).await;
    assert_eq!(reset.status, 200, "{}", reset.body);
    assert_eq!(reset.body["previous_spend"], spent);
    assert_eq!(reset.body["spend"], json!(0.0));
    let info = gateway.try_key(&key).await;
    assert_eq!(info.body["info"]["spend"], json!(0.0));
    // As many calls as before, no more.
    for at in 0..=calls {
        let status = gateway
            .data_post(&key, "/chat/completions", &chat)
            .await
            .status;
        assert_eq!(status == 200, at < calls, "call {at} of {calls}");
    }
    assert_eq!(gateway.try_key(&key).await.body["info"]["spend"], spent);
    gateway.state.ledger.drain().await;
    let verified = crate::store::ledger::verify::verify(&gateway.state.store).await;
    assert!(verified.unwrap().differences.is_empty());
    let absent = format!("/key/{}/reset_spend", super::ABSENT);
    assert_eq!(
        gateway.post(&absent, &json!({"reset_to": 0})).await.status,
        404
    );
    assert_eq!(gateway.admin_get(MASTER, &path).await.status, 405);
}

async fn spend_of_a_budget_with_windows_is_reset_in_its_window() {
    let gateway = Gateway::start().await;
    let wanted = json!({"max_budget": 0.0001, "budget_duration": "1d"});
    let made = gateway.post("/key/generate", &wanted).await;
    let (key, path) = (
        text(&made, "key"),
        format!("/key/{}/reset_spend", text(&made, "token")),
    );
    let early = gateway.post(&path, &json!({"reset_to": 0})).await;
    assert_eq!(early.status, 200, "{}", early.body);
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5});
    let mut status = 200;
    while status == 200 {
        let answer = gateway.data_post(&key, "/chat/completions", &chat).await;
        status = answer.status.as_u16();
    }
    let reset = gateway.post(&path, &json!({"reset_to": 0})).await;
    assert_eq!(reset.status, 200, "{}", reset.body);
    assert_eq!(
        reset.body["budget_reset_at"],
        "2027-03-02T00:00:00.000000+00:00"
    );
    assert_eq!(
        gateway.try_key(&key).await.body["info"]["spend"],
        json!(0.0)
    );
    let again = gateway.data_post(&key, "/chat/completions", &chat).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let trail = gateway
        .admin_get(MASTER, "/audit?action=key.reset_spend")
        .await;
    assert_eq!(trail.status, 200, "{}", trail.body);
    gateway.state.ledger.drain().await;
    let verified = crate::store::ledger::verify::verify(&gateway.state.store).await;
    assert!(verified.unwrap().differences.is_empty());
}
