//! Owns the question whether the `models` of a key or its team cover a model. Pure. Called for
//! every call and for `GET /v1/models`.

/// LiteLLM: an empty list allows all, and so do its two group names (what the
/// team's models are is asked besides); an entry is a name, or a pattern in which each
/// `*` stands for any text, as in `openai/*`.
pub(super) fn allows(models: &[String], model: &str) -> bool {
    models.is_empty()
        || models.iter().any(|allowed| {
            matches!(allowed.as_str(), "all-proxy-models" | "all-team-models")
                || matches(allowed, model)
        })
}

fn matches(pattern: &str, model: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == model;
    };
    let Some(mut left) = model.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').collect::<Vec<_>>();
    let end = parts.pop().unwrap_or_default();
    // The first place that fits leaves the most for what follows.
    for part in parts {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn models_are_allowed_by_name_group_and_pattern() {
        for (models, model, expected) in [
            (&[][..], "gpt", true),
            (&["gpt"], "gpt", true),
            (&["gpt"], "gpt-4", false),
            (&["GPT"], "gpt", false),
            (&["a", "gpt"], "gpt", true),
            (&["all-proxy-models"], "gpt", true),
            (&["all-team-models"], "gpt", true),
            (&["no-default-models"], "gpt", false),
            (&["*"], "gpt", true),
            (&["openai/*"], "openai/gpt", true),
            (&["openai/*"], "openai", false),
            (&["openai/*"], "azure/openai/gpt", false),
            (&["*-mini"], "gpt-mini", true),
            (&["*-mini"], "gpt-mini-2", false),
            (&["gpt-*-mini"], "gpt-5-mini", true),
            (&["gpt-*-mini"], "gpt-mini", false),
            (&["a*b*b"], "ab", false),
            (&["a*b*b"], "abb", true),
            (&["a*b*c*d"], "a-b-c-b-c-d", true),
            (&["a*b*c*d"], "a-c-b-d", false),
            (&["**"], "", true),
            (&[""], "gpt", false),
        ] {
            let models: Vec<String> = models.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(allows(&models, model), expected, "{models:?} {model}");
        }
    }
}
