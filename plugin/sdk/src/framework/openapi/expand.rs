//! A pattern into the plain paths that it stands for.
//!
//! Pure. Optional groups and alternations give several paths; a named group
//! becomes `{name}`. Vault: in this order, because the suffixes of operation ids
//! are counted by it; and an optional slash at the end gives no path of its own.

use regex_syntax::ast::{Ast, GroupKind, RepetitionKind, RepetitionOp, RepetitionRange, parse};

/// More spellings than this help nobody.
const PATHS_MAX: usize = 64;

/// Stands for an optional slash until it is known whether anything follows.
const OPTIONAL_SLASH: char = '\u{0}';

/// The paths, without doubles and without a leading slash. `None` for a pattern
/// that cannot be spelled out.
pub(super) fn paths(pattern: &str) -> Option<Vec<String>> {
    let ast = parse::Parser::new().parse(pattern).ok()?;
    let mut paths = Vec::new();
    for path in spell(&ast)? {
        if path.ends_with(OPTIONAL_SLASH) {
            continue;
        }
        let path = path.replace(OPTIONAL_SLASH, "/");
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Some(paths)
}

fn spell(ast: &Ast) -> Option<Vec<String>> {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Assertion(_) => Some(vec![String::new()]),
        Ast::Literal(literal) => Some(vec![literal.c.to_string()]),
        Ast::Group(group) => match &group.kind {
            GroupKind::CaptureName { name, .. } => Some(vec![format!("{{{}}}", name.name)]),
            GroupKind::CaptureIndex(_) | GroupKind::NonCapturing(_) => spell(&group.ast),
        },
        Ast::Repetition(repetition) if may_be_absent(&repetition.op) => {
            let mut spelled = vec![String::new()];
            match &*repetition.ast {
                Ast::Literal(literal) if literal.c == '/' => {
                    spelled.push(OPTIONAL_SLASH.to_string());
                }
                other => spelled.extend(spell(other)?),
            }
            Some(spelled)
        }
        Ast::Alternation(alternation) => {
            let mut spelled = Vec::new();
            for branch in &alternation.asts {
                spelled.extend(spell(branch)?);
            }
            Some(spelled)
        }
        Ast::Concat(concat) => {
            let mut spelled = vec![String::new()];
            for part in &concat.asts {
                let part = spell(part)?;
                spelled = part
                    .iter()
                    .flat_map(|tail| spelled.iter().map(move |head| format!("{head}{tail}")))
                    .collect();
                if spelled.len() > PATHS_MAX {
                    return None;
                }
            }
            Some(spelled)
        }
        Ast::Repetition(_)
        | Ast::Dot(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => None,
    }
}

fn may_be_absent(op: &RepetitionOp) -> bool {
    matches!(
        op.kind,
        RepetitionKind::ZeroOrOne | RepetitionKind::Range(RepetitionRange::Bounded(0, 1))
    )
}

#[cfg(test)]
mod tests {
    use super::paths;

    #[test]
    fn patterns_are_spelled_out() {
        for (pattern, expected) in [
            ("config", &["config"][..]),
            ("roles/?", &["roles"]),
            ("roles/?$", &["roles"]),
            ("roles/(?P<name>[a-z]+)", &["roles/{name}"]),
            (
                "(config/)?rotate-root",
                &["rotate-root", "config/rotate-root"],
            ),
            ("a(b|c)(?P<d>.*)$", &["ab{d}", "ac{d}"]),
            ("a/?(b)?", &["a", "ab", "a/b"]),
            ("(a|b)(c|d)", &["ac", "bc", "ad", "bd"]),
        ] {
            assert_eq!(paths(pattern).unwrap(), expected, "{pattern}");
        }
        for pattern in ["any/.*", "(", r"\w+"] {
            assert_eq!(paths(pattern), None, "{pattern}");
        }
    }
}
