//! One route's entries in the OpenAPI document.
//!
//! Owns which verb an operation becomes, where each field goes, and what it
//! answers. Vault: the rules of its framework, which its interface and its
//! client generators rely on.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Document, expand, name, schema};
use crate::{
    Map, Operation, Value,
    framework::{backend::Backend, docs::OperationDocs, field::Field, route::Route},
};

pub(super) fn add<S>(
    backend: &Backend<S>,
    route: &Route<S>,
    prefix: &str,
    document: &mut Document,
) {
    let pattern = route.path.pattern.as_str();
    let Some(spelled) = expand::paths(pattern) else {
        // A person who reads the document sees that the path is there.
        let item = Spelling::new(backend, route, prefix, 0, pattern).item(pattern);
        document.paths.insert(format!("/{pattern}"), item.into());
        return;
    };
    for (index, path) in spelled.iter().enumerate() {
        Spelling::new(backend, route, prefix, index, path).add(document);
    }
}

/// One of the plain paths that a pattern stands for.
struct Spelling<'a, S> {
    backend: &'a Backend<S>,
    route: &'a Route<S>,
    prefix: &'a str,
    index: usize,
    path: &'a str,
    /// Every group of the pattern, also of its other spellings.
    captures: BTreeSet<&'a str>,
}

impl<'a, S> Spelling<'a, S> {
    fn new(
        backend: &'a Backend<S>,
        route: &'a Route<S>,
        prefix: &'a str,
        index: usize,
        path: &'a str,
    ) -> Self {
        Self {
            backend,
            route,
            prefix,
            index,
            path,
            captures: route.groups().collect(),
        }
    }

    fn add(&self, document: &mut Document) {
        let mut item = self.item(self.path);
        let mut verbs = Map::new();
        let mut listed = None;
        for operation in self.route.path.operations.keys() {
            let docs = self.docs(operation);
            if docs.unpublished {
                continue;
            }
            match operation {
                Operation::Create => {
                    item.insert("x-vault-createSupported".to_owned(), true.into());
                    // Vault: where both are there, the update speaks for both.
                    if !self.route.path.operations.contains_key(&Operation::Update) {
                        verbs.insert("post".to_owned(), self.write(operation, &docs, document));
                    }
                }
                Operation::Update => {
                    verbs.insert("post".to_owned(), self.write(operation, &docs, document));
                }
                Operation::Patch => {
                    verbs.insert("patch".to_owned(), self.write(operation, &docs, document));
                }
                Operation::Read => {
                    verbs.insert("get".to_owned(), self.plain(operation, &docs, document));
                }
                Operation::Delete => {
                    verbs.insert("delete".to_owned(), self.plain(operation, &docs, document));
                }
                Operation::List => listed = Some(self.plain(operation, &docs, document)),
                _ => {}
            }
        }
        // Vault: only a list can be called with a slash at the end.
        let folder = self.path.ends_with('/');
        if folder {
            verbs.clear();
        }
        if listed.is_none() || !verbs.is_empty() {
            item.append(&mut verbs);
            document
                .paths
                .insert(format!("/{}", self.path), item.into());
        }
        if let Some(list) = listed {
            let path = format!("{}/", self.path.trim_end_matches('/'));
            let mut item = self.item(&path);
            item.insert("get".to_owned(), list);
            document.paths.insert(format!("/{path}"), item.into());
        }
    }

    /// What all operations of `path` share.
    fn item(&self, path: &str) -> Map<String, Value> {
        let special = &self.backend.special_paths;
        let mut item = Map::new();
        item.insert(
            "description".to_owned(),
            schema::one_line(&self.route.path.synopsis).into(),
        );
        if covers(&special.root, path) {
            item.insert("x-vault-sudo".to_owned(), true.into());
        }
        if covers(&special.unauthenticated, path) {
            item.insert("x-vault-unauthenticated".to_owned(), true.into());
        }
        let parameters: Vec<_> = self
            .fields()
            .filter(|field| self.in_path(field))
            .map(|field| schema::parameter(field, "path"))
            .collect();
        if !parameters.is_empty() {
            item.insert("parameters".to_owned(), parameters.into());
        }
        let display = schema::path_display(&self.route.path.display);
        if !display.is_empty() {
            item.insert("x-vault-displayAttrs".to_owned(), display.into());
        }
        item
    }

    fn docs(&self, operation: &Operation) -> OperationDocs {
        let docs = self.route.path.docs.get(operation);
        docs.cloned().unwrap_or_default()
    }

    fn fields(&self) -> impl Iterator<Item = &'a Field> + use<'a, S> {
        self.route.schema.values()
    }

    fn in_path(&self, field: &Field) -> bool {
        self.path.contains(&format!("{{{}}}", field.name))
    }

    fn is_capture(&self, field: &Field) -> bool {
        self.captures.contains(field.name.as_str())
    }

    /// An operation without a body.
    fn plain(&self, operation: &Operation, docs: &OperationDocs, document: &mut Document) -> Value {
        let mut plain = self.base(operation, docs, document);
        let mut parameters: Vec<_> = self
            .fields()
            .filter(|field| field.query && !self.is_capture(field))
            .map(|field| schema::parameter(field, "query"))
            .collect();
        if *operation == Operation::List {
            parameters.push(json!({
                "name": "list",
                "description": "Must be set to `true`",
                "in": "query",
                "required": true,
                "schema": { "type": "string", "enum": ["true"] },
            }));
        }
        let snapshots = &self.backend.special_paths.allow_snapshot_read;
        if *operation != Operation::Delete && covers(snapshots, self.path) {
            parameters.push(json!({
                "name": "read_snapshot_id",
                "description": "The loaded snapshot to read from",
                "in": "query",
                "schema": { "type": "string" },
            }));
        }
        if !parameters.is_empty() {
            parameters.sort_by_key(|parameter| parameter["name"].to_string());
            plain.insert("parameters".to_owned(), parameters.into());
        }
        plain.into()
    }

    /// An operation with a body. Vault: query fields can stand in it too.
    fn write(&self, operation: &Operation, docs: &OperationDocs, document: &mut Document) -> Value {
        let mut write = self.base(operation, docs, document);
        let fields = self.fields().filter(|field| !self.is_capture(field));
        let mut body = schema::object(fields);
        let has_fields = body["properties"] != json!({});
        if self.route.path.takes_arbitrary_input {
            body["additionalProperties"] = true.into();
        } else if !has_fields {
            return write.into();
        }
        if let Some(example) = &docs.example {
            body["example"] = example.clone();
        }
        let content = if has_fields {
            let name = name::schema(&self.id(operation, docs), "Request");
            let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
            document.schemas.insert(name, body);
            reference
        } else {
            body
        };
        write.insert(
            "requestBody".to_owned(),
            json!({
                "required": true,
                "content": { "application/json": { "schema": content } },
            }),
        );
        write.into()
    }

    fn base(
        &self,
        operation: &Operation,
        docs: &OperationDocs,
        document: &mut Document,
    ) -> Map<String, Value> {
        let path = &self.route.path;
        let summary = if docs.summary.is_empty() {
            &path.synopsis
        } else {
            &docs.summary
        };
        let id = self.id(operation, docs);
        let mut base = Map::new();
        base.insert("summary".to_owned(), schema::one_line(summary).into());
        if !docs.description.is_empty() {
            base.insert("description".to_owned(), docs.description.trim().into());
        }
        if docs.deprecated {
            base.insert("deprecated".to_owned(), true.into());
        }
        base.insert("tags".to_owned(), json!([self.backend.kind.tag()]));
        base.insert(
            "responses".to_owned(),
            schema::responses(operation, docs, &id, document),
        );
        base.insert("operationId".to_owned(), id.into());
        base
    }

    fn id(&self, operation: &Operation, docs: &OperationDocs) -> String {
        let parts = name::Parts {
            operation,
            path: self.path,
            index: self.index,
            prefix: self.prefix,
        };
        name::operation_id(&parts, &docs.display, &self.route.path.display)
    }
}

/// Vault: exact, a prefix before a trailing `*`, or `+` for one part.
fn covers(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| {
        let (pattern, prefix) = match pattern.strip_suffix('*') {
            Some(pattern) => (pattern, true),
            None => (pattern.as_str(), false),
        };
        if !pattern.contains('+') {
            return pattern == path || (prefix && path.starts_with(pattern));
        }
        let mut parts = path.split('/');
        let mut wanted = pattern.split('/').peekable();
        while let Some(part) = wanted.next() {
            let last = prefix && wanted.peek().is_none();
            match parts.next() {
                Some(found) if last => return found.starts_with(part),
                Some(found) if part == "+" || part == found => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn special_paths_match_as_on_the_server() {
        for (pattern, path, expected) in [
            ("login", "login", true),
            ("login", "login/x", false),
            ("login/*", "login/x/y", true),
            ("login*", "login", true),
            ("role/+/login", "role/{name}/login", true),
            ("role/+/login", "role/{name}/logout", false),
            ("role/+/login", "role/{name}", false),
            ("role/+/login", "role/{name}/login/x", false),
            ("role/+/log*", "role/{name}/login/x", true),
        ] {
            assert_eq!(covers(&[pattern.to_owned()], path), expected, "{pattern}");
        }
    }
}
