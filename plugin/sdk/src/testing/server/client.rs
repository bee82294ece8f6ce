//! What a test says to a server.
//!
//! Owns the few lines of HTTP that a loopback server needs: one request a
//! connection, answered to its end. Blocking, so that a test needs no runtime.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

use crate::Sensitive;

const ANSWERS_WITHIN: Duration = Duration::from_secs(100);

/// Speaks to a server, or to one mount of it, with one token.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    token: Sensitive,
    below: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr, token: String) -> Self {
        Self {
            address,
            token: Sensitive::new(token),
            below: String::new(),
        }
    }

    /// The same, for paths below `path`.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let below = format!("{}{}/", self.below, path.trim_matches('/'));
        Self {
            below,
            ..self.clone()
        }
    }

    /// The same, with another token: one that a login answered.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Sensitive::new(token),
            ..self.clone()
        }
    }

    /// Where the server listens, for example `http://127.0.0.1:8200`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `vault read`.
    ///
    /// # Errors
    /// When the server does not answer; a refusal is an answer.
    pub fn read(&self, path: &str) -> io::Result<Answer> {
        self.call("GET", path, &Value::Null)
    }

    /// `vault write`.
    ///
    /// # Errors
    /// When the server does not answer; a refusal is an answer.
    pub fn write(&self, path: &str, body: &Value) -> io::Result<Answer> {
        self.call("POST", path, body)
    }

    /// `vault list`.
    ///
    /// # Errors
    /// When the server does not answer; a refusal is an answer.
    pub fn list(&self, path: &str) -> io::Result<Answer> {
        self.call("LIST", path, &Value::Null)
    }

    /// `vault delete`.
    ///
    /// # Errors
    /// When the server does not answer; a refusal is an answer.
    pub fn delete(&self, path: &str) -> io::Result<Answer> {
        self.call("DELETE", path, &Value::Null)
    }

    /// A write without any token, as a login is. The answer's
    /// [`Answer::token`] is for [`Client::with_token`].
    ///
    /// # Errors
    /// When the server does not answer; a refusal is an answer.
    pub fn login(&self, path: &str, body: &Value) -> io::Result<Answer> {
        self.with_token("").call("POST", path, body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> io::Result<Answer> {
        let path = format!("{}{path}", self.below);
        let token = self.token.expose();
        let sound = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
        if !sound(&path) || !sound(token) {
            let text = "a path or a token holds what HTTP does not allow: encode it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let token = match token {
            "" => String::new(),
            token => format!("X-Vault-Token: {token}\r\n"),
        };
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        // HTTP/1.0 answers come in one piece and end with the connection.
        let request = format!(
            "{method} /v1/{path} HTTP/1.0\r\nHost: {}\r\n{token}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&String::from_utf8_lossy(&answer))
            .ok_or_else(|| io::Error::other("the server's answer is no HTTP"))
    }
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
    Some(Answer { status, body })
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The whole JSON body: `data`, `lease_id`, `auth`, `warnings`, `errors`.
    pub body: Value,
}

impl Answer {
    /// Whether the status tells of success.
    pub const fn is_ok(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// What the engine answered; null when there is nothing.
    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// The lease of the answer; empty when there is none.
    pub fn lease_id(&self) -> &str {
        self.body["lease_id"].as_str().unwrap_or_default()
    }

    /// The token of a login; empty when there is none.
    pub fn token(&self) -> &str {
        self.body["auth"]["client_token"]
            .as_str()
            .unwrap_or_default()
    }

    /// The texts of a refusal, or of a success's warnings.
    pub fn complaints(&self) -> String {
        let texts = [&self.body["errors"], &self.body["warnings"]];
        let texts = texts.into_iter().filter_map(Value::as_array).flatten();
        let texts: Vec<_> = texts.filter_map(Value::as_str).collect();
        texts.join("; ")
    }

    /// Turns a refusal into an error.
    ///
    /// # Errors
    /// With the status and the server's texts.
    pub fn ok(self) -> io::Result<Self> {
        if self.is_ok() {
            return Ok(self);
        }
        let text = format!("status {}: {}", self.status, self.complaints());
        Err(io::Error::other(text))
    }
}
