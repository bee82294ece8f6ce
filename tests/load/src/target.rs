//! Where calls go, and their bytes, made once.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::json;

/// Clones share the requests.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// One call for each key.
    requests: Rc<[Box<[u8]>]>,
}

/// What all calls have in common.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) model: String,
    pub(crate) prompt_bytes: usize,
    pub(crate) is_streamed: bool,
    /// Lines of the head beside the usual.
    pub(crate) headers: Vec<String>,
}

impl Call {
    /// What is streamed asks for its usage, so that the same events come from
    /// who would leave it out and from who wouldn't.
    fn body(&self) -> String {
        let prompt = "lorem ipsum ".repeat(self.prompt_bytes / 12 + 1);
        let mut body = json!({
            "model": self.model,
            "stream": self.is_streamed,
            "max_tokens": 64,
            "messages": [{"role": "user", "content": &prompt[..self.prompt_bytes]}],
        });
        if self.is_streamed {
            body["stream_options"] = json!({"include_usage": true});
        }
        body.to_string()
    }
}

impl Target {
    pub(crate) fn new<'a>(
        address: SocketAddr,
        keys: impl Iterator<Item = &'a str>,
        call: &Call,
    ) -> Result<Self, Error> {
        let body = call.body();
        let mut more = String::new();
        for line in &call.headers {
            more.push_str(line);
            more.push_str("\r\n");
        }
        let request = |key: &str| {
            let head = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\n{more}content-length: {}\r\n\r\n",
                body.len()
            );
            [head.as_bytes(), body.as_bytes()]
                .concat()
                .into_boxed_slice()
        };
        let requests: Rc<[_]> = keys.map(request).collect();
        if requests.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the file of keys is empty",
            ));
        }
        Ok(Self { address, requests })
    }

    /// The bytes of call number `at`.
    pub(crate) fn request(&self, at: usize) -> &[u8] {
        &self.requests[at % self.requests.len()]
    }
}
