//! What is said of one operation of a path.
//!
//! Owns the words alone: nothing here changes what an operation does. Help and
//! the OpenAPI document show them.

use std::collections::BTreeMap;

use super::{field::Field, path::DisplayAttrs};
use crate::Value;

#[derive(Clone, Debug, Default)]
pub(crate) struct OperationDocs {
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) display: DisplayAttrs,
    pub(crate) deprecated: bool,
    pub(crate) unpublished: bool,
    pub(crate) example: Option<Value>,
    pub(crate) responses: BTreeMap<u16, ResponseDocs>,
}

/// What an operation answers with one status.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseDocs {
    pub(crate) description: String,
    pub(crate) fields: Vec<Field>,
}
