//! Reads what a model's answer cost from the answer itself: the provider's
//! usage where it is given, else a bound from the text that passed by.
//!
//! It owns the counting of one call. It is told payloads, never bytes of the
//! network, keeps no text, and knows no prices. The pump and the plain path
//! feed it; the settlement asks it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::seen::Seen;
use crate::price::Usage;

/// A count that no real answer reaches; a provider that reports more is
/// broken, and its number must not poison a balance.
const TOKENS_MAX: u64 = 1_000_000_000_000;

/// What one payload of a stream turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Carries part of an answer, or anything else that the caller must see.
    Content,
    /// OpenAI: the extra chunk of `stream_options.include_usage`, no choices
    /// and a usage.
    UsageOnly,
    /// OpenAI: the literal `[DONE]`.
    Done,
    /// An error inside a stream that began well.
    Error,
}

/// Counts one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    usage: Option<Usage>,
    /// At least as many tokens as the provider can have counted for what
    /// passed by: one token a byte of text, and one at least a chunk of it.
    seen_tokens: u64,
    finished: bool,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Counted<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// OpenAI: `usage`, whose numbers can be anything here.
#[derive(Deserialize)]
struct Counts<'a> {
    #[serde(borrow, default)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt_tokens_details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PromptDetails<'a> {
    #[serde(borrow, default)]
    cached_tokens: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Seen,
    /// In the place of `delta` in a whole answer; some providers send both.
    #[serde(default)]
    message: Seen,
    #[serde(default)]
    finish_reason: Seen,
}

impl Meter {
    /// Reads one `data` payload of a stream.
    pub(crate) fn event(&mut self, payload: &[u8]) -> Kind {
        let payload = payload.trim_ascii();
        if payload == b"[DONE]" {
            self.finished = true;
            return Kind::Done;
        }
        let Ok(chunk) = read::<Chunk<'_>>(payload) else {
            self.unread(payload.len());
            return Kind::Content;
        };
        let usage = chunk.usage.and_then(usage_of);
        self.usage = usage.or(self.usage);
        let choices = chunk.choices.unwrap_or_default();
        for choice in &choices {
            self.count(choice);
        }
        if chunk.error.is_some() {
            return Kind::Error;
        }
        match usage {
            Some(_) if choices.is_empty() => Kind::UsageOnly,
            _ => Kind::Content,
        }
    }

    /// Reads a whole answer that was not streamed. False where it is no JSON
    /// object.
    pub(crate) fn whole(&mut self, body: &[u8]) -> bool {
        self.finished = true;
        // Its text is most of an answer, and counts only where there is no usage.
        let counted = read::<Counted<'_>>(body).ok();
        self.usage = counted.and_then(|answer| usage_of(answer.usage?));
        if self.usage.is_some() && body.trim_ascii_start().starts_with(b"{") {
            return true;
        }
        let Ok(answer) = read::<Chunk<'_>>(body) else {
            self.unread(body.len());
            return false;
        };
        for choice in answer.choices.iter().flatten() {
            self.count(choice);
        }
        true
    }

    /// Counts bytes that could not be interpreted, a token each.
    pub(crate) fn unread(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(TOKENS_MAX);
        self.seen_tokens = self.seen_tokens.saturating_add(bytes).min(TOKENS_MAX);
    }

    /// The provider's own count, once it has given one.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// A bound of the completion tokens in what passed by.
    pub(crate) fn seen_tokens(&self) -> u64 {
        self.seen_tokens
    }

    /// The answer came to its end: `[DONE]` or a finish reason was seen.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    fn count(&mut self, choice: &Choice) {
        self.finished |= choice.finish_reason.is_text;
        self.unread(choice.delta.bytes);
        self.unread(choice.message.bytes);
    }
}

/// Looked at once as a whole, a text costs less than name by name; what is none may
/// be wrong only where nothing is read.
fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> serde_json::Result<T> {
    match str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(json),
    }
}

/// OpenAI: `usage.{prompt_tokens,completion_tokens}`, cached tokens in
/// `prompt_tokens_details`. A usage without a prompt count is none, nor is one that
/// says a number twice. Some providers leave reasoning out of the completion and count it in
/// `total_tokens` alone, so that the larger of the two is what is charged.
fn usage_of(value: &RawValue) -> Option<Usage> {
    let counts = object::<Counts<'_>>(value)?;
    let details = counts.prompt_tokens_details;
    let cached = details.and_then(|details| object::<PromptDetails<'_>>(details)?.cached_tokens);
    let prompt_tokens = count(counts.prompt_tokens)?;
    let completion_tokens = count(counts.completion_tokens).unwrap_or(0);
    let total_tokens = count(counts.total_tokens).unwrap_or(0);
    Some(Usage {
        prompt_tokens,
        completion_tokens: completion_tokens.max(total_tokens.saturating_sub(prompt_tokens)),
        cached_tokens: count(cached).unwrap_or(0),
    })
}

/// Serde would take the items of a list for fields, too.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    let text = Some(value.get()).filter(|text| text.starts_with('{'));
    serde_json::from_str(text?).ok()
}

/// None for what is no whole number, zero or more.
fn count(value: Option<&RawValue>) -> Option<u64> {
    let count = value?.get().parse::<u64>().ok()?;
    Some(count.min(TOKENS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_told_apart() {
        for (payload, kind) in [
            ("[DONE]", Kind::Done),
            (" [DONE] ", Kind::Done),
            (r#"{"choices":[{"delta":{"content":"hi"}}]}"#, Kind::Content),
            (
                r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
                Kind::UsageOnly,
            ),
            (r#"{"choices":[],"usage":null}"#, Kind::Content),
            (r#"{"choices":[],"usage":{}}"#, Kind::Content),
            (
                r#"{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}"#,
                Kind::Content,
            ),
            (r#"{"error":{"message":"overloaded"}}"#, Kind::Error),
            (r#"{"error":null,"choices":[]}"#, Kind::Content),
            ("not json", Kind::Content),
            ("[1,2]", Kind::Content),
            ("", Kind::Content),
        ] {
            assert_eq!(
                Meter::default().event(payload.as_bytes()),
                kind,
                "{payload}"
            );
        }
    }

    #[test]
    fn the_last_usage_counts_and_garbage_does_not_erase_it() {
        let mut meter = Meter::default();
        for payload in [
            r#"{"usage":{"prompt_tokens":3,"completion_tokens":1}}"#,
            r#"{"usage":{"prompt_tokens":3,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":2}}}"#,
            r#"{"usage":null}"#,
            r#"{"usage":{"prompt_tokens":-1,"completion_tokens":5}}"#,
            r#"{"usage":{"prompt_tokens":1.5}}"#,
            r#"{"usage":"many"}"#,
            r#"{"usage":[5,5,5,{}]}"#,
            r#"{"usage":{"prompt_tokens":5,"prompt_tokens":6}}"#,
        ] {
            meter.event(payload.as_bytes());
        }
        let expected = Usage {
            prompt_tokens: 3,
            completion_tokens: 9,
            cached_tokens: 2,
        };
        assert_eq!(meter.usage(), Some(expected));
    }

    #[test]
    fn what_passed_by_bounds_the_tokens() {
        let mut meter = Meter::default();
        for (payload, seen) in [
            (
                r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
                0,
            ),
            (r#"{"choices":[{"delta":{"content":"hello"}}]}"#, 5),
            (r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#, 7),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#,
                10,
            ),
            ("12345", 15),
        ] {
            meter.event(payload.as_bytes());
            assert_eq!(meter.seen_tokens(), seen, "{payload}");
        }
        assert!(!meter.is_finished());
        meter.event(br#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#);
        assert!(meter.is_finished());
    }

    #[test]
    fn a_choice_with_a_message_and_a_delta_is_read() {
        let mut meter = Meter::default();
        let payload = br#"{"choices":[{"delta":{"content":"ab"},"message":{"content":"c"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;
        meter.event(payload);
        assert_eq!(meter.seen_tokens(), 3);
        assert_eq!(meter.usage().map(|usage| usage.prompt_tokens), Some(7));
    }

    #[test]
    fn a_total_beyond_its_parts_is_completion() {
        for (counts, expected) in [
            (r#""completion_tokens":4"#, 4),
            (r#""completion_tokens":4,"total_tokens":11"#, 4),
            (r#""completion_tokens":4,"total_tokens":111"#, 104),
            (r#""completion_tokens":4,"total_tokens":3"#, 4),
            (r#""total_tokens":9"#, 2),
            (r#""completion_tokens":4,"total_tokens":"x""#, 4),
        ] {
            let mut meter = Meter::default();
            meter.event(format!(r#"{{"usage":{{"prompt_tokens":7,{counts}}}}}"#).as_bytes());
            let found = meter.usage().map(|usage| usage.completion_tokens);
            assert_eq!(found, Some(expected), "{counts}");
        }
    }

    #[test]
    fn absurd_counts_are_capped() {
        let mut meter = Meter::default();
        meter.event(br#"{"usage":{"prompt_tokens":18446744073709551615}}"#);
        let prompt = meter.usage().map(|usage| usage.prompt_tokens);
        assert_eq!(prompt, Some(TOKENS_MAX));
        meter.unread(usize::MAX);
        meter.unread(usize::MAX);
        assert_eq!(meter.seen_tokens(), TOKENS_MAX);
    }

    #[test]
    fn a_whole_answer_is_read_at_once() {
        let choices = r#""choices":[{"message":{"role":"assistant","content":"abc"}}]"#;
        for (usage, prompt_tokens, seen) in [
            (r#","usage":{"prompt_tokens":7}"#, Some(7), 0),
            (r#","usage":{"completion_tokens":7}"#, None, 3),
            (r#","usage":null"#, None, 3),
            ("", None, 3),
        ] {
            let mut meter = Meter::default();
            assert!(meter.whole(format!(" {{{choices}{usage}}}").as_bytes()));
            let found = meter.usage().map(|usage| usage.prompt_tokens);
            assert_eq!(
                (found, meter.seen_tokens()),
                (prompt_tokens, seen),
                "{usage}"
            );
        }
        for unusable in ["<html>", r#"[{"prompt_tokens":7}]"#, r#"{"choices":1}"#] {
            assert!(!Meter::default().whole(unusable.as_bytes()), "{unusable}");
        }
    }
}
