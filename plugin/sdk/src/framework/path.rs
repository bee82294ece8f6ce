//! One path of an engine: pattern, fields, operations, documentation.
//!
//! Owns the builder. Compiles nothing: `route` does, when the path is added.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    field::Field,
    handler::{ExistsHandler, Handler, HandlerResult, boxed},
};
use crate::{Error, Operation, Request};

/// One path.
pub struct Path<S> {
    pub(crate) pattern: String,
    pub(crate) fields: BTreeMap<String, Field>,
    pub(crate) operations: BTreeMap<Operation, Handler<S>>,
    pub(crate) forwarded: BTreeSet<Operation>,
    pub(crate) exists: Option<ExistsHandler<S>>,
    pub(crate) synopsis: String,
    pub(crate) description: String,
    pub(crate) display: DisplayAttrs,
    pub(crate) takes_arbitrary_input: bool,
}

/// How a user interface shows a path, and how clients name its operations.
#[derive(Clone, Debug, Default)]
pub struct DisplayAttrs {
    /// Name in a form.
    pub name: String,
    /// The kind of thing that a list lists, for example `Role`.
    pub item_type: String,
    /// The label of an action.
    pub action: String,
    /// Whether the path is an entry of the navigation.
    pub navigation: bool,
    /// First part of the operation id, for example `litellm`.
    pub operation_prefix: String,
    /// Second part of the operation id; the operation where empty.
    pub operation_verb: String,
    /// Last part of the operation id; alternatives are split by `|`.
    pub operation_suffix: String,
}

impl<S: Send + Sync + 'static> Path<S> {
    /// A path that matches the whole of `pattern`.
    ///
    /// Named groups become fields. Vault: lists come with a trailing slash, so
    /// a list pattern ends in `/?`.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            fields: BTreeMap::new(),
            operations: BTreeMap::new(),
            forwarded: BTreeSet::new(),
            exists: None,
            synopsis: String::new(),
            description: String::new(),
            display: DisplayAttrs::default(),
            takes_arbitrary_input: false,
        }
    }

    /// Declares a field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.insert(field.name.clone(), field);
        self
    }

    /// Answers `operation` on every node.
    #[must_use]
    pub fn operation<F, Fut>(mut self, operation: Operation, handler: F) -> Self
    where
        F: Fn(std::sync::Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.operations.insert(operation, boxed(handler));
        self
    }

    /// Answers `operation` on the active node only. A standby forwards it
    /// before it reads storage or runs any of the handler.
    #[must_use]
    pub fn operation_forwarded<F, Fut>(mut self, operation: Operation, handler: F) -> Self
    where
        F: Fn(std::sync::Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.forwarded.insert(operation.clone());
        self.operation(operation, handler)
    }

    /// Splits writes into create and update. Without it every write is an update.
    #[must_use]
    pub fn exists<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(std::sync::Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, Error>> + Send + 'static,
    {
        self.exists = Some(boxed(handler));
        self
    }

    /// The generated help's one line and its longer text.
    #[must_use]
    pub fn help(mut self, synopsis: impl Into<String>, description: impl Into<String>) -> Self {
        self.synopsis = synopsis.into();
        self.description = description.into();
        self
    }

    /// How a user interface shows the path.
    #[must_use]
    pub fn display_attrs(mut self, display: DisplayAttrs) -> Self {
        self.display = display;
        self
    }

    /// Leaves out the warning about parameters that no field declares.
    #[must_use]
    pub const fn takes_arbitrary_input(mut self) -> Self {
        self.takes_arbitrary_input = true;
        self
    }
}

impl<S> fmt::Debug for Path<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path")
            .field("pattern", &self.pattern)
            .field("operations", &self.operations.keys())
            .finish_non_exhaustive()
    }
}
