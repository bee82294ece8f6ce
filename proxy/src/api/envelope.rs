//! What the gateway reads of a chat request, and the two edits it makes.
//!
//! It owns the fields that decide model, stream and bounds, the list of fields
//! that would let a caller choose where a call goes, and the rewritten body.
//! Every other field passes on byte for byte, once: a name that stands twice is
//! refused, because two readers could disagree on which one counts.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::fields::Fields;
use self::media::Media;
use crate::body::depth::shallow;
use crate::error::ApiError;

mod fields;
mod media;

/// OpenAI: the most choices of one call.
const CHOICES_MAX: u64 = 128;
/// A larger cap than any model has; beyond it arithmetic is all that suffers.
const OUTPUT_TOKENS_MAX: u64 = 10_000_000;
/// Tokens that a provider's own framing of a prompt may add.
const FRAMING_TOKENS: u64 = 16;
/// Tokens of a content part that is no text. An image, a recording or a file
/// costs by its pixels, seconds or pages, which a short address says nothing
/// of, so each counts as a whole context window of a common model.
const MEDIA_TOKENS: u64 = 128_000;

/// Fields whose text ends up in the prompt.
const PROMPT: [&str; 6] = [
    "messages",
    "tools",
    "functions",
    "response_format",
    "prediction",
    "tool_choice",
];

/// Fields by which some gateways let a caller choose a host, a credential or
/// another model than the one that was checked and priced. In the order of the
/// alphabet.
const REFUSED: [&str; 23] = [
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "base_url",
    "context_window_fallbacks",
    "custom_llm_provider",
    "default_headers",
    "deployment_id",
    "extra_body",
    "extra_headers",
    "extra_query",
    "fallbacks",
    "headers",
    "litellm_credential_name",
    "litellm_params",
    "model_list",
    "models",
    "plugins",
    "preset",
    "provider",
    "route",
    "user_config",
];

/// A chat request as far as the gateway reads it.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    fields: Fields<'a>,
    pub(super) model: Cow<'a, str>,
    pub(super) stream: bool,
    /// The caller asked for the usage chunk of a stream.
    pub(super) wants_usage: bool,
    /// The larger of `max_completion_tokens` and `max_tokens`; zero is unset,
    /// because providers read it as no cap.
    pub(super) max_output_tokens: Option<u64>,
    /// How many answers are asked for: each costs.
    pub(super) choices: u64,
    /// Never fewer than the prompt's tokens: one a byte of its JSON, and
    /// [`MEDIA_TOKENS`] besides for each part that is no text.
    pub(super) input_bound: u64,
}

impl<'a> Envelope<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ApiError> {
        shallow(body)?;
        let text = str::from_utf8(body).map_err(|_| ApiError::malformed_body())?;
        let fields =
            serde_json::from_str::<Fields<'a>>(text).map_err(|_| ApiError::malformed_body())?;
        if let Some(name) = fields.duplicate() {
            return Err(ApiError::bad_request(
                "body",
                format!(
                    "the field at position {name} has a name that stands there already: send each once"
                ),
            ));
        }
        if let Some(name) = refused(&fields) {
            return Err(ApiError::bad_request(
                name,
                format!("{name} is the operator's to choose: leave it out"),
            ));
        }
        check_service_tier(&fields)?;
        let stream_options =
            optional::<Map<String, Value>>(&fields, "stream_options", "an object")?;
        let include_usage =
            stream_options.and_then(|options| options.get("include_usage").cloned());
        Ok(Self {
            model: model(&fields)?,
            stream: optional(&fields, "stream", "true or false")?.unwrap_or(false),
            wants_usage: include_usage == Some(Value::Bool(true)),
            max_output_tokens: max_output_tokens(&fields)?,
            choices: choices(&fields)?,
            input_bound: input_bound(&fields)?,
            fields,
        })
    }

    /// The body for the provider, out of the one that was parsed: its own model
    /// name, and a stream's usage asked for. All else as it came; a body that is
    /// right already is not copied.
    pub(super) fn rewritten(&self, body: &Bytes, upstream_model: &str) -> Bytes {
        let mut edits = Vec::with_capacity(2);
        if self.model != upstream_model
            && let Some(model) = self.fields.get("model")
        {
            let name = Value::from(upstream_model).to_string();
            edits.push((place(body, model), name));
        }
        if self.stream && !self.wants_usage {
            edits.push(self.usage_asked_for(body));
        }
        if edits.is_empty() {
            return body.clone();
        }
        edits.sort_by_key(|(place, _)| place.start);
        let more = edits.iter().map(|(_, text)| text.len()).sum::<usize>();
        let mut edited = BytesMut::with_capacity(body.len() + more);
        let mut done = 0;
        for (place, text) in &edits {
            edited.extend_from_slice(body.get(done..place.start).unwrap_or_default());
            edited.extend_from_slice(text.as_bytes());
            done = place.end;
        }
        edited.extend_from_slice(body.get(done..).unwrap_or_default());
        edited.freeze()
    }

    /// In the place of the caller's options, or as the last field of all.
    fn usage_asked_for(&self, body: &[u8]) -> (Range<usize>, String) {
        let Some(given) = self.fields.get("stream_options") else {
            let end = memchr::memrchr(b'}', body).unwrap_or(body.len());
            let field = r#","stream_options":{"include_usage":true}"#;
            return (end..end, field.to_owned());
        };
        let options = serde_json::from_str::<Option<Map<String, Value>>>(given.get());
        let mut options = options.ok().flatten().unwrap_or_default();
        options.insert("include_usage".to_owned(), Value::Bool(true));
        (place(body, given), Value::Object(options).to_string())
    }
}

/// Where in `body` a value stands that was parsed out of it.
fn place(body: &[u8], value: &RawValue) -> Range<usize> {
    let text = value.get();
    let start = text.as_ptr().addr() - body.as_ptr().addr();
    start..start + text.len()
}

/// The first of [`REFUSED`] that is there.
fn refused(fields: &Fields<'_>) -> Option<&'static str> {
    let places = fields
        .iter()
        .filter_map(|(name, _)| REFUSED.binary_search(&name).ok());
    places.min().map(|place| REFUSED[place])
}

fn model<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, ApiError> {
    let Some(value) = fields.get("model") else {
        return Err(ApiError::bad_request("model", "model is missing: name one"));
    };
    let fields::Text(model) = serde_json::from_str(value.get())
        .map_err(|_| ApiError::bad_request("model", "model must be a text"))?;
    if model.is_empty() {
        return Err(ApiError::bad_request("model", "model is empty: name one"));
    }
    Ok(model)
}

fn max_output_tokens(fields: &Fields<'_>) -> Result<Option<u64>, ApiError> {
    let mut largest = None;
    for name in ["max_completion_tokens", "max_tokens"] {
        let given = optional::<u64>(fields, name, "a whole number, zero or more")?;
        if given.is_some_and(|tokens| tokens > OUTPUT_TOKENS_MAX) {
            return Err(ApiError::bad_request(
                name,
                format!("{name} must be at most {OUTPUT_TOKENS_MAX}"),
            ));
        }
        largest = largest.max(given);
    }
    Ok(largest.filter(|tokens| *tokens > 0))
}

/// OpenAI: tiers differ in price, and the hold knows the default one's alone.
fn check_service_tier(fields: &Fields<'_>) -> Result<(), ApiError> {
    let tier = optional::<String>(fields, "service_tier", "a text")?;
    match tier.as_deref() {
        None | Some("auto" | "default") => Ok(()),
        Some(_) => Err(ApiError::bad_request(
            "service_tier",
            "service_tier must be auto or default: other tiers have other prices",
        )),
    }
}

fn choices(fields: &Fields<'_>) -> Result<u64, ApiError> {
    let mut most = 1;
    for name in ["n", "best_of"] {
        let given = optional::<u64>(fields, name, "a whole number")?.unwrap_or(1);
        if !(1..=CHOICES_MAX).contains(&given) {
            return Err(ApiError::bad_request(
                name,
                format!("{name} must be between 1 and {CHOICES_MAX}"),
            ));
        }
        most = most.max(given);
    }
    Ok(most)
}

fn input_bound(fields: &Fields<'_>) -> Result<u64, ApiError> {
    let messages = fields.get("messages").map(RawValue::get);
    let media = messages.and_then(|messages| serde_json::from_str::<Media>(messages).ok());
    let Some(Media(media)) = media else {
        let message = "messages must be a list of messages";
        return Err(ApiError::bad_request("messages", message));
    };
    let bytes = PROMPT
        .iter()
        .filter_map(|name| fields.get(name))
        .map(|value| value.get().len())
        .sum::<usize>();
    Ok(u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(FRAMING_TOKENS)
        .saturating_add(media.saturating_mul(MEDIA_TOKENS)))
}

/// OpenAI: null is the same as leaving a field out.
fn optional<'a, T: Deserialize<'a>>(
    fields: &Fields<'a>,
    name: &str,
    kind: &str,
) -> Result<Option<T>, ApiError> {
    let Some(value) = fields.get(name) else {
        return Ok(None);
    };
    serde_json::from_str::<Option<T>>(value.get())
        .map_err(|_| ApiError::bad_request(name, format!("{name} must be {kind}")))
}

#[cfg(test)]
mod tests;
