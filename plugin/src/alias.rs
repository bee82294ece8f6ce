//! The name that a key carries at the gateway: `<prefix>-<role>-<random>`. It
//! is chosen before the key exists, so that a crash in between can be undone.

use rand::RngExt;
use rand::distr::Alphanumeric;

/// 20 of 62 characters are 119 bits: two keys never meet, and nobody guesses
/// the alias of a key that is being issued.
const RANDOM_LENGTH: usize = 20;

/// A new alias. LiteLLM: aliases keep to `[A-Za-z0-9_-]`, so a dot in the
/// role's name becomes an underscore.
pub(crate) fn new(prefix: &str, role: &str) -> String {
    let random: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(RANDOM_LENGTH)
        .map(char::from)
        .collect();
    format!("{prefix}-{}-{random}", role.replace('.', "_"))
}

/// Whether this is an alias that `new` makes for the role.
pub(crate) fn is_of_role(alias: &str, role: &str) -> bool {
    let Some((head, random)) = alias.rsplit_once('-') else {
        return false;
    };
    let prefix = head
        .strip_suffix(&role.replace('.', "_"))
        .and_then(|rest| rest.strip_suffix('-'));
    !role.is_empty()
        && random.len() == RANDOM_LENGTH
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && prefix.is_some_and(is_valid_prefix)
}

/// Whether a gateway that enforces LiteLLM's strictest pattern takes this as
/// the beginning of an alias.
pub(crate) fn is_valid_prefix(prefix: &str) -> bool {
    !prefix.is_empty()
        && prefix.len() <= 64
        && prefix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_is_prefix_role_and_random() {
        let alias = new("vault", "ci.build");
        let random = alias.strip_prefix("vault-ci_build-").unwrap();
        assert_eq!(random.len(), RANDOM_LENGTH);
        assert!(is_valid_prefix(random));
        assert_ne!(alias, new("vault", "ci.build"));
        assert!(is_of_role(&alias, "ci.build"));
        for role in ["build", "ci", "", "vault-ci.build"] {
            assert!(!is_of_role(&alias, role), "{role}");
        }
        for other in [
            "vault-ci_build",
            "vault-ci_build-short",
            "-ci_build-00000000000000000000",
        ] {
            assert!(!is_of_role(other, "ci.build"), "{other}");
        }
    }

    #[test]
    fn prefix_is_checked() {
        for good in ["vault", "a-b_C9"] {
            assert!(is_valid_prefix(good), "{good}");
        }
        for bad in ["", "a b", "ü", "a.b", "a/b", &"x".repeat(65)] {
            assert!(!is_valid_prefix(bad), "{bad}");
        }
    }
}
