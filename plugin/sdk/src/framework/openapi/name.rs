//! The names that client generators build on.
//!
//! Pure. Vault: an operation's id is prefix, verb and suffix joined by dashes;
//! what the display attributes leave open comes from the path and the operation.

use crate::{DisplayAttrs, Operation};

/// What an id is made of beside the display attributes.
pub(super) struct Parts<'a> {
    pub(super) operation: &'a Operation,
    /// The spelled-out path, and which of its pattern's spellings it is.
    pub(super) path: &'a str,
    pub(super) index: usize,
    /// What the server wants in front where nothing else is said.
    pub(super) prefix: &'a str,
}

pub(super) fn operation_id(
    parts: &Parts<'_>,
    of_operation: &DisplayAttrs,
    of_path: &DisplayAttrs,
) -> String {
    let first = |own: &'_ str, other: &'_ str| if own.is_empty() { other } else { own }.to_owned();
    let mut prefix = first(&of_operation.operation_prefix, &of_path.operation_prefix);
    let mut verb = first(&of_operation.operation_verb, &of_path.operation_verb);
    let suffix = first(&of_operation.operation_suffix, &of_path.operation_suffix);
    let mut suffixes = suffix.split('|');
    // Spellings beyond the suffixes given fall back to their path.
    let mut suffix = suffixes.nth(parts.index).map(str::to_owned);
    if suffix.as_ref().is_none_or(String::is_empty) && (suffix.is_none() || verb.is_empty()) {
        suffix = Some(words(parts.path));
    }
    if prefix.is_empty() && verb.is_empty() {
        parts.prefix.clone_into(&mut prefix);
    }
    if verb.is_empty() {
        verb = match parts.operation {
            Operation::Update => "write".to_owned(),
            other => other.as_str().to_owned(),
        };
    }
    let parts = [prefix, verb, suffix.unwrap_or_default()];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("-").to_lowercase()
}

/// The words of a path, its parameters' names included, joined by dashes.
fn words(path: &str) -> String {
    let words = path.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// The name of a schema: each word of the id with a capital.
pub(super) fn schema(id: &str, role: &str) -> String {
    let mut name = String::new();
    for word in id.split('-') {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.extend(chars);
    }
    name + role
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(prefix: &str, verb: &str, suffix: &str) -> DisplayAttrs {
        DisplayAttrs {
            operation_prefix: prefix.to_owned(),
            operation_verb: verb.to_owned(),
            operation_suffix: suffix.to_owned(),
            ..DisplayAttrs::default()
        }
    }

    fn id(index: usize, of_operation: &DisplayAttrs, of_path: &DisplayAttrs) -> String {
        let parts = Parts {
            operation: &Operation::Update,
            path: "static-roles/{name}",
            index,
            prefix: "type",
        };
        operation_id(&parts, of_operation, of_path)
    }

    #[test]
    fn what_is_left_open_comes_from_path_and_operation() {
        let none = attrs("", "", "");
        for (of_operation, of_path, expected) in [
            (&none, &none, "type-write-static-roles-name"),
            (&none, &attrs("Own", "", ""), "own-write-static-roles-name"),
            (&none, &attrs("own", "", "role"), "own-write-role"),
            (&none, &attrs("", "check", ""), "check"),
            (&none, &attrs("own", "check", ""), "own-check"),
            (
                &attrs("", "do", "it"),
                &attrs("own", "check", "role"),
                "own-do-it",
            ),
        ] {
            assert_eq!(id(0, of_operation, of_path), expected);
        }
    }

    #[test]
    fn suffixes_are_counted_by_spelling() {
        let none = attrs("", "", "");
        let two = attrs("own", "", "role|key");
        assert_eq!(id(0, &none, &two), "own-write-role");
        assert_eq!(id(1, &none, &two), "own-write-key");
        assert_eq!(id(2, &none, &two), "own-write-static-roles-name");
        let verb = attrs("own", "do", "role");
        assert_eq!(id(1, &none, &verb), "own-do-static-roles-name");
    }

    #[test]
    fn a_schema_is_named_after_its_operation() {
        assert_eq!(schema("own-write-role", "Request"), "OwnWriteRoleRequest");
    }
}
