//! Fields and answers as OpenAPI schemas.
//!
//! Owns the mapping of field types, and the extra keys that Vault's user
//! interface builds its forms from.

use serde_json::json;

use super::{Document, name};
use crate::{
    DisplayAttrs, FieldType, Map, Operation, Value,
    framework::{docs::OperationDocs, field::Field},
};

const fn kind(kind: FieldType) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    match kind {
        FieldType::String | FieldType::NameString | FieldType::Header => ("string", None, None),
        FieldType::LowerCaseString => ("string", Some("lowercase"), None),
        FieldType::Int => ("integer", None, None),
        FieldType::Int64 => ("integer", Some("int64"), None),
        FieldType::Float => ("number", Some("float"), None),
        FieldType::Bool => ("boolean", None, None),
        FieldType::DurationSecond | FieldType::SignedDurationSecond => {
            ("string", Some("duration"), None)
        }
        FieldType::Time => ("string", Some("date-time"), None),
        FieldType::Map => ("object", Some("map"), None),
        FieldType::KVPairs => ("object", Some("kvpairs"), None),
        FieldType::Slice => ("array", None, Some("object")),
        FieldType::StringSlice | FieldType::CommaStringSlice => ("array", None, Some("string")),
        FieldType::CommaIntSlice => ("array", None, Some("integer")),
    }
}

/// The schema of an object with these fields.
pub(super) fn object<'a>(fields: impl Iterator<Item = &'a Field>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        if field.required {
            required.push(Value::from(field.name.as_str()));
        }
        let mut schema = of(field);
        if !field.description.is_empty() {
            schema.insert(
                "description".to_owned(),
                one_line(&field.description).into(),
            );
        }
        if field.deprecated {
            schema.insert("deprecated".to_owned(), true.into());
        }
        properties.insert(field.name.clone(), schema.into());
    }
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

/// A path or query parameter.
pub(super) fn parameter(field: &Field, place: &str) -> Value {
    let mut parameter = json!({
        "name": field.name,
        "description": one_line(&field.description),
        "in": place,
        "schema": of(field),
    });
    if place == "path" || field.required {
        parameter["required"] = true.into();
    }
    if field.deprecated {
        parameter["deprecated"] = true.into();
    }
    parameter
}

/// What is the same in a body and in a parameter.
fn of(field: &Field) -> Map<String, Value> {
    let mut schema = Map::new();
    let (name, format, items) = kind(field.kind);
    schema.insert("type".to_owned(), name.into());
    if let Some(format) = format {
        schema.insert("format".to_owned(), format.into());
    }
    if let Some(items) = items {
        schema.insert("items".to_owned(), json!({ "type": items }));
    }
    if field.kind == FieldType::NameString {
        schema.insert("pattern".to_owned(), r"\w([\w-.]*\w)?".into());
    }
    if let Some(default) = &field.default {
        schema.insert("default".to_owned(), default.clone());
    }
    if !field.allowed_values.is_empty() {
        schema.insert("enum".to_owned(), field.allowed_values.clone().into());
    }
    let display = field_display(field);
    if !display.is_empty() {
        schema.insert("x-vault-displayAttrs".to_owned(), display.into());
    }
    schema
}

fn field_display(field: &Field) -> Map<String, Value> {
    let shown = &field.display;
    let mut display = texts([
        ("name", &shown.name),
        ("description", &shown.description),
        ("group", &shown.group),
        ("editType", &shown.edit_type),
    ]);
    if let Some(value) = &shown.value {
        display.insert("value".to_owned(), value.clone());
    }
    flags(
        &mut display,
        [
            ("sensitive", field.sensitive),
            ("identifier", shown.identifier),
        ],
    );
    display
}

/// Vault: without the hints for operation ids, which the document already holds.
pub(super) fn path_display(shown: &DisplayAttrs) -> Map<String, Value> {
    let mut display = texts([
        ("name", &shown.name),
        ("description", &shown.description),
        ("itemType", &shown.item_type),
        ("group", &shown.group),
        ("action", &shown.action),
    ]);
    flags(&mut display, [("navigation", shown.navigation)]);
    display
}

fn texts<const N: usize>(texts: [(&str, &String); N]) -> Map<String, Value> {
    let set = texts.into_iter().filter(|(_, text)| !text.is_empty());
    set.map(|(key, text)| (key.to_owned(), text.as_str().into()))
        .collect()
}

fn flags<const N: usize>(display: &mut Map<String, Value>, flags: [(&str, bool); N]) {
    let set = flags.into_iter().filter(|(_, flag)| *flag);
    display.extend(set.map(|(key, _)| (key.to_owned(), true.into())));
}

/// Vault: where nothing is declared, a delete answers nothing, a list its keys.
pub(super) fn responses(
    operation: &Operation,
    docs: &OperationDocs,
    id: &str,
    document: &mut Document,
) -> Value {
    if docs.responses.is_empty() {
        return match operation {
            Operation::Delete => json!({ "204": { "description": "empty body" } }),
            Operation::List => json!({ "200": { "description": "OK", "content": content(
                &standard_list(document),
            ) } }),
            _ => json!({ "200": { "description": "OK" } }),
        };
    }
    let mut responses = Map::new();
    for (status, docs) in &docs.responses {
        let mut response = json!({ "description": one_line(&docs.description) });
        if !docs.fields.is_empty() {
            let schema = object(docs.fields.iter());
            let name = name::schema(id, "Response");
            // Statuses beyond the first have no name of their own.
            let schema = if document.schemas.contains_key(&name) {
                schema
            } else {
                document.schemas.insert(name.clone(), schema);
                reference(&name)
            };
            response["content"] = content(&schema);
        }
        responses.insert(status.to_string(), response);
    }
    responses.into()
}

fn standard_list(document: &mut Document) -> Value {
    const NAME: &str = "StandardListResponse";
    let keys = json!({ "type": "array", "items": { "type": "string" } });
    let list = json!({ "type": "object", "properties": { "keys": keys } });
    document.schemas.insert(NAME.to_owned(), list);
    reference(NAME)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// Runs of blanks and line ends as one blank.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
