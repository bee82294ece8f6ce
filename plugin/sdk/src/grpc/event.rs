//! The client of the server's event bus.
//!
//! Owns the conversion of an event. Vault only; OpenBao has no such service.

use prost_types::{ListValue, Struct, Value as Any, value::Kind};
use vault_plugin_proto::{logical, pb};

use crate::{Event, Map, Value};

pub(super) fn request(event: Event) -> pb::SendEventRequest {
    pb::SendEventRequest {
        event_type: event.event_type,
        event: Some(logical::EventData {
            id: uuid::Uuid::new_v4().to_string(),
            metadata: Some(structure(event.metadata)),
            entity_ids: event.entity_ids,
            note: event.note,
        }),
    }
}

fn structure(map: Map<String, Value>) -> Struct {
    let fields = map.into_iter().map(|(name, value)| (name, any(value)));
    Struct {
        fields: fields.collect(),
    }
}

/// Protobuf's numbers are 64-bit floats, as all numbers that pass the server are.
fn any(value: Value) -> Any {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().map(any).collect(),
        }),
        Value::Object(map) => Kind::StructValue(structure(map)),
    };
    Any { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_always_has_an_id_and_a_path() {
        let event = Event::new("notes/write", "notes/a")
            .with("modified", true)
            .with("tags", json!(["x", { "n": 1.5, "none": null }]));
        let request = request(event.clone());
        assert_eq!(request.event_type, "notes/write");
        let data = request.event.unwrap();
        assert_eq!(data.id.len(), 36);
        let fields = data.metadata.unwrap().fields;
        let text = |name: &str| fields[name].kind.clone().unwrap();
        assert_eq!(text("path"), Kind::StringValue("notes/a".to_owned()));
        assert_eq!(text("modified"), Kind::BoolValue(true));
        let Kind::ListValue(list) = text("tags") else {
            unreachable!("a list stays a list");
        };
        let Some(Kind::StructValue(inner)) = list.values[1].kind.clone() else {
            unreachable!("an object stays an object");
        };
        assert_eq!(inner.fields["n"].kind, Some(Kind::NumberValue(1.5)));
        assert_eq!(inner.fields["none"].kind, Some(Kind::NullValue(0)));
        assert!(!format!("{event:?}").contains("notes/a"));
    }
}
