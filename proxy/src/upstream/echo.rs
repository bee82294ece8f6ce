//! The built-in provider: answers with the prompt, counts words as tokens, and
//! streams word by word, for trying and testing without an account anywhere.
//!
//! It owns the making of an answer in the shape of OpenAI's. It reads the body
//! as any provider would, after the gateway's edits.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, AnswerBody};

#[derive(Deserialize)]
struct Prompt {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<Value>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    max_completion_tokens: Option<usize>,
    #[serde(default)]
    n: Option<usize>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Value,
}

pub(super) fn answer(body: &[u8], deadline: Instant) -> Answer {
    let Ok(prompt) = serde_json::from_slice::<Prompt>(body) else {
        let error = json!({"error": {
            "message": "each message must be an object with a content",
            "type": "invalid_request_error", "param": "messages", "code": "400",
        }});
        return whole(StatusCode::BAD_REQUEST, &error, deadline);
    };
    let texts = prompt
        .messages
        .iter()
        .map(|message| text_of(&message.content))
        .collect::<Vec<_>>();
    let said = texts.last().map_or("", String::as_str);
    let max_tokens = prompt.max_completion_tokens.or(prompt.max_tokens);
    let words = said.split_whitespace().collect::<Vec<_>>();
    let kept = words.len().min(max_tokens.unwrap_or(usize::MAX));
    let finish_reason = match kept < words.len() {
        true => "length",
        false => "stop",
    };
    let choices = prompt.n.unwrap_or(1).max(1);
    let prompt_tokens = texts
        .iter()
        .map(|text| text.split_whitespace().count())
        .sum::<usize>();
    let completion_tokens = kept * choices;
    let reply = Reply {
        model: prompt.model,
        words: words.into_iter().take(kept).map(str::to_owned).collect(),
        choices,
        finish_reason,
        usage: json!({
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }),
    };
    if prompt.stream == Some(true) {
        let options = prompt.stream_options.as_ref();
        let wants_usage = options.and_then(|options| options.get("include_usage"));
        let events = Events {
            reply,
            with_usage: wants_usage == Some(&Value::Bool(true)),
            place: 0,
        };
        return Answer {
            status: StatusCode::OK,
            headers: content_type("text/event-stream; charset=utf-8"),
            body: AnswerBody::Echo(Box::new(events)),
            deadline,
        };
    }
    whole(StatusCode::OK, &reply.whole(), deadline)
}

/// A stream's events, each made when it is asked for: many choices of a long
/// prompt are far larger than the prompt.
#[derive(Debug)]
pub(super) struct Events {
    reply: Reply,
    with_usage: bool,
    place: usize,
}

impl Iterator for Events {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let event = self.reply.nth(self.place, self.with_usage)?;
        self.place += 1;
        Some(event)
    }
}

#[derive(Debug)]
struct Reply {
    model: String,
    words: Vec<String>,
    choices: usize,
    finish_reason: &'static str,
    usage: Value,
}

impl Reply {
    fn whole(&self) -> Value {
        let choice = |index| {
            json!({
                "index": index,
                "message": {"role": "assistant", "content": self.words.join(" ")},
                "finish_reason": self.finish_reason,
            })
        };
        json!({
            "id": "chatcmpl-echo",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": (0..self.choices).map(choice).collect::<Vec<_>>(),
            "usage": self.usage,
        })
    }

    /// The event of a stream at `place`, counted from 0; None past its end.
    fn nth(&self, place: usize, with_usage: bool) -> Option<Bytes> {
        // A start, each word, and an end.
        let steps = self.words.len() + 2;
        let index = place / steps;
        if index >= self.choices {
            let after = place - self.choices * steps;
            return match (after, with_usage) {
                (0, true) => Some(self.event(&json!([]), &self.usage)),
                (0, false) | (1, true) => Some(Bytes::from_static(b"data: [DONE]\n\n")),
                _ => None,
            };
        }
        let step = place % steps;
        let (delta, finish) = match step.checked_sub(1).map(|word| self.words.get(word)) {
            None => (json!({"role": "assistant", "content": ""}), None),
            Some(Some(word)) if step == 1 => (json!({"content": word}), None),
            Some(Some(word)) => (json!({"content": format!(" {word}")}), None),
            Some(None) => (json!({}), Some(self.finish_reason)),
        };
        let choices = json!([{"index": index, "delta": delta, "finish_reason": finish}]);
        Some(self.event(&choices, &Value::Null))
    }

    fn event(&self, choices: &Value, usage: &Value) -> Bytes {
        let chunk = json!({
            "id": "chatcmpl-echo",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self.model,
            "choices": choices,
            "usage": usage,
        });
        Bytes::from(format!("data: {chunk}\n\n"))
    }
}

fn whole(status: StatusCode, body: &Value, deadline: Instant) -> Answer {
    Answer {
        status,
        headers: content_type("application/json"),
        body: AnswerBody::Ready(VecDeque::from([Bytes::from(body.to_string())])),
        deadline,
    }
}

fn content_type(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}

/// OpenAI: a content is a text or a list of parts, of which some are text.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_made_as_it_is_read() {
        for (usage, n, expected) in [(true, 2, 2 * 4 + 2), (false, 1, 4 + 1)] {
            let body = json!({
                "model": "m", "stream": true, "n": n,
                "stream_options": {"include_usage": usage},
                "messages": [{"role": "user", "content": "two words"}],
            });
            let mut answer = answer(body.to_string().as_bytes(), Instant::now());
            assert!(matches!(answer.body, AnswerBody::Echo(_)));
            let mut events = Vec::new();
            while let Some(event) = answer.next().await.expect("event") {
                events.push(String::from_utf8(event.to_vec()).expect("text"));
            }
            assert_eq!(events.len(), expected, "{events:?}");
            for (event, part) in events
                .iter()
                .zip(["assistant", "\"two\"", "\" words\"", "stop"])
            {
                assert!(event.contains(part), "{event}");
            }
            assert_eq!(events.last().map(String::as_str), Some("data: [DONE]\n\n"));
            let counted = events
                .iter()
                .any(|event| event.contains("completion_tokens"));
            assert_eq!(counted, usage);
        }
    }
}
