//! The schema of one field of a path.
//!
//! Owns types and documentation; `coerce` owns the values. Vault: `required`,
//! `allowed_values`, `deprecated` and `query` document, nothing enforces them.

use serde_json::Value;

/// What a field holds, and how input is coerced into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldType {
    /// Text; numbers and booleans become text.
    String,
    /// Text in lower case.
    LowerCaseString,
    /// Text that can stand in a path: `\w(([\w-.]+)?\w)?`.
    NameString,
    /// A whole number.
    Int,
    /// A whole number of 64 bits.
    Int64,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// Seconds: a number, `1h30m`, `7d`. Never negative.
    DurationSecond,
    /// Seconds that may be negative.
    SignedDurationSecond,
    /// A point in time: RFC 3339 or epoch seconds.
    Time,
    /// An object.
    Map,
    /// An object of texts, or a list of `key=value`.
    KVPairs,
    /// A list of anything.
    Slice,
    /// A list of texts; one text is wrapped.
    StringSlice,
    /// A list of texts; one text is split at commas.
    CommaStringSlice,
    /// A list of whole numbers; one text is split at commas.
    CommaIntSlice,
    /// HTTP headers.
    Header,
}

impl FieldType {
    /// Vault: the type's name in the generated help.
    pub(crate) const fn help_name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::LowerCaseString => "lowercase string",
            Self::NameString => "name string",
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::DurationSecond | Self::SignedDurationSecond => "duration (sec)",
            Self::Time => "time",
            Self::Map => "map",
            Self::KVPairs => "keypair",
            Self::Slice | Self::StringSlice | Self::CommaStringSlice | Self::CommaIntSlice => {
                "slice"
            }
            Self::Header => "header",
        }
    }
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) kind: FieldType,
    pub(crate) description: String,
    pub(crate) default: Option<Value>,
    pub(crate) required: bool,
    pub(crate) sensitive: bool,
    pub(crate) deprecated: bool,
    pub(crate) query: bool,
    pub(crate) allowed_values: Vec<Value>,
    pub(crate) display: FieldDisplay,
}

/// How a user interface shows a field. All of it is documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldDisplay {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) value: Option<Value>,
    pub(crate) group: String,
    pub(crate) edit_type: String,
    pub(crate) identifier: bool,
}

impl Field {
    /// A field without documentation.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self {
            name: name.into(),
            kind,
            description: String::new(),
            default: None,
            required: false,
            sensitive: false,
            deprecated: false,
            query: false,
            allowed_values: Vec::new(),
            display: FieldDisplay::default(),
        }
    }

    /// What the field is for.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// The value of an absent field, coerced like input (`"1h"` for a duration).
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Documents that the field must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Documents that the value must not be shown.
    #[must_use]
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Documents that the field will go.
    #[must_use]
    pub const fn deprecated(mut self) -> Self {
        self.deprecated = true;
        self
    }

    /// Documents that the field comes in the query of a read, list or delete.
    #[must_use]
    pub const fn query(mut self) -> Self {
        self.query = true;
        self
    }

    /// Documents the values that make sense.
    #[must_use]
    pub fn allowed_values<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.allowed_values = values.into_iter().map(Into::into).collect();
        self
    }

    /// The field's name in a form.
    #[must_use]
    pub fn display_name(mut self, text: impl Into<String>) -> Self {
        self.display.name = text.into();
        self
    }

    /// The field's text in a form, where it differs from the description: a form
    /// knows nothing of commas between items, for example.
    #[must_use]
    pub fn display_description(mut self, text: impl Into<String>) -> Self {
        self.display.description = text.into();
        self
    }

    /// A sample value to show in a form.
    #[must_use]
    pub fn display_value(mut self, value: impl Into<Value>) -> Self {
        self.display.value = Some(value.into());
        self
    }

    /// The group of a form that the field stands in.
    #[must_use]
    pub fn group(mut self, text: impl Into<String>) -> Self {
        self.display.group = text.into();
        self
    }

    /// Vault: the kind of input where the type does not tell: `textarea`, `file`.
    #[must_use]
    pub fn edit_type(mut self, text: impl Into<String>) -> Self {
        self.display.edit_type = text.into();
        self
    }

    /// Marks the field that names the thing in a form.
    #[must_use]
    pub const fn identifier(mut self) -> Self {
        self.display.identifier = true;
        self
    }
}
