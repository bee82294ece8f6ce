//! A field as an OpenAPI schema.
//!
//! Owns the mapping of field types, and the extra keys that Vault's user
//! interface builds its forms from.

use serde_json::json;

use crate::{Map, Value, framework::field::Field, framework::field::FieldType};

const fn kind(kind: FieldType) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    match kind {
        FieldType::String => ("string", None, None),
        FieldType::LowerCaseString => ("string", Some("lowercase"), None),
        FieldType::NameString => ("string", None, None),
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
        FieldType::Header => ("object", Some("header"), None),
        FieldType::Slice => ("array", None, Some("object")),
        FieldType::StringSlice | FieldType::CommaStringSlice => ("array", None, Some("string")),
        FieldType::CommaIntSlice => ("array", None, Some("integer")),
    }
}

/// The schema of a field in a body. Parameters carry their description apart.
pub(super) fn of(field: &Field, describe: bool) -> Value {
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
    if describe && !field.description.is_empty() {
        schema.insert("description".to_owned(), field.description.trim().into());
    }
    if let Some(default) = &field.default {
        schema.insert("default".to_owned(), default.clone());
    }
    if !field.allowed_values.is_empty() {
        schema.insert("enum".to_owned(), field.allowed_values.clone().into());
    }
    if field.deprecated {
        schema.insert("deprecated".to_owned(), true.into());
    }
    let display = display(field);
    if !display.is_empty() {
        schema.insert("x-vault-displayAttrs".to_owned(), display.into());
    }
    schema.into()
}

fn display(field: &Field) -> Map<String, Value> {
    let shown = &field.display;
    let mut display = Map::new();
    for (key, text) in [
        ("name", &shown.name),
        ("description", &shown.description),
        ("group", &shown.group),
        ("editType", &shown.edit_type),
    ] {
        if !text.is_empty() {
            display.insert(key.to_owned(), text.as_str().into());
        }
    }
    if let Some(value) = &shown.value {
        display.insert("value".to_owned(), value.clone());
    }
    for (key, flag) in [
        ("sensitive", field.sensitive),
        ("identifier", shown.identifier),
    ] {
        if flag {
            display.insert(key.to_owned(), true.into());
        }
    }
    display
}

/// A path or query parameter.
pub(super) fn parameter(field: &Field, place: &str) -> Value {
    let mut parameter = json!({
        "name": field.name,
        "description": field.description.trim(),
        "in": place,
        "schema": of(field, false),
    });
    if let Some(parameter) = parameter.as_object_mut()
        && (place == "path" || field.required)
    {
        parameter.insert("required".to_owned(), true.into());
    }
    parameter
}
