//! Owns the configuration file as a tree whose every value knows its line and
//! column, so that an error or a warning can point at it. Never shows a value:
//! the file holds secrets. Called by the parsers of the file's sections.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// A mistake in the file, with its place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {text}")]
pub(crate) struct Problem {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Line and column, from 1; zero when the parser did not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    /// No setting of ours takes one, so which one does not matter.
    Bool,
    /// Kept as decimal text: prices must not pass through binary fractions.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

/// Reads YAML into a tree.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    if text.trim().is_empty() {
        return Ok(Node {
            value: Value::Null,
            place: Place::default(),
        });
    }
    // The parser's own text is left out: it may quote the file.
    serde_saphyr::from_str::<Node>(text).map_err(|error| Problem {
        place: error.location().map(Place::from).unwrap_or_default(),
        text: "not valid YAML here: check indentation, quotes and duplicate keys".to_owned(),
    })
}

impl Node {
    pub(super) fn problem(&self, text: impl Into<String>) -> Problem {
        Problem {
            place: self.place,
            text: text.into(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The entries of a map; an absent map has none.
    pub(super) fn entries(&self, name: &str) -> Result<&[Entry], Problem> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            Value::Null => Ok(&[]),
            _ => Err(self.problem(format!("{name} must be a map"))),
        }
    }

    pub(super) fn items(&self, name: &str) -> Result<&[Self], Problem> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(self.problem(format!("{name} must be a list"))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, Problem> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.problem(format!("{name} must be text: put it in quotes"))),
        }
    }

    /// Decimal text of a number, also when it is written in quotes.
    pub(super) fn decimal(&self, name: &str) -> Result<&str, Problem> {
        match &self.value {
            Value::Number(text) | Value::Text(text) => Ok(text),
            _ => Err(self.problem(format!("{name} must be a number"))),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<u64, Problem> {
        self.decimal(name)?
            .parse()
            .map_err(|_| self.problem(format!("{name} must be a whole number, zero or more")))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            value: spanned.value,
            place: spanned.referenced.into(),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Value, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // The shortest text that reads back as the same number is what was written.
        Ok(Value::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(name) = entries.next_key::<Spanned<String>>()? {
            map.push(Entry {
                name: name.value,
                place: name.referenced.into(),
                node: entries.next_value()?,
            });
        }
        Ok(Value::Map(map))
    }
}
