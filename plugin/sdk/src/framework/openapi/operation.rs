//! One route's entries in the OpenAPI document.
//!
//! Owns which verb an operation becomes, where each field goes, and the names
//! that client generators build on (`operationId`).

use serde_json::json;

use super::{expand, schema};
use crate::{
    Map, Operation, Value,
    framework::{backend::Backend, field::Field, route::Route},
};

pub(super) fn add<S>(
    backend: &Backend<S>,
    route: &Route<S>,
    prefix: &str,
    paths: &mut Map<String, Value>,
    schemas: &mut Map<String, Value>,
) {
    for (index, path) in expand::paths(&route.path.pattern).into_iter().enumerate() {
        let context = Context {
            route,
            prefix,
            index,
            path: &path,
        };
        let folder = path.ends_with('/');
        let has = |operation| route.path.operations.contains_key(&operation);
        let mut item = item(backend, &context);
        // Vault: lists live under the spelling with the trailing slash alone.
        if folder && has(Operation::List) {
            item.insert("get".to_owned(), context.list());
            paths.insert(path.clone(), item.into());
            continue;
        }
        if folder && path.len() > 1 {
            continue;
        }
        if has(Operation::Read) {
            item.insert("get".to_owned(), context.plain(&Operation::Read));
        }
        if has(Operation::Create) || has(Operation::Update) {
            item.insert("post".to_owned(), context.write(schemas));
            if has(Operation::Create) {
                item.insert("x-vault-createSupported".to_owned(), true.into());
            }
        }
        if has(Operation::Delete) {
            item.insert("delete".to_owned(), context.plain(&Operation::Delete));
        }
        if ["get", "post", "delete"]
            .iter()
            .any(|verb| item.contains_key(*verb))
        {
            paths.insert(path.clone(), item.into());
        } else if has(Operation::List) {
            let path = format!("{path}/");
            if !paths.contains_key(&path) {
                item.insert("get".to_owned(), context.list());
                paths.insert(path, item.into());
            }
        }
    }
}

fn item<S>(backend: &Backend<S>, context: &Context<'_, S>) -> Map<String, Value> {
    let mut item = Map::new();
    let name = context.path.trim_start_matches('/');
    let special = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, name));
    item.insert(
        "description".to_owned(),
        context.route.path.synopsis.trim().into(),
    );
    if special(&backend.special_paths.root) {
        item.insert("x-vault-sudo".to_owned(), true.into());
    }
    if special(&backend.special_paths.unauthenticated) {
        item.insert("x-vault-unauthenticated".to_owned(), true.into());
    }
    let parameters: Vec<_> = context
        .fields()
        .filter(|field| context.in_path(field))
        .map(|field| schema::parameter(field, "path"))
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    let shown = &context.route.path.display;
    let mut display = Map::new();
    for (key, text) in [
        ("name", &shown.name),
        ("itemType", &shown.item_type),
        ("action", &shown.action),
    ] {
        if !text.is_empty() {
            display.insert(key.to_owned(), text.as_str().into());
        }
    }
    if shown.navigation {
        display.insert("navigation".to_owned(), true.into());
    }
    if !display.is_empty() {
        item.insert("x-vault-displayAttrs".to_owned(), display.into());
    }
    item
}

fn covers(pattern: &str, path: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == path, |prefix| path.starts_with(prefix))
}

struct Context<'a, S> {
    route: &'a Route<S>,
    prefix: &'a str,
    index: usize,
    path: &'a str,
}

impl<S> Context<'_, S> {
    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.route.schema.values()
    }

    fn in_path(&self, field: &Field) -> bool {
        self.path.contains(&format!("{{{}}}", field.name))
    }

    fn plain(&self, operation: &Operation) -> Value {
        let status = if *operation == Operation::Delete {
            "204"
        } else {
            "200"
        };
        let mut plain = self.base(operation);
        plain.insert("responses".to_owned(), responses(status));
        let query: Vec<_> = self
            .fields()
            .filter(|field| field.query && !self.in_path(field))
            .map(|field| schema::parameter(field, "query"))
            .collect();
        if !query.is_empty() {
            plain.insert("parameters".to_owned(), query.into());
        }
        plain.into()
    }

    fn list(&self) -> Value {
        let mut list = self.base(&Operation::List);
        list.insert("responses".to_owned(), responses("200"));
        list.insert(
            "parameters".to_owned(),
            json!([{
                "name": "list",
                "description": "Must be set to `true`",
                "in": "query",
                "required": true,
                "schema": { "type": "string", "enum": ["true"] },
            }]),
        );
        list.into()
    }

    fn write(&self, schemas: &mut Map<String, Value>) -> Value {
        let mut write = self.base(&Operation::Update);
        write.insert("responses".to_owned(), responses("200"));
        let fields: Vec<_> = self
            .fields()
            .filter(|field| !self.in_path(field) && !field.query)
            .collect();
        if !fields.is_empty() {
            let name = format!("{}Request", camel(&self.operation_id(&Operation::Update)));
            let properties: Map<_, _> = fields
                .iter()
                .map(|field| (field.name.clone(), schema::of(field, true)))
                .collect();
            let required: Vec<_> = fields
                .iter()
                .filter(|field| field.required)
                .map(|field| Value::from(field.name.as_str()))
                .collect();
            let mut body = Map::new();
            body.insert("type".to_owned(), "object".into());
            body.insert("properties".to_owned(), properties.into());
            if !required.is_empty() {
                body.insert("required".to_owned(), required.into());
            }
            write.insert(
                "requestBody".to_owned(),
                json!({
                    "required": true,
                    "content": { "application/json": {
                        "schema": { "$ref": format!("#/components/schemas/{name}") },
                    }},
                }),
            );
            schemas.insert(name, body.into());
        }
        write.into()
    }

    fn base(&self, operation: &Operation) -> Map<String, Value> {
        let mut base = Map::new();
        base.insert("summary".to_owned(), self.route.path.synopsis.trim().into());
        base.insert(
            "operationId".to_owned(),
            self.operation_id(operation).into(),
        );
        base.insert("tags".to_owned(), json!(["secrets"]));
        base
    }

    /// Vault: prefix, verb, suffix, joined by dashes.
    fn operation_id(&self, operation: &Operation) -> String {
        let display = &self.route.path.display;
        let verb = match operation {
            _ if !display.operation_verb.is_empty() => display.operation_verb.as_str(),
            Operation::Update => "write",
            other => other.as_str(),
        };
        let mut suffixes = display.operation_suffix.split('|');
        let suffix = suffixes.nth(self.index).filter(|suffix| !suffix.is_empty());
        let suffix = suffix.map_or_else(|| words(self.path), str::to_owned);
        let prefix = if display.operation_prefix.is_empty() {
            self.prefix
        } else {
            &display.operation_prefix
        };
        let parts = [prefix, verb, suffix.as_str()];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    }
}

fn responses(status: &str) -> Value {
    let text = if status == "204" { "empty body" } else { "OK" };
    json!({ status: { "description": text } })
}

/// The words of a path, joined by dashes, without its parameters.
fn words(path: &str) -> String {
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && !part.starts_with('{'));
    parts
        .collect::<Vec<_>>()
        .join("-")
        .replace(['_', '.', '{', '}'], "-")
}

fn camel(dashed: &str) -> String {
    let mut out = String::new();
    for word in dashed.split('-') {
        let mut chars = word.chars();
        out.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        out.extend(chars);
    }
    out
}
