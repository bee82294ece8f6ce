use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    Backend, BackendKind, DisplayAttrs, Field, FieldType, HandlerResult, Operation, Path, Request,
    SpecialPaths, generic_name, testing::RequestBuilder,
};

async fn nothing(_: Arc<()>, _: Request) -> HandlerResult {
    Ok(None)
}

fn name() -> Field {
    Field::new("name", FieldType::NameString).description("  The\n name.")
}

fn role() -> Path<()> {
    Path::new(format!("roles/{}", generic_name("name")))
        .field(name())
        .field(
            Field::new("ttl", FieldType::DurationSecond)
                .default("1h")
                .group("Times")
                .display_name("TTL")
                .display_value("2h"),
        )
        .field(
            Field::new("key", FieldType::String)
                .required()
                .sensitive()
                .edit_type("textarea"),
        )
        .field(Field::new("verbose", FieldType::Bool).query().deprecated())
        .field(Field::new("mode", FieldType::String).allowed_values(["a", "b"]))
        .operation(Operation::Read, nothing)
        .operation(Operation::Create, nothing)
        .operation(Operation::Update, nothing)
        .operation(Operation::Patch, nothing)
        .operation(Operation::Delete, nothing)
        .exists(|_, _| async { Ok(false) })
        .help("A role.", "")
        .summary(Operation::Read, "Reads a role.")
        .description(Operation::Read, "At length.")
        .response(
            Operation::Read,
            200,
            "The role",
            [Field::new("ttl", FieldType::Int64).description("Seconds.")],
        )
        .response(Operation::Read, 404, "No such role", [])
        .example(Operation::Update, json!({ "ttl": "5m" }))
        .deprecated(Operation::Delete)
}

async fn document(backend: Backend<()>) -> Value {
    let request = RequestBuilder::new(Operation::Help, "")
        .value("requestResponsePrefix", "type")
        .build();
    let answer = backend.handle(request).await.unwrap().unwrap();
    answer.data.unwrap()["openapi"].clone()
}

async fn of(path: Path<()>) -> Value {
    document(Backend::new(BackendKind::Secrets, ()).path(path)).await
}

#[tokio::test]
async fn an_operation_says_what_it_takes_and_answers() {
    let document = of(role()).await;
    let item = &document["paths"]["/roles/{name}"];
    assert_eq!(item["x-vault-createSupported"], true);
    assert_eq!(item["parameters"][0]["name"], "name");
    assert_eq!(item["parameters"][0]["description"], "The name.");
    assert_eq!(item["parameters"].as_array().unwrap().len(), 1);

    let read = &item["get"];
    assert_eq!(read["summary"], "Reads a role.");
    assert_eq!(read["description"], "At length.");
    assert_eq!(read["operationId"], "type-read-roles-name");
    assert_eq!(read["tags"], json!(["secrets"]));
    assert_eq!(read["parameters"][0]["name"], "verbose");
    assert_eq!(read["parameters"][0]["deprecated"], true);
    assert_eq!(
        read["responses"],
        json!({
            "200": {
                "description": "The role",
                "content": { "application/json": { "schema": {
                    "$ref": "#/components/schemas/TypeReadRolesNameResponse",
                } } },
            },
            "404": { "description": "No such role" },
        })
    );
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["TypeReadRolesNameResponse"]["properties"]["ttl"],
        json!({ "type": "integer", "format": "int64", "description": "Seconds." })
    );
    assert_eq!(
        item["delete"]["responses"]["204"]["description"],
        "empty body"
    );
    assert_eq!(item["delete"]["deprecated"], true);
    assert_eq!(item["delete"]["summary"], "A role.");
}

#[tokio::test]
async fn a_body_holds_all_but_the_path() {
    let document = of(role()).await;
    for (verb, id) in [
        ("post", "TypeWriteRolesName"),
        ("patch", "TypePatchRolesName"),
    ] {
        let operation = &document["paths"]["/roles/{name}"][verb];
        let name = format!("{id}Request");
        assert_eq!(
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            format!("#/components/schemas/{name}")
        );
        let body = &document["components"]["schemas"][&name];
        let names: Vec<_> = body["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["key", "mode", "ttl", "verbose"]);
        assert_eq!(body["required"], json!(["key"]));
        assert_eq!(body["properties"]["mode"]["enum"], json!(["a", "b"]));
        assert_eq!(body["properties"]["ttl"]["default"], "1h");
        assert_eq!(
            body["properties"]["ttl"]["x-vault-displayAttrs"],
            json!({ "name": "TTL", "group": "Times", "value": "2h" })
        );
        assert_eq!(
            body["properties"]["key"]["x-vault-displayAttrs"],
            json!({ "sensitive": true, "editType": "textarea" })
        );
    }
    let update = &document["components"]["schemas"]["TypeWriteRolesNameRequest"];
    assert_eq!(update["example"], json!({ "ttl": "5m" }));
}

#[tokio::test]
async fn a_list_stands_apart_with_a_slash() {
    let path = Path::new("roles/?")
        .field(Field::new("after", FieldType::String).query())
        .operation(Operation::List, nothing)
        .display_attrs(DisplayAttrs {
            operation_prefix: "own".to_owned(),
            operation_suffix: "roles".to_owned(),
            navigation: true,
            item_type: "Role".to_owned(),
            ..DisplayAttrs::default()
        });
    let document = of(path).await;
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/roles/"]);
    let item = &document["paths"]["/roles/"];
    assert_eq!(
        item["x-vault-displayAttrs"],
        json!({ "itemType": "Role", "navigation": true })
    );
    let list = &item["get"];
    assert_eq!(list["operationId"], "own-list-roles");
    let names = |index: usize| list["parameters"][index]["name"].clone();
    assert_eq!([names(0), names(1)], ["after", "list"]);
    assert_eq!(
        list["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/StandardListResponse"
    );
    assert!(document["components"]["schemas"]["StandardListResponse"].is_object());
}

#[tokio::test]
async fn a_list_beside_a_read_leaves_both() {
    let path = Path::new("things/?")
        .operation(Operation::List, nothing)
        .operation(Operation::Read, nothing);
    let document = of(path).await;
    assert!(document["paths"]["/things"]["get"].is_object());
    assert!(document["paths"]["/things/"]["get"].is_object());
}

#[tokio::test]
async fn what_cannot_be_spelled_out_is_named_without_operations() {
    let path = Path::new("any/.*").operation(Operation::Read, nothing);
    let document = of(path).await;
    let item = document["paths"]["/any/.*"].as_object().unwrap();
    assert!(!item.contains_key("get"));
}

#[tokio::test]
async fn an_unpublished_operation_is_left_out() {
    let path = Path::new("x")
        .operation(Operation::Read, nothing)
        .operation(Operation::Update, nothing)
        .unpublished(Operation::Read);
    let item = of(path).await["paths"]["/x"].clone();
    assert!(item.get("get").is_none() && item["post"].is_object());
}

#[tokio::test]
async fn arbitrary_input_is_said() {
    let path = Path::new("x")
        .operation(Operation::Update, nothing)
        .takes_arbitrary_input();
    let post = of(path).await["paths"]["/x"]["post"].clone();
    let body = &post["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["additionalProperties"], true);
}

#[tokio::test]
async fn an_auth_engine_tags_and_marks_its_login() {
    let backend = Backend::new(BackendKind::Auth, ())
        .special_paths(SpecialPaths {
            unauthenticated: vec!["login/+".to_owned()],
            root: vec!["admin*".to_owned()],
            allow_snapshot_read: vec!["admin*".to_owned()],
            ..SpecialPaths::default()
        })
        .path(
            Path::new(format!("login/{}", generic_name("name")))
                .field(name())
                .operation(Operation::Update, nothing),
        )
        .path(Path::new("admin").operation(Operation::Read, nothing));
    let document = document(backend).await;
    let login = &document["paths"]["/login/{name}"];
    assert_eq!(login["x-vault-unauthenticated"], true);
    assert_eq!(login["post"]["tags"], json!(["auth"]));
    assert!(login["post"].get("requestBody").is_none());
    let admin = &document["paths"]["/admin"];
    assert_eq!(admin["x-vault-sudo"], true);
    assert_eq!(admin["get"]["parameters"][0]["name"], "read_snapshot_id");
}

#[tokio::test]
async fn the_help_says_what_is_documented_of_a_field() {
    let backend = Backend::new(BackendKind::Secrets, ()).path(role());
    let request = RequestBuilder::new(Operation::Help, "roles/a").build();
    let answer = backend.handle(request).await.unwrap().unwrap();
    let text = answer.data.unwrap()["help"].as_str().unwrap().to_owned();
    for said in [
        "(DEPRECATED)",
        " Required.",
        " One of: a, b.",
        "duration (sec)",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}
