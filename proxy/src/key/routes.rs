//! Owns the question whether a key's `allowed_routes` cover a path. Pure.
//! Called by authentication for every call of a key that does not ask about
//! itself.

/// Routes that spend money: LiteLLM's group `llm_api_routes`.
const LLM_API: [&str; 11] = [
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/messages/count_tokens",
    "/images/generations",
    "/audio/speech",
    "/audio/transcriptions",
    "/moderations",
    "/models",
];

/// Routes that change nothing: LiteLLM's group `info_routes`.
const INFO: [&str; 6] = [
    "/models",
    "/key/info",
    "/key/list",
    "/team/info",
    "/team/list",
    "/user/info",
];

/// How the routes of LiteLLM's group `management_routes` begin.
const MANAGEMENT: [&str; 4] = ["/key/", "/team/", "/user/", "/budget/"];

/// LiteLLM: an empty list allows all; an entry is a group, a path, or a path
/// that ends in `*`. A path counts with and without `/v1`, but `/v1/*` covers
/// none that manages keys: those are called without it.
pub(crate) fn allows(allowed_routes: &[String], path: &str) -> bool {
    let (bare, is_versioned) = match path.strip_prefix("/v1") {
        Some(bare) => (bare, true),
        None => (path, LLM_API.contains(&path)),
    };
    allowed_routes.is_empty()
        || allowed_routes.iter().any(|route| match route.as_str() {
            "llm_api_routes" | "openai_routes" => LLM_API.contains(&bare),
            "info_routes" => INFO.contains(&bare),
            "management_routes" => MANAGEMENT.iter().any(|start| bare.starts_with(start)),
            route => match route.strip_prefix("/v1") {
                Some(route) => is_versioned && matches(route, bare),
                None => matches(route, bare),
            },
        })
}

fn matches(route: &str, path: &str) -> bool {
    match route.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => route == path,
    }
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn routes_are_allowed_by_group_path_and_pattern() {
        for (routes, path, expected) in [
            (&[][..], "/v1/chat/completions", true),
            (&["llm_api_routes"], "/v1/chat/completions", true),
            (&["llm_api_routes"], "/chat/completions", true),
            (&["llm_api_routes"], "/key/generate", false),
            (&["info_routes"], "/v1/chat/completions", false),
            (&["management_routes"], "/v1/chat/completions", false),
            (&["management_routes"], "/key/generate", true),
            (&["management_routes"], "/team/new", true),
            (&["management_routes"], "/audit", false),
            (&["info_routes"], "/team/new", false),
            (&["info_routes"], "/key/list", true),
            (&["info_routes"], "/key/generate", false),
            (&["/v1/models"], "/models", true),
            (&["/v1/models"], "/v1/chat/completions", false),
            (&["/chat/*"], "/v1/chat/completions", true),
            (&["/v1/*"], "/v1/chat/completions", true),
            (&["/v1/*"], "/chat/completions", true),
            (&["/v1/*"], "/v1/usage", true),
            (&["/v1/*"], "/key/generate", false),
            (&["/v1/key/*"], "/key/generate", false),
        ] {
            let routes: Vec<String> = routes.iter().map(|route| (*route).to_owned()).collect();
            assert_eq!(allows(&routes, path), expected, "{routes:?} {path}");
        }
    }
}
