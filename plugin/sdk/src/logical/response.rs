//! One answer of a mount.
//!
//! Owns the plain struct that handlers return. `None` instead of a response
//! means "nothing": 404 on a read or list, 204 on a write or delete.

use std::{collections::BTreeMap, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};

use crate::{Alias, Auth, LeaseOptions, Map, Secret, Sensitive, Value};

/// An answer.
#[derive(Clone, Default)]
pub struct Response {
    /// What the user sees under `data`.
    pub data: Option<Map<String, Value>>,
    /// Makes the answer a lease.
    pub secret: Option<Secret>,
    /// Makes the answer a login.
    pub auth: Option<Auth>,
    /// Shown to the user beside the data.
    pub warnings: Vec<String>,
    /// A redirect, on the few paths that can have one.
    pub redirect: String,
    /// Headers; the server drops those the mount does not allow.
    pub headers: BTreeMap<String, Vec<String>>,
    /// A wrapped answer.
    pub wrap_info: Option<ResponseWrapInfo>,
    /// Vault: the mount type that the answer speaks for.
    pub mount_type: String,
}

impl Response {
    /// An answer with data.
    pub fn data(data: Map<String, Value>) -> Self {
        Self {
            data: Some(data),
            ..Self::default()
        }
    }

    /// The answer to a list. Vault: an empty one is 404.
    pub fn list(keys: Vec<String>) -> Self {
        let mut data = Map::new();
        if !keys.is_empty() {
            data.insert("keys".to_owned(), keys.into());
        }
        Self::data(data)
    }

    /// Vault: an error that the user can cure, shown with status 400.
    pub fn error(text: impl Into<String>) -> Self {
        Self::data(Map::from_iter([(
            "error".to_owned(),
            Value::String(text.into()),
        )]))
    }

    /// An answer with a lease. `secret_type` decides who renews and revokes it.
    pub fn leased(
        secret_type: &str,
        data: Map<String, Value>,
        mut internal: Map<String, Value>,
        lease: LeaseOptions,
    ) -> Self {
        internal.insert("secret_type".to_owned(), secret_type.into());
        let secret = Secret {
            internal_data: internal,
            lease,
            lease_id: String::new(),
        };
        Self {
            data: Some(data),
            secret: Some(secret),
            ..Self::default()
        }
    }

    /// A login: the server makes a token of it.
    pub fn login(auth: Auth) -> Self {
        Self {
            auth: Some(auth),
            ..Self::default()
        }
    }

    /// The answer to [`Operation::AliasLookahead`](crate::Operation): whose
    /// alias this login would use, without logging in.
    pub fn alias(alias: Alias) -> Self {
        Self::login(Auth {
            alias: Some(alias),
            ..Auth::default()
        })
    }

    /// The answer to [`Operation::ResolveRole`](crate::Operation): the role that
    /// this login would use, which quotas can be bound to.
    pub fn role(name: impl Into<String>) -> Self {
        Self::data(Map::from_iter([(
            "role".to_owned(),
            Value::String(name.into()),
        )]))
    }

    /// An answer that reaches the caller as it is, without the JSON around it.
    ///
    /// Vault: it can carry neither a lease nor a login, and with status 204 the
    /// body is not sent.
    pub fn raw(status: u16, content_type: impl Into<String>, body: impl AsRef<[u8]>) -> Self {
        // The server decodes base64 wherever it can: plain text that happens to
        // be base64 would reach the caller as something else.
        let body = STANDARD.encode(body);
        Self::data(Map::from_iter([
            ("http_status_code".to_owned(), status.into()),
            ("http_content_type".to_owned(), content_type.into().into()),
            ("http_raw_body".to_owned(), body.into()),
        ]))
    }

    /// Sends the caller to another address, for example to log in there. Vault:
    /// with status 307.
    pub fn redirect(url: impl Into<String>) -> Self {
        Self {
            redirect: url.into(),
            ..Self::default()
        }
    }

    /// Adds a value to a header. The server drops the headers that the mount
    /// does not allow (`allowed_response_headers`).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers
            .entry(name.into())
            .or_default()
            .push(value.into());
        self
    }

    /// Adds a warning.
    #[must_use]
    pub fn warn(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }

    /// The text of an error answer, if this is one.
    ///
    /// Vault: `error` is the only key, or stands beside `data` alone.
    pub fn error_text(&self) -> Option<&str> {
        let data = self.data.as_ref()?;
        let text = data.get("error")?.as_str()?;
        let alone = data.len() == 1
            || (data.len() == 2 && data.get("data").is_some_and(|inner| !inner.is_null()));
        alone.then_some(text)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.data.iter().flat_map(Map::keys).collect();
        f.debug_struct("Response")
            .field("data_keys", &keys)
            .field("error", &self.error_text())
            .field("secret", &self.secret)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// A wrapped answer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ResponseWrapInfo {
    /// Life of the wrapping token.
    pub ttl: Duration,
    /// The wrapping token.
    pub token: Sensitive,
    /// Its accessor.
    pub accessor: String,
    /// When it was made.
    pub creation_time: Option<DateTime<Utc>>,
    /// The accessor of a wrapped token.
    pub wrapped_accessor: String,
    /// The entity of a wrapped token.
    pub wrapped_entity_id: String,
    /// Empty, or `jwt`.
    pub format: String,
    /// The path that made it.
    pub creation_path: String,
    /// Whether the wrapped answer is seal-wrapped.
    pub seal_wrap: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_body_always_travels_as_base64() {
        for body in [&b"plain"[..], b"aGk=", b"\xff\x00", b""] {
            let raw = Response::raw(202, "text/plain", body);
            let data = raw.data.unwrap();
            assert_eq!(data["http_status_code"], 202);
            assert_eq!(data["http_content_type"], "text/plain");
            let text = data["http_raw_body"].as_str().unwrap();
            assert_eq!(STANDARD.decode(text).unwrap(), body);
            assert!(raw.secret.is_none() && raw.auth.is_none());
        }
    }

    #[test]
    fn a_redirect_and_a_header_say_where_and_what() {
        let answer = Response::redirect("https://login.example/").header("X-A", "1");
        let answer = answer.header("X-A", "2");
        assert_eq!(answer.redirect, "https://login.example/");
        assert!(answer.data.is_none());
        assert_eq!(answer.headers["X-A"], ["1", "2"]);
    }
}
