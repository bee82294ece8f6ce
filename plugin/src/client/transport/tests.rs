//! One call, as the engine makes it and as a gateway may answer it.

use serde_json::{Value, json};

use super::*;
use crate::testing::Gateway;

fn transport(fields: &Value) -> Transport {
    let mut entry = json!({"master_key": "sk-canary"});
    entry
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    Transport::new(&serde_json::from_value(entry).unwrap()).unwrap()
}

#[tokio::test]
async fn ignored_fields_are_handed_on_and_only_names_are() {
    let gateway = Gateway::start().await;
    let transport = transport(&json!({"base_url": gateway.url}));
    for (header, expected) in [
        ("", vec![]),
        ("guardrails, tags", vec!["guardrails", "tags"]),
        ("a b,\"x\",metadata.tags,", vec!["metadata.tags"]),
    ] {
        gateway
            .script
            .then_with(200, "{}", &[(IGNORED_HEADER, header)]);
        let answer: Answer<Value> = transport
            .call(Method::POST, "/key/generate", &json!({}))
            .await
            .unwrap();
        assert_eq!(answer.ignored, expected, "{header}");
    }
}
