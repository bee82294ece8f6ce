//! One log line.
//!
//! Pure but for the clock. go-plugin: exactly six digits of a second, text in
//! the `@` keys, less than 64 KiB a line; anything else is shown raw at debug,
//! or worse.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use tracing::field::{Field, Visit};

use crate::{Map, Value};

#[cfg(test)]
mod tests;

/// go-plugin reads lines of up to 64 KiB; stay under it with room to spare.
const BYTES_MAX: usize = 60 * 1024;
/// What is kept of a line that is too long.
const MESSAGE_KEPT: usize = 8 * 1024;

pub(crate) struct Line {
    keys: Map<String, Value>,
}

impl Line {
    pub(crate) fn new(level: &str, module: &str) -> Self {
        Self::at(Utc::now(), level, module)
    }

    fn at(time: DateTime<Utc>, level: &str, module: &str) -> Self {
        let mut keys = Map::new();
        keys.insert("@level".to_owned(), level.into());
        keys.insert("@message".to_owned(), "".into());
        keys.insert("@module".to_owned(), module.into());
        let stamp = time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        keys.insert("@timestamp".to_owned(), stamp.into());
        Self { keys }
    }

    pub(crate) fn message(&mut self, text: &str) {
        self.keys.insert("@message".to_owned(), text.into());
    }

    /// A field whose name starts with `@` gets another, never theirs.
    pub(crate) fn field(&mut self, name: &str, value: Value) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let name = if name.starts_with('@') {
            format!("_{name}")
        } else {
            name.to_owned()
        };
        self.keys.insert(name, value);
    }

    /// The line with its end.
    pub(crate) fn finish(mut self) -> String {
        let mut text = self.encode();
        if text.len() > BYTES_MAX {
            let message = self
                .keys
                .get("@message")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let kept = message.floor_char_boundary(MESSAGE_KEPT);
            let message = message[..kept].to_owned();
            self.keys.retain(|name, _| name.starts_with('@'));
            self.message(&message);
            self.field("truncated", true.into());
            text = self.encode();
        }
        text
    }

    fn encode(&self) -> String {
        let mut text = serde_json::to_string(&self.keys).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message(&text);
        } else {
            self.field(field.name(), text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message(value);
        } else {
            self.field(field.name(), value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field.name(), value.into());
    }
}
