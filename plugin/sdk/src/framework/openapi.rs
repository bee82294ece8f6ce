//! The OpenAPI document of a mount.
//!
//! Owns what the server merges into `sys/internal/specs/openapi`.

mod expand;
mod name;
mod operation;
mod schema;
#[cfg(test)]
mod tests;

use serde_json::json;

use super::{backend::Backend, route::Route};
use crate::{Map, Value};

/// The parts that routes add to.
#[derive(Default)]
struct Document {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

pub(super) fn document<S>(backend: &Backend<S>, version: &str, prefix: &str) -> Value {
    let mut document = Document::default();
    for route in &backend.routes {
        operation::add(backend, route, prefix, &mut document);
    }
    wrap(version, &document)
}

pub(super) fn of_route<S>(backend: &Backend<S>, route: &Route<S>, prefix: &str) -> Value {
    let mut document = Document::default();
    operation::add(backend, route, prefix, &mut document);
    wrap("", &document)
}

fn wrap(version: &str, document: &Document) -> Value {
    json!({
        "openapi": "3.0.2",
        "info": {
            "title": "HashiCorp Vault API",
            "description": "HTTP API that gives you full access to Vault. All API routes are prefixed with `/v1/`.",
            "version": version,
            "license": {
                "name": "Mozilla Public License 2.0",
                "url": "https://www.mozilla.org/en-US/MPL/2.0",
            },
        },
        "paths": document.paths,
        "components": { "schemas": document.schemas },
    })
}
