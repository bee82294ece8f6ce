//! From a request's path to the path that answers it.
//!
//! Pure. Vault: patterns are tried in the order of declaration and the first
//! match wins; `^` and `$` are added where missing; a group that took no part
//! in the match is still set, to empty text.

use std::{collections::BTreeMap, sync::Arc};

use regex::bytes::{Regex, RegexBuilder};

use super::{field::Field, path::Path};

/// A path with its pattern compiled and its schema shared.
pub(crate) struct Route<S> {
    pub(crate) path: Path<S>,
    pub(crate) schema: Arc<BTreeMap<String, Field>>,
    regex: Regex,
}

impl<S> Route<S> {
    /// Compiles, or says what is wrong with the declaration.
    pub(crate) fn new(mut path: Path<S>) -> Result<Self, String> {
        if path.pattern.is_empty() {
            return Err("a path has an empty pattern".to_owned());
        }
        if path.operations.contains_key(&crate::Operation::Create) && path.exists.is_none() {
            return Err(format!(
                "the path {:?} has a create operation but no existence check",
                path.pattern
            ));
        }
        let mut documented = path.docs.keys();
        if let Some(operation) = documented.find(|op| !path.operations.contains_key(op)) {
            return Err(format!(
                "the path {:?} documents the operation {operation} but does not answer it",
                path.pattern
            ));
        }
        // Vault: Go's `\w` is ASCII, so Unicode classes are off. Over text that
        // would forbid a plain dot; over bytes it does not, and a group that
        // would cut a character in two counts as no match.
        let regex = RegexBuilder::new(&anchored(&path.pattern))
            .unicode(false)
            .build()
            .map_err(|error| format!("the pattern {:?} does not compile: {error}", path.pattern))?;
        for group in regex.capture_names().flatten() {
            if !path.fields.contains_key(group) {
                return Err(format!(
                    "the pattern {:?} captures {group:?}, which is not a field",
                    path.pattern
                ));
            }
        }
        let schema = Arc::new(std::mem::take(&mut path.fields));
        Ok(Self {
            path,
            schema,
            regex,
        })
    }

    /// The names of all groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.regex.capture_names().flatten()
    }

    /// The captures, if `path` matches.
    pub(crate) fn captures(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let found = self.regex.captures(path.as_bytes())?;
        let named = self.regex.capture_names().flatten().map(|name| {
            let value = found.name(name).map_or(&[][..], |group| group.as_bytes());
            Some((name.to_owned(), std::str::from_utf8(value).ok()?.to_owned()))
        });
        named.collect()
    }
}

fn anchored(pattern: &str) -> String {
    let start = if pattern.starts_with('^') { "" } else { "^" };
    let end = if pattern.ends_with('$') { "" } else { "$" };
    format!("{start}{pattern}{end}")
}

/// A request's path as patterns see it: a lone slash is empty.
pub(crate) fn normal(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// A named group for a name in a path: letters, digits and `_`, with `-` and
/// `.` inside.
pub fn generic_name(name: &str) -> String {
    format!(r"(?P<{name}>\w(([\w.-]+)?\w)?)")
}

/// A named group for a name that may also hold `@`.
pub fn generic_name_with_at(name: &str) -> String {
    format!(r"(?P<{name}>\w(([\w.@-]+)?\w)?)")
}

/// A named group for an optional last part of a path, slashes included.
pub fn optional_part(name: &str) -> String {
    format!("(/(?P<{name}>.+))?")
}

/// A named group for all the rest of a path.
pub fn match_all(name: &str) -> String {
    format!("(?P<{name}>.*)")
}

#[cfg(test)]
mod tests;
