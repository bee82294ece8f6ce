//! Owns how deep the JSON of a body may be nested. Pure; looked at before the
//! body is parsed.

use crate::error::ApiError;

/// Deeper JSON than any client sends; a provider's parser may be recursive, and a
/// value that is kept is read again by others.
const DEPTH_MAX: usize = 64;

/// # Errors
/// 400 where it is nested deeper.
pub(crate) fn shallow(body: &[u8]) -> Result<(), ApiError> {
    if depth(body) > DEPTH_MAX {
        return Err(ApiError::bad_request(
            "body",
            format!("the body is nested deeper than {DEPTH_MAX} levels"),
        ));
    }
    Ok(())
}

/// The deepest nesting of brackets outside texts. Broken JSON gives some
/// number; the parser refuses it afterwards.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = body;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => rest = behind_text(behind),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What stands behind the quotation mark that ends a text. Texts are nearly all
/// of a long body, and most of them hold nothing to stop at.
fn behind_text(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let is_end = rest.get(at) == Some(&b'"');
        // A backslash takes what follows it along.
        let next = at + if is_end { 1 } else { 2 };
        rest = rest.get(next..).unwrap_or_default();
        if is_end {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::shallow;

    #[test]
    fn h9_json_is_nested_sixty_four_deep_at_most() {
        let nested = |deep: usize| format!("{}1{}", "[".repeat(deep), "]".repeat(deep));
        let text = format!(r#"{{"a":"\"{}\\"}}"#, "[".repeat(100));
        for (body, is_shallow) in [
            (nested(64), true),
            (nested(65), false),
            (nested(1_000_000), false),
            (text, true),
            ("[]".repeat(100), true),
            ("]".repeat(100) + &nested(64), true),
            ("{\"a\":".repeat(65), false),
        ] {
            let start = body.get(..20).unwrap_or(&body);
            assert_eq!(shallow(body.as_bytes()).is_ok(), is_shallow, "{start}");
        }
    }
}
