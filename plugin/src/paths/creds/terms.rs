//! What one key may do: the role's grant, narrowed by what the caller asks for.
//! Asking for more than the role allows is an error, never cut silently.

use std::time::Duration;

use vault_plugin_sdk::{Error, FieldData};

use crate::grant::{Grant, check};
use crate::paths::roles::RoleEntry;

mod metadata;

/// What a regular expression reads as more than itself; a dot is in too many
/// names, and matches no more than one character.
const EXPRESSION_CHARACTERS: [char; 12] =
    ['|', '(', ')', '[', ']', '{', '}', '+', '?', '^', '$', '\\'];

#[derive(Debug)]
pub(super) struct Terms {
    pub(super) grant: Grant,
    pub(super) ttl: Option<Duration>,
}

impl Terms {
    /// # Errors
    /// A user error that names the field and its bound.
    pub(super) fn of(role: &RoleEntry, fields: &FieldData) -> Result<Self, Error> {
        let mut grant = role.grant.settled();
        if let Some(models) = fields.strings_opt("models") {
            grant.models = models_within(&grant.models, models)?;
        }
        if let Some(budget) = fields.float_opt("max_budget") {
            grant.max_budget = budget_within(grant.budget(), budget)?;
        }
        for (name, limit) in [
            ("rpm_limit", &mut grant.rpm_limit),
            ("tpm_limit", &mut grant.tpm_limit),
            ("max_parallel_requests", &mut grant.max_parallel_requests),
        ] {
            if let Some(asked) = fields.int_opt(name) {
                *limit = Some(limit_within(name, *limit, asked)?);
            }
        }
        if let Some(metadata) = fields.map_opt("metadata") {
            metadata::add(&mut grant.metadata, metadata)?;
        }
        let ttl = fields.duration_opt("ttl");
        if ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(Error::user(
                "ttl must be at least 1s: leave it out for the role's own",
            ));
        }
        Ok(Self { grant, ttl })
    }
}

fn budget_within(bound: Option<f64>, asked: f64) -> Result<f64, Error> {
    let bound = bound.unwrap_or(f64::INFINITY);
    if asked == 0.0 || asked > bound {
        return Err(wider("max_budget", bound.is_finite().then_some(bound)));
    }
    check::budget("max_budget", asked)?;
    Ok(asked)
}

fn limit_within(name: &str, bound: Option<u64>, asked: i64) -> Result<u64, Error> {
    let asked = u64::try_from(asked).unwrap_or(0);
    if asked == 0 || bound.is_some_and(|bound| asked > bound) {
        return Err(wider(name, bound));
    }
    Ok(asked)
}

/// Zero means no bound, so it is wider than any.
fn wider(name: &str, bound: Option<impl std::fmt::Display>) -> Error {
    Error::user(match bound {
        Some(bound) => format!(
            "{name} must be above 0 and at most the role's {bound}: leave it out for the role's own"
        ),
        None => {
            format!("{name} must be above 0: leave it out, and the key has none, as the role says")
        }
    })
}

fn models_within(bound: &[String], asked: Vec<String>) -> Result<Vec<String>, Error> {
    if asked.is_empty() {
        return Err(Error::user(
            "models must name at least one, because an empty list means every model: leave it out for the role's own",
        ));
    }
    check::names("models", &asked)?;
    let is_within = |model: &String| {
        bound.is_empty() || bound.iter().any(|bound| is_covered(bound.as_str(), model))
    };
    if !asked.iter().all(is_within) {
        return Err(Error::user(format!(
            "models must be among the role's, a pattern in the role's own words: {}",
            bound.join(", ")
        )));
    }
    Ok(asked)
}

/// LiteLLM: `*` in an allowed model stands for any text, and
/// `all-proxy-models` for every model. LiteLLM reads a name with `*` as a
/// regular expression of which nothing is escaped, so whether one pattern
/// covers another can't be told by its text: only the same text is covered.
fn is_covered(bound: &str, asked: &str) -> bool {
    if bound == asked {
        return true;
    }
    if asked.contains('*') {
        return false;
    }
    if bound == "all-proxy-models" {
        return true;
    }
    let Some((start, rest)) = bound.split_once('*') else {
        return false;
    };
    // The first two stand for models that the pattern does not match; in the
    // others the gateway might read more than a name.
    if asked == "all-proxy-models"
        || asked == "all-team-models"
        || asked.contains(EXPRESSION_CHARACTERS)
    {
        return false;
    }
    let Some(mut text) = asked.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests;
