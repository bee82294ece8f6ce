//! The text of a gateway's error, in whichever of its three shapes it comes,
//! fit to be shown: short, one line, without anything that could be a key.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::MasterKey;

const MAX_CHARS: usize = 300;

/// A key, or the hash of one: LiteLLM prints the hash of a key that it refuses.
#[expect(clippy::expect_used, reason = "a constant pattern, compiled by a test")]
static KEY_SHAPED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"sk-[A-Za-z0-9_\-.]+|[0-9A-Fa-f]{32,}").expect("constant pattern")
});

pub(super) fn message(body: &[u8], master_key: &MasterKey) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => of_json(&value),
        Err(_) => "the body is not JSON".to_owned(),
    };
    redacted(&text, master_key)
}

/// LiteLLM: `{"error":{"message"}}`, `{"error":"…"}`, or `{"detail":…}`, which
/// is a text, an object, or a list of validation errors with `msg`.
fn of_json(value: &Value) -> String {
    let error = &value["error"];
    let detail = &value["detail"];
    [
        &error["message"],
        error,
        &detail["error"],
        &detail[0]["msg"],
        detail,
    ]
    .into_iter()
    .find_map(Value::as_str)
    .unwrap_or("the body names no error")
    .to_owned()
}

fn redacted(text: &str, master_key: &MasterKey) -> String {
    let without_admin_key = if master_key.is_empty() {
        text.to_owned()
    } else {
        text.replace(master_key.expose(), "…")
    };
    KEY_SHAPED
        .replace_all(&without_admin_key, "…")
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(MAX_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &str) {
        let key = MasterKey::parse("canary-admin").unwrap();
        assert_eq!(message(body.as_bytes(), &key), expected, "{body}");
    }

    #[test]
    fn each_shape_is_read_and_no_key_is_shown() {
        check(r#"{"error":{"message":"no such alias"}}"#, "no such alias");
        check(r#"{"error":"No keys found"}"#, "No keys found");
        check(r#"{"detail":{"error":"No keys found"}}"#, "No keys found");
        check(
            r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
            "field required",
        );
        check(r#"{"detail":"not allowed"}"#, "not allowed");
        check(
            r#"{"error":{"message":"bad sk-abc_12-3, canary-admin\n"}}"#,
            "bad …, … ",
        );
        let hash = "900ecc40".repeat(8);
        check(
            &format!(r#"{{"error":"Key Hash (Token) ={hash}."}}"#),
            "Key Hash (Token) =….",
        );
        check("<html>", "the body is not JSON");
        check("[]", "the body names no error");
        check("7", "the body names no error");
    }
}
