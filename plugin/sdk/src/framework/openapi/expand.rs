//! A pattern into the plain paths that it stands for.
//!
//! Pure. Optional groups and alternations give several paths; a named group
//! becomes `{name}`. A pattern that cannot be spelled out gives none.

use regex_syntax::ast::{Ast, GroupKind, RepetitionKind, RepetitionOp, RepetitionRange, parse};

/// More spellings than this help nobody.
const PATHS_MAX: usize = 64;

/// The paths, with a leading slash each, without doubles.
pub(super) fn paths(pattern: &str) -> Vec<String> {
    let spelled = parse::Parser::new()
        .parse(pattern)
        .ok()
        .and_then(|ast| spell(&ast));
    let mut paths = Vec::new();
    for path in spelled.unwrap_or_default() {
        let path = format!("/{path}");
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
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
            spelled.extend(spell(&repetition.ast)?);
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
                spelled = spelled
                    .iter()
                    .flat_map(|head| part.iter().map(move |tail| format!("{head}{tail}")))
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
            ("config", &["/config"][..]),
            ("roles/?", &["/roles", "/roles/"]),
            ("roles/(?P<name>[a-z]+)", &["/roles/{name}"]),
            (
                "(config/)?rotate-root",
                &["/rotate-root", "/config/rotate-root"],
            ),
            ("a(b|c)(?P<d>.*)$", &["/ab{d}", "/ac{d}"]),
            ("any/.*", &[]),
            ("(", &[]),
        ] {
            assert_eq!(paths(pattern), expected, "{pattern}");
        }
    }
}
