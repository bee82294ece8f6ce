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

impl Target {
    pub(crate) fn new<'a>(
        address: SocketAddr,
        keys: impl Iterator<Item = &'a str>,
        prompt_bytes: usize,
        streamed: bool,
    ) -> Result<Self, Error> {
        let prompt = "lorem ipsum ".repeat(prompt_bytes / 12 + 1);
        let body = json!({
            "model": "bench",
            "stream": streamed,
            "max_tokens": 64,
            "messages": [{"role": "user", "content": &prompt[..prompt_bytes]}],
        })
        .to_string();
        let request = |key: &str| {
            let head = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n",
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
