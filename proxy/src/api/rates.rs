//! What a caller is told of the rates of its key, its team and its user: the
//! refusal of a call that has no place, and the headers of one that had.
//!
//! It owns LiteLLM's words and OpenAI's header names; the ledger counts.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::header;
use crate::error::ApiError;
use crate::key::{AccountId, Key, Quota, Rate, Rates};
use crate::ledger::{Left, MINUTE, RateExceeded};
use crate::money::NanoUsd;

/// OpenAI: limit, rest, and when it is whole again.
const OF_REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const OF_TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
/// LiteLLM: the key's own limits.
const OF_KEY: [(Rate, HeaderName); 2] = [
    (
        Rate::Requests,
        HeaderName::from_static("x-litellm-key-rpm-limit"),
    ),
    (
        Rate::Tokens,
        HeaderName::from_static("x-litellm-key-tpm-limit"),
    ),
];

/// What is said of the seconds until a minute ends, by their number.
static RESETS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let said = |seconds| HeaderValue::from_static(format!("{seconds}s").leak());
    (0..=MINUTE).map(said).collect()
});

/// A slot is free when any call of the key ends, which nobody can foresee.
const SLOT_RETRY_AFTER_S: u32 = 1;

/// LiteLLM: 429 and its message, with the headers that clients wait by.
pub(super) fn refused(
    key: &Key,
    model: &str,
    error: RateExceeded,
    now_s: i64,
    spend: Option<NanoUsd>,
) -> ApiError {
    let RateExceeded {
        account,
        rate,
        limit,
        left,
        needed,
        resets_at,
    } = error;
    let whose = match account {
        AccountId::Key(_) if rate.is_of_model() => format!("model_per_key: {}:{model}", key.hash),
        AccountId::Key(_) => format!("api_key: {}", key.hash),
        AccountId::Shared(group) if rate.is_of_model() => {
            format!("model_per_{}: {}:{model}", group.scope.as_str(), group.id)
        }
        AccountId::Shared(group) => format!("{}: {}", group.scope.as_str(), group.id),
    };
    let unit = rate.as_str();
    let resets = resets_at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let when = match rate {
        Rate::Slots => ". A call is admitted when another one ends".to_owned(),
        _ => format!(". Limit resets at: {resets}"),
    };
    let hint = match rate {
        Rate::Tokens | Rate::ModelTokens => {
            format!(". This call may use up to {needed}: a lower max_tokens asks for less")
        }
        _ => String::new(),
    };
    let message = format!(
        "Rate limit exceeded for {whose}. Limit type: {unit}. Current limit: {limit}, Remaining: {left}{when}{hint}"
    );
    let wait = match rate {
        Rate::Slots => SLOT_RETRY_AFTER_S,
        _ => u32::try_from((resets_at.timestamp() - now_s).max(1)).unwrap_or(1),
    };
    let mut refused = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "throttling_error", message)
        .with_retry_after(wait)
        .with_header("rate_limit_type", unit)
        .with_header("reset_at", &resets)
        .with_header("x-litellm-response-cost", "0");
    if needed > limit {
        // OpenAI: its clients try again else, and it can never fit.
        refused = refused.with_header("x-should-retry", "false");
    }
    if let Some(spend) = spend {
        refused = refused.with_header("x-litellm-key-spend", &spend.to_string());
    }
    refused
}

/// OpenAI: what is left until when, here of the limit of which least is left.
/// LiteLLM: the key's limits, and what is left of the model's own.
pub(super) fn insert(headers: &mut HeaderMap, rates: &Rates, left: &Left) {
    let reset = usize::try_from(left.resets_in_s).ok();
    let reset = reset.and_then(|seconds| RESETS.get(seconds));
    for (rate, names) in [(Rate::Requests, OF_REQUESTS), (Rate::Tokens, OF_TOKENS)] {
        let all = rates.iter().zip(&left.counts);
        let limits = all.filter_map(|((_, quota), counts)| {
            let limit = quota.limit(rate)?;
            Some((counts[rate as usize], limit))
        });
        if let Some((rest, limit)) = limits.min() {
            let [of_limit, of_rest, of_reset] = names;
            header::put(headers, of_limit, header::number(limit));
            header::put(headers, of_rest, header::number(rest));
            header::put(headers, of_reset, reset.cloned());
        }
    }
    let mut all = rates.iter().zip(&left.counts);
    let of_key = all.find(|((whose, _), _)| matches!(whose, AccountId::Key(_)));
    if let Some(((_, quota), counts)) = of_key {
        insert_own(headers, quota, counts);
    }
}

fn insert_own(headers: &mut HeaderMap, quota: &Quota, counts: &[u64]) {
    for (rate, name) in OF_KEY {
        if let Some(limit) = quota.limit(rate) {
            header::put(headers, name, header::number(limit));
        }
    }
    let Some(model) = &quota.model else {
        return;
    };
    for rate in [Rate::ModelRequests, Rate::ModelTokens] {
        if quota.limit(rate).is_none() {
            continue;
        }
        let name = format!("x-litellm-key-remaining-{}-{model}", rate.as_str());
        // Not every model's name can be one of a header.
        if let Ok(name) = HeaderName::try_from(name) {
            header::put(headers, name, header::number(counts[rate as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::response::IntoResponse as _;
    use chrono::DateTime;

    use super::*;
    use crate::key::fixture;

    #[test]
    fn an_answer_tells_what_is_left_of_each_limit() {
        let mut headers = HeaderMap::new();
        let key = fixture("sk-headers");
        let own = Quota {
            group: None,
            model: Some(Arc::from("gpt-5")),
            limits: [Some(10), None, Some(3), None, Some(700)],
        };
        let of_team = Quota {
            group: None,
            model: None,
            limits: [Some(100), Some(5_000), None, None, None],
        };
        let mut all = [(key.own_account(), own), (team("t"), of_team)];
        let rates = Rates::from(all.clone());
        let left = |requests| Left {
            counts: vec![[9, 0, 2, 0, 650], [requests, 4_000, 0, 0, 0]],
            resets_in_s: 42,
        };
        insert(&mut headers, &rates, &left(8));
        for (name, value) in [
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", "8"),
        ] {
            assert_eq!(headers[name], value, "the team has less left");
        }
        insert(&mut headers, &rates, &left(90));
        for (name, value) in [
            ("x-ratelimit-limit-requests", Some("10")),
            ("x-ratelimit-remaining-requests", Some("9")),
            ("x-ratelimit-reset-requests", Some("42s")),
            ("x-ratelimit-limit-tokens", Some("5000")),
            ("x-ratelimit-remaining-tokens", Some("4000")),
            ("x-litellm-key-rpm-limit", Some("10")),
            ("x-litellm-key-tpm-limit", None),
            ("x-litellm-key-remaining-tokens-gpt-5", Some("650")),
            ("x-litellm-key-remaining-requests-gpt-5", None),
        ] {
            let found = headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(found, value, "{name}");
        }
        all[0].1.model = Some(Arc::from("open router/a\r\nb"));
        insert(&mut headers, &Rates::from(all), &left(1));
    }

    fn team(id: &str) -> AccountId {
        AccountId::parse("team", id).unwrap()
    }

    #[test]
    fn a_refusal_says_whose_limit_is_reached() {
        let key = fixture("sk-headers");
        let of_key = format!("api_key: {}", key.hash);
        let of_model = format!("model_per_key: {}:m", key.hash);
        for (account, rate, whose) in [
            (key.own_account(), Rate::Requests, of_key.as_str()),
            (key.own_account(), Rate::ModelRequests, of_model.as_str()),
            (team("a/b"), Rate::Tokens, "team: a/b"),
            (team("a/b"), Rate::ModelTokens, "model_per_team: a/b:m"),
        ] {
            let error = RateExceeded {
                account,
                rate,
                limit: 5,
                left: 0,
                needed: 1,
                resets_at: DateTime::UNIX_EPOCH,
            };
            let refused = refused(&key, "m", error, 0, None);
            let start = format!("Rate limit exceeded for {whose}. Limit type: ");
            let message = refused.message();
            assert!(message.starts_with(&start), "{message}");
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let key = fixture("sk-headers");
        let full = |rate, limit, needed| RateExceeded {
            account: key.own_account(),
            rate,
            limit,
            left: 0,
            needed,
            resets_at: DateTime::from_timestamp(120, 0).unwrap(),
        };
        for (rate, limit, needed, wait, retries) in [
            (Rate::Requests, 5, 1, "21", None),
            (Rate::ModelTokens, 50, 40, "21", None),
            (Rate::Tokens, 50, 51, "21", Some("false")),
            (Rate::Slots, 1, 1, "1", None),
        ] {
            let error = refused(&key, "m", full(rate, limit, needed), 99, None);
            let response = error.into_response();
            let header = |name: &str| {
                let value = response.headers().get(name);
                value.map(|value| value.to_str().unwrap())
            };
            assert_eq!(response.status(), 429);
            assert_eq!(header("retry-after"), Some(wait), "{rate:?}");
            assert_eq!(header("rate_limit_type"), Some(rate.as_str()));
            assert_eq!(header("reset_at"), Some("1970-01-01 00:02:00 UTC"));
            assert_eq!(header("x-should-retry"), retries, "{rate:?}");
        }
    }
}
