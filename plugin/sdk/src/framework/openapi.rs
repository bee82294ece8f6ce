//! The OpenAPI document of a mount.
//!
//! Owns what the server merges into `sys/internal/specs/openapi`.

mod expand;
mod operation;
mod schema;

use serde_json::json;

use super::{backend::Backend, route::Route};
use crate::{Map, Value};

pub(super) fn document<S>(backend: &Backend<S>, version: &str, prefix: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for route in &backend.routes {
        operation::add(backend, route, prefix, &mut paths, &mut schemas);
    }
    wrap(version, &paths, &schemas)
}

pub(super) fn of_route<S>(backend: &Backend<S>, route: &Route<S>, prefix: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    operation::add(backend, route, prefix, &mut paths, &mut schemas);
    wrap("", &paths, &schemas)
}

fn wrap(version: &str, paths: &Map<String, Value>, schemas: &Map<String, Value>) -> Value {
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
        "paths": paths,
        "components": { "schemas": schemas },
    })
}
