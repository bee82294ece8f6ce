use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Backend, BackendKind, Field, FieldType, HandlerResult, Operation, Path, Request, Response,
    generic_name, testing::RequestBuilder,
};

#[derive(Serialize, Deserialize)]
struct Entry {
    key: String,
    #[serde(default)]
    ttl: u64,
}

struct Stored(Value);

async fn patch(state: Arc<Stored>, request: Request) -> HandlerResult {
    let Value::Object(stored) = state.0.clone() else {
        unreachable!("the tests store objects");
    };
    Ok(Some(Response::data(request.fields.merge_patch(stored))))
}

async fn patch_entry(state: Arc<Stored>, request: Request) -> HandlerResult {
    let stored: Entry = serde_json::from_value(state.0.clone()).unwrap();
    let patched = request.fields.patched(&stored)?;
    let Ok(Value::Object(data)) = serde_json::to_value(patched) else {
        unreachable!("an entry is an object");
    };
    Ok(Some(Response::data(data)))
}

async fn ask(path: &str, stored: Value, body: Value) -> Result<Value, String> {
    let fields = [
        ("key", FieldType::String),
        ("ttl", FieldType::DurationSecond),
        ("models", FieldType::CommaStringSlice),
        ("metadata", FieldType::Map),
        ("tags", FieldType::KVPairs),
        ("until", FieldType::Time),
        ("name", FieldType::String),
    ];
    let declare = |path: Path<Stored>| {
        let fields = fields.into_iter();
        fields.fold(path, |path, (name, kind)| {
            path.field(Field::new(name, kind))
        })
    };
    let name = generic_name("name");
    let backend = Backend::new(BackendKind::Secrets, Stored(stored))
        .path(
            declare(Path::new(format!("map/{name}"))).operation_forwarded(Operation::Patch, patch),
        )
        .path(
            declare(Path::new(format!("entry/{name}")))
                .operation_forwarded(Operation::Patch, patch_entry),
        );
    let Value::Object(body) = body else {
        unreachable!("bodies are objects");
    };
    let request = RequestBuilder::new(Operation::Patch, path).data(body);
    let answer = backend.handle(request.build()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer.unwrap().data.unwrap().into())
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let stored = json!({
        "key": "k", "ttl": 60, "models": ["a"], "kept": true,
        "metadata": { "a": { "b": 1, "c": 2 }, "d": [1, 2] },
    });
    for (body, expected) in [
        (json!({}), json!({})),
        (json!({ "ttl": "2h" }), json!({ "ttl": 7200 })),
        (json!({ "models": "b,c" }), json!({ "models": ["b", "c"] })),
        (json!({ "tags": ["a=1"] }), json!({ "tags": { "a": "1" } })),
        (
            json!({ "until": "2026-01-01T01:00:00+01:00" }),
            json!({ "until": "2026-01-01T00:00:00Z" }),
        ),
        (json!({ "unknown": 1, "name": "other" }), json!({})),
        (
            json!({ "metadata": { "a": { "b": null, "e": 3 }, "d": [3] } }),
            json!({ "metadata": { "a": { "c": 2, "e": 3 }, "d": [3] } }),
        ),
    ] {
        let mut wanted = stored.clone();
        for (name, value) in expected.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        let answer = ask("map/x", stored.clone(), body.clone()).await.unwrap();
        assert_eq!(answer, wanted, "{body}");
    }
}

#[tokio::test]
async fn null_removes_and_a_default_does_not_come_back() {
    let stored = json!({ "key": "k", "ttl": 60 });
    let answer = ask("map/x", stored, json!({ "ttl": null })).await.unwrap();
    assert_eq!(answer, json!({ "key": "k" }));
    let replaced = ask(
        "map/x",
        json!({ "metadata": "text" }),
        json!({ "metadata": { "a": null } }),
    );
    assert_eq!(replaced.await.unwrap(), json!({ "metadata": {} }));
}

#[tokio::test]
async fn an_entry_stays_an_entry() {
    let stored = json!({ "key": "canary", "ttl": 60 });
    let answer = ask("entry/x", stored.clone(), json!({ "ttl": null }));
    assert_eq!(answer.await.unwrap(), json!({ "key": "canary", "ttl": 0 }));
    let error = ask("entry/x", stored, json!({ "key": null }))
        .await
        .unwrap_err();
    assert!(
        error.contains("must stay") && !error.contains("canary"),
        "{error}"
    );
    let error = ask("map/x", json!({}), json!({ "ttl": "soon" }))
        .await
        .unwrap_err();
    assert!(error.contains("\"ttl\""), "{error}");
}
