//! The coerced fields of one request.
//!
//! Owns the look-ups that handlers use: the value, else the schema's default,
//! else zero. Filled by `dispatch` before a handler runs; a field name that the
//! path does not declare is a programming error.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{
    coerce::{FieldValue, coerce},
    field::Field,
};
use crate::{Error, Map, Value};

/// The fields of one request. The default one declares and holds nothing.
#[derive(Clone, Default)]
pub struct FieldData {
    schema: Arc<BTreeMap<String, Field>>,
    raw: Map<String, Value>,
    values: BTreeMap<String, FieldValue>,
    present: BTreeSet<String>,
    captured: BTreeSet<String>,
}

impl FieldData {
    /// Coerces all of a body and of a path's groups that `schema` declares. The
    /// path wins.
    ///
    /// # Errors
    /// Vault: `Field validation failed: …`, naming the field, never its value.
    pub(crate) fn new(
        schema: Arc<BTreeMap<String, Field>>,
        body: Map<String, Value>,
        captures: BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let captured = captures.keys().cloned().collect();
        let mut raw = body;
        raw.extend(
            captures
                .into_iter()
                .map(|(name, value)| (name, Value::String(value))),
        );
        let mut values = BTreeMap::new();
        let mut present = BTreeSet::new();
        for (name, field) in schema.as_ref() {
            let given = raw.get(name).map(|input| coerce(field.kind, input));
            let given = given.transpose().map_err(|mismatch| {
                Error::user(format!(
                    "Field validation failed: field {name:?} {mismatch}"
                ))
            })?;
            let value = match given.flatten() {
                Some(value) => {
                    present.insert(name.clone());
                    Some(value)
                }
                None => default_of(field)?,
            };
            if let Some(value) = value {
                values.insert(name.clone(), value);
            }
        }
        Ok(Self {
            schema,
            raw,
            values,
            present,
            captured,
        })
    }

    /// Whether the request carries the field (null does not count).
    pub fn is_set(&self, name: &str) -> bool {
        self.present.contains(name)
    }

    /// The input as it came, null included.
    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.raw.get(name)
    }

    /// The declared fields that the body carries, as they came.
    pub(super) fn body(&self) -> impl Iterator<Item = (&str, &Value)> {
        let declared = |name: &str| self.schema.contains_key(name);
        self.raw
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .filter(move |(name, _)| declared(name) && !self.captured.contains(*name))
    }

    pub(super) fn coerced(&self, name: &str) -> Option<&FieldValue> {
        self.values.get(name)
    }

    fn value(&self, name: &str) -> Option<&FieldValue> {
        debug_assert!(
            self.schema.contains_key(name),
            "the path does not declare the field {name:?}"
        );
        self.values.get(name)
    }
}

fn default_of(field: &Field) -> Result<Option<FieldValue>, Error> {
    let Some(default) = &field.default else {
        return Ok(None);
    };
    coerce(field.kind, default).map_err(|mismatch| {
        Error::internal(format!("the default of field {:?} {mismatch}", field.name))
    })
}

/// Two look-ups a type: the value (else default, else zero), and the value only
/// if the request carries it.
macro_rules! lookups {
    ($($doc:literal $name:ident $name_opt:ident $out:ty: $($variant:ident)|+;)*) => {
        impl FieldData {$(
            #[doc = concat!($doc, ": the value, else the default, else zero.")]
            pub fn $name(&self, name: &str) -> $out {
                match self.value(name) {
                    $(Some(FieldValue::$variant(value)) => value.clone(),)+
                    other => {
                        debug_assert!(other.is_none(), "the field {name:?} has another type");
                        <$out>::default()
                    }
                }
            }

            #[doc = concat!($doc, ": the value, if the request carries one.")]
            pub fn $name_opt(&self, name: &str) -> Option<$out> {
                let value = self.$name(name);
                self.is_set(name).then_some(value)
            }
        )*}
    };
}

lookups! {
    "Any of the text types" string string_opt String: Text;
    "Whole numbers" int int_opt i64: Int | SignedSeconds;
    "Numbers" float float_opt f64: Float;
    "True or false" bool bool_opt bool: Bool;
    "Whole seconds" duration duration_opt Duration: Duration;
    "Lists of texts" strings strings_opt Vec<String>: Texts;
    "Lists of whole numbers" ints ints_opt Vec<i64>: Ints;
    "Lists of anything" values values_opt Vec<Value>: Values;
    "Objects" map map_opt Map<String, Value>: Map;
    "Pairs of texts" kv kv_opt BTreeMap<String, String>: Pairs;
    "Headers" headers headers_opt BTreeMap<String, Vec<String>>: Headers;
}

impl FieldData {
    /// A point in time: the value, else the default, else `None`.
    pub fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        match self.value(name) {
            Some(FieldValue::Time(time)) => Some(*time),
            _ => None,
        }
    }
}

impl fmt::Debug for FieldData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldData")
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}
