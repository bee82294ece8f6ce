//! Any path to a route, and any pattern to a route and its documentation.

use std::sync::Arc;

use crate::{
    Backend, BackendKind, Field, FieldType, Operation, Path, Response,
    framework::route::{Route, normal},
    generic_name, generic_name_with_at, match_all, optional_part,
    testing::RequestBuilder,
};

/// With a newline: a pattern and a path that is tried on it. Without one: a
/// path that is tried on the patterns of the helpers.
pub fn framework_route(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.split_once('\n') {
        Some((pattern, path)) => any_pattern(pattern, path),
        None => helpers(&text),
    }
}

fn path(pattern: &str, fields: &[&str]) -> Path<()> {
    let declared = fields.iter().fold(Path::new(pattern), |path, name| {
        path.field(Field::new(*name, FieldType::String))
    });
    declared.operation(Operation::Read, |_: Arc<()>, _| async {
        Ok(Some(Response::default()))
    })
}

/// A bad pattern is an error, and a good one can be documented.
fn any_pattern(pattern: &str, asked: &str) {
    let Ok(route) = Route::new(path(pattern, &["a", "b"])) else {
        return;
    };
    route.captures(normal(asked));
    let backend = Backend::new(BackendKind::Secrets, ()).path(path(pattern, &["a", "b"]));
    let help = RequestBuilder::new(Operation::Help, "").build();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let Ok(runtime) = runtime else { return };
    let answer = runtime.block_on(backend.handle(help));
    assert!(matches!(answer, Ok(Some(_))), "the help of a mount failed");
}

fn captured(pattern: &str, field: &str, asked: &str) -> Option<String> {
    let route = Route::new(path(pattern, &[field])).ok()?;
    route.captures(normal(asked))?.remove(field)
}

/// What the patterns mean, said without a regular expression.
fn helpers(asked: &str) {
    let asked = normal(asked);
    let rest = asked.strip_prefix("r/");
    let expected = |inner| rest.filter(|name| is_name(name, inner));
    let name = captured(&format!("r/{}", generic_name("n")), "n", asked);
    assert_eq!(name.as_deref(), expected("-."), "generic_name");
    let name = captured(&format!("r/{}", generic_name_with_at("n")), "n", asked);
    assert_eq!(name.as_deref(), expected("-.@"), "generic_name_with_at");
    let all = captured(&format!("r/{}", match_all("n")), "n", asked);
    let one_line = rest.filter(|rest| !rest.contains('\n'));
    assert_eq!(all.as_deref(), one_line, "match_all");
    let part = captured(&format!("r{}", optional_part("n")), "n", asked);
    let rest = if asked == "r" {
        Some("")
    } else {
        one_line.filter(|rest| !rest.is_empty())
    };
    assert_eq!(part.as_deref(), rest, "optional_part");
}

fn is_name(name: &str, inner: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(word)
        && name.ends_with(word)
        && name.chars().all(|c| word(c) || inner.contains(c))
}
