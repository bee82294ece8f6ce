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
        return reply.streamed(wants_usage == Some(&Value::Bool(true)), deadline);
    }
    whole(StatusCode::OK, &reply.whole(), deadline)
}

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

    fn streamed(&self, with_usage: bool, deadline: Instant) -> Answer {
        let mut events = VecDeque::new();
        for index in 0..self.choices {
            let choice = |delta: Value, finish: Option<&str>| json!([{"index": index, "delta": delta, "finish_reason": finish}]);
            let start = json!({"role": "assistant", "content": ""});
            events.push_back(self.event(&choice(start, None), &Value::Null));
            for (place, word) in self.words.iter().enumerate() {
                let space = match place {
                    0 => "",
                    _ => " ",
                };
                let delta = json!({"content": format!("{space}{word}")});
                events.push_back(self.event(&choice(delta, None), &Value::Null));
            }
            let end = choice(json!({}), Some(self.finish_reason));
            events.push_back(self.event(&end, &Value::Null));
        }
        if with_usage {
            events.push_back(self.event(&json!([]), &self.usage));
        }
        events.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        Answer {
            status: StatusCode::OK,
            headers: content_type("text/event-stream; charset=utf-8"),
            body: AnswerBody::Ready(events),
            deadline,
        }
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
