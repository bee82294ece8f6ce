//! One path of an engine: pattern, fields, operations, documentation.
//!
//! Owns the builder. Compiles nothing: `route` does, when the path is added.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    docs::{OperationDocs, ResponseDocs},
    field::Field,
    handler::{ExistsHandler, Handler, HandlerResult, boxed},
};
use crate::{Error, Operation, Request, Value};

/// One path.
pub struct Path<S> {
    pub(crate) pattern: String,
    pub(crate) fields: BTreeMap<String, Field>,
    pub(crate) operations: BTreeMap<Operation, Handler<S>>,
    pub(crate) forwarded: BTreeSet<Operation>,
    pub(crate) on_primary: BTreeSet<Operation>,
    pub(crate) docs: BTreeMap<Operation, OperationDocs>,
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
    /// Text beside the name.
    pub description: String,
    /// The group of a form that the path stands in.
    pub group: String,
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
            on_primary: BTreeSet::new(),
            docs: BTreeMap::new(),
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

    /// Answers `operation` on the active node of the primary cluster only. A
    /// standby forwards it, and so does Vault Enterprise's performance secondary
    /// unless the mount is local to it: for what is outside and exists once, such
    /// as the rotation of a credential that all clusters share.
    #[must_use]
    pub fn operation_on_primary<F, Fut>(mut self, operation: Operation, handler: F) -> Self
    where
        F: Fn(std::sync::Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_primary.insert(operation.clone());
        self.operation_forwarded(operation, handler)
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

    /// Documents what `operation` does, in one line; the path's own line
    /// where this is not said.
    #[must_use]
    pub fn summary(mut self, operation: Operation, text: impl Into<String>) -> Self {
        self.docs_of(operation).summary = text.into();
        self
    }

    /// Documents `operation` at length; Markdown is allowed.
    #[must_use]
    pub fn description(mut self, operation: Operation, text: impl Into<String>) -> Self {
        self.docs_of(operation).description = text.into();
        self
    }

    /// Documents what `operation` answers with `status`. The fields are those
    /// under `data`; without any, only the text is shown.
    #[must_use]
    pub fn response(
        mut self,
        operation: Operation,
        status: u16,
        description: impl Into<String>,
        fields: impl IntoIterator<Item = Field>,
    ) -> Self {
        let response = ResponseDocs {
            description: description.into(),
            fields: fields.into_iter().collect(),
        };
        self.docs_of(operation).responses.insert(status, response);
        self
    }

    /// Documents a body that `operation` takes.
    #[must_use]
    pub fn example(mut self, operation: Operation, body: impl Into<Value>) -> Self {
        self.docs_of(operation).example = Some(body.into());
        self
    }

    /// Documents that `operation` will go.
    #[must_use]
    pub fn deprecated(mut self, operation: Operation) -> Self {
        self.docs_of(operation).deprecated = true;
        self
    }

    /// Leaves `operation` out of the OpenAPI document.
    #[must_use]
    pub fn unpublished(mut self, operation: Operation) -> Self {
        self.docs_of(operation).unpublished = true;
        self
    }

    /// How clients name `operation`, where the path's own attributes do not fit.
    /// Of these attributes only the `operation_…` ones count.
    #[must_use]
    pub fn operation_display_attrs(mut self, operation: Operation, display: DisplayAttrs) -> Self {
        self.docs_of(operation).display = display;
        self
    }

    fn docs_of(&mut self, operation: Operation) -> &mut OperationDocs {
        self.docs.entry(operation).or_default()
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
