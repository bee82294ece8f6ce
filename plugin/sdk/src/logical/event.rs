//! What a plugin tells the server's subscribers.
//!
//! Owns the plain struct. Vault only: the metadata always holds a path, because
//! subscriptions are allowed by path, and because the server writes into it.

use std::fmt;

use crate::{Map, Value};

/// An event.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// What happened, for example `kv-v2/data-write`: the engine's name, a
    /// slash, and words for it.
    pub event_type: String,
    /// Shown to everyone who may subscribe to the path. Never a secret.
    pub metadata: Map<String, Value>,
    /// The identities that the event is about.
    pub entity_ids: Vec<String>,
    /// A word for a person.
    pub note: String,
}

impl Event {
    /// An event about `path`, without the mount: the server adds that.
    pub fn new(event_type: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            event_type: event_type.into(),
            metadata: Map::from_iter([("path".to_owned(), Value::String(path.into()))]),
            entity_ids: Vec::new(),
            note: String::new(),
        }
    }

    /// Adds to the metadata. Vault: tools know `operation`, `modified` and
    /// `data_path` (where to read what has changed).
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_type", &self.event_type)
            .finish_non_exhaustive()
    }
}
