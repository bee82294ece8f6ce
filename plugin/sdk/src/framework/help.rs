//! The answers to `path-help`.
//!
//! Owns the two texts: of the whole mount, and of one path. Never fails: the
//! server asks every mount for it when it builds its OpenAPI document.

use serde_json::json;

use super::{backend::Backend, field::Field, openapi, route::Route};
use crate::{Map, Request, Response, Value};

pub(super) fn root<S>(backend: &Backend<S>, document: Value) -> Response {
    let mut paths: Vec<_> = backend.routes.iter().map(|route| &route.path).collect();
    paths.sort_by(|a, b| a.pattern.cmp(&b.pattern));
    let mut text = format!("## DESCRIPTION\n\n{}\n\n## PATHS\n\n", backend.help.trim());
    text.push_str(
        "The following paths are supported by this backend. To view help for\n\
         any of the paths below, use the help command with any route matching\n\
         the path pattern. Note that depending on the policy of your auth token,\n\
         you may or may not be able to access certain paths.\n\n",
    );
    for path in paths {
        text.push_str(&format!(
            "    {}\n        {}\n\n",
            path.pattern,
            path.synopsis.trim()
        ));
    }
    answer(text, document)
}

pub(super) fn path<S>(backend: &Backend<S>, route: &Route<S>, request: &Request) -> Response {
    let mut text = format!(
        "Request:        {}\nMatching Route: {}\n\n{}\n\n## PARAMETERS\n",
        request.path,
        route.path.pattern,
        route.path.synopsis.trim()
    );
    for (name, field) in route.schema.as_ref() {
        text.push_str(&format!(
            "\n    {name} ({})\n        {}\n",
            field.kind.help_name(),
            said_of(field)
        ));
    }
    text.push_str(&format!(
        "\n## DESCRIPTION\n\n{}\n",
        route.path.description.trim()
    ));
    let prefix = request
        .data
        .get("requestResponsePrefix")
        .and_then(Value::as_str);
    answer(
        text,
        openapi::of_route(backend, route, prefix.unwrap_or_default()),
    )
}

/// All that is documented of a field, with nothing between that is not said.
fn said_of(field: &Field) -> String {
    let mut said = String::new();
    if field.deprecated {
        said.push_str("(DEPRECATED) ");
    }
    said.push_str(field.description.trim());
    if field.required {
        said.push_str(" Required.");
    }
    if !field.allowed_values.is_empty() {
        let values = field.allowed_values.iter().map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        });
        said.push_str(" One of: ");
        said.push_str(&values.collect::<Vec<_>>().join(", "));
        said.push('.');
    }
    said
}

fn answer(text: String, document: Value) -> Response {
    let mut data = Map::new();
    data.insert("help".to_owned(), text.into());
    data.insert("see_also".to_owned(), json!(null));
    data.insert("openapi".to_owned(), document);
    Response::data(data)
}
