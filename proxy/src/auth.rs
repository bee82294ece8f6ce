//! Owns the question who is calling: finds the key in the accepted headers,
//! parses it, looks it up by its hash, and checks expiry, blocking and origin on
//! every call. A store that does not answer is 503, never 401. Called by every
//! handler of both planes that is not public.

mod admission;
mod peer;
mod refusals;

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, header};
use subtle::ConstantTimeEq as _;

use self::refusals::Reason;
pub(crate) use self::{
    admission::{Admitted, Need, admit},
    peer::Peer,
    refusals::Refusals,
};
use crate::{
    app::AppState,
    error::ApiError,
    key::{Key, KeyHash, Token, TokenError, allows},
    store::StoreError,
};

/// LiteLLM's order of precedence; `authorization` takes a scheme, the others
/// the bare key.
static HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("x-litellm-api-key"),
    header::AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// An authenticated caller.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Master,
    Key(Arc<Key>),
}

/// As the log names who acted.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Key(key) => key.hash.fmt(f),
        }
    }
}

/// Who is calling.
///
/// # Errors
/// 401 for a missing, malformed, unknown, blocked or expired key; 403 for one
/// that may not be used from there; 503 when the store does not answer.
pub(crate) async fn authenticate(
    state: &AppState,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<Caller, ApiError> {
    let presented = presented(headers)?;
    let hash = KeyHash::of(presented);
    // Digests have one length and reveal nothing by how they differ.
    if hash.as_bytes().ct_eq(state.master.as_bytes()).into() {
        return Ok(Caller::Master);
    }
    Token::check(presented)
        .inspect_err(|_| refusals::log(hash, Reason::Malformed))
        .map_err(|error| match error {
            TokenError::Prefix => ApiError::unauthorized(
                "auth_error",
                "Authentication Error, LiteLLM Virtual Key expected: it starts with 'sk-'",
            ),
            TokenError::Checksum | TokenError::Shape | TokenError::Random => not_found(),
        })?;
    by_hash(state, hash, peer).await
}

/// The caller as it stands now. Between a request's headers and its last byte
/// a key can be revoked, and a slow sender must not outlive that.
///
/// # Errors
/// As [`authenticate`].
pub(crate) async fn authenticate_again(
    state: &AppState,
    caller: Caller,
    peer: Peer,
) -> Result<Caller, ApiError> {
    match caller {
        Caller::Master => Ok(Caller::Master),
        Caller::Key(known) => {
            let caller = by_hash(state, known.hash, peer).await?;
            let Caller::Key(key) = caller else {
                return Ok(caller);
            };
            let ends_at = known.value_ends_at;
            still_works(state, &key, ends_at)?;
            Ok(Caller::Key(known_by(key, ends_at)))
        }
    }
}

async fn by_hash(state: &AppState, hash: KeyHash, peer: Peer) -> Result<Caller, ApiError> {
    let mut key = match state.keys.get(hash) {
        Some(key) => key,
        None => load(state, hash).await?,
    };
    if key.value_ends_at.is_some() {
        key = Box::pin(behind(state, hash, &key)).await?;
    }
    check(state, &key, peer)?;
    still_works(state, &key, key.value_ends_at)?;
    Ok(Caller::Key(key))
}

/// Apart, because it is seldom needed: a question to the store is twenty times as
/// large as all else that a call keeps in memory while it waits.
async fn load(state: &AppState, hash: KeyHash) -> Result<Arc<Key>, ApiError> {
    let found = Box::pin(state.keys.find(hash, believed(state, hash))).await?;
    found.ok_or_else(|| unknown(hash))
}

/// The key of this value, if the store is to be believed that there is one.
async fn believed(state: &AppState, hash: KeyHash) -> Result<Option<Key>, StoreError> {
    let key = state.store.key(hash).await?;
    Ok(key.filter(|key| is_sealed(state, hash, key)))
}

fn is_sealed(state: &AppState, hash: KeyHash, key: &Key) -> bool {
    let is_good = state.config.seals.admit(hash, key);
    if !is_good {
        refusals::log(hash, Reason::Seal);
        let now = state.clock.now();
        state.refusals.remember(key.hash, Reason::Seal, now);
    }
    is_good
}

/// The key as it stands now behind the earlier value `hash`. What the cache
/// knows of that value is a sign to the key and never the key: the changes of
/// the key do not reach it.
async fn behind(state: &AppState, hash: KeyHash, sign: &Key) -> Result<Arc<Key>, ApiError> {
    let current = state.keys.find(sign.hash, believed(state, sign.hash));
    match current.await? {
        Some(key) if key.value_ends_at.is_none() => Ok(known_by(key, sign.value_ends_at)),
        // It was regenerated once more, or deleted, since the sign was read.
        Some(_) | None => {
            state.keys.invalidate(hash);
            let key = believed(state, hash).await?;
            key.map(Arc::new).ok_or_else(|| unknown(hash))
        }
    }
}

fn known_by(key: Arc<Key>, value_ends_at: Option<DateTime<Utc>>) -> Arc<Key> {
    if key.value_ends_at == value_ends_at {
        return key;
    }
    let mut key = Key::clone(&key);
    key.value_ends_at = value_ends_at;
    Arc::new(key)
}

/// Last of all checks: how the key itself stands comes first.
fn still_works(
    state: &AppState,
    key: &Key,
    value_ends_at: Option<DateTime<Utc>>,
) -> Result<(), ApiError> {
    let is_over = |ends_at| ends_at <= state.clock.now();
    match value_ends_at.is_some_and(is_over) {
        true => Err(refused(state, key, Reason::Regenerated, not_found())),
        false => Ok(()),
    }
}

/// Keeps admin keys off the data plane: what they are for must not spend.
///
/// # Errors
/// 403 for a key that has scopes.
pub(crate) fn authorize_data_plane(caller: &Caller) -> Result<(), ApiError> {
    match caller {
        Caller::Key(key) if !key.scopes.is_empty() => {
            refusals::log(key.hash, Reason::AdminOnly);
            Err(ApiError::forbidden(
                "this is an admin key: it calls the admin plane only, make a key without scopes for this",
            ))
        }
        Caller::Master | Caller::Key(_) => Ok(()),
    }
}

/// Whether the caller's key may call this path at all.
///
/// # Errors
/// 403 when its `allowed_routes` leave it out.
pub(crate) fn authorize_route(caller: &Caller, path: &str) -> Result<(), ApiError> {
    match caller {
        Caller::Key(key) if !allows(&key.allowed_routes, path) => {
            refusals::log(key.hash, Reason::Route);
            Err(ApiError::forbidden(
                "this key is not allowed to call this route: see allowed_routes in GET /key/info",
            ))
        }
        Caller::Master | Caller::Key(_) => Ok(()),
    }
}

fn check(state: &AppState, key: &Key, peer: Peer) -> Result<(), ApiError> {
    // First, so that who took a key elsewhere learns nothing more about it.
    if !peer.is_within(&key.allowed_cidrs) {
        let error = ApiError::forbidden(
            "this key may not be used from this address: see its allowed_cidrs; what counts is the address that connects, not a header",
        );
        return Err(refused(state, key, Reason::Address, error));
    }
    if key.blocked {
        let error = ApiError::unauthorized(
            "auth_error",
            "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.",
        );
        return Err(refused(state, key, Reason::Blocked, error));
    }
    if key.is_blocked_by_team() {
        let error = ApiError::unauthorized(
            "auth_error",
            "Authentication Error, Team is blocked. Update via `/team/unblock` if you're an admin.",
        );
        return Err(refused(state, key, Reason::TeamBlocked, error));
    }
    if key.is_expired(state.clock.now()) {
        let error = ApiError::unauthorized(
            "expired_key",
            "Authentication Error - Expired Key. Obtain a new one.",
        );
        let error = error.with_param(key.key_name.clone());
        return Err(refused(state, key, Reason::Expired, error));
    }
    Ok(())
}

/// Tells the operator why; who is refused reads no more than the error.
fn refused(state: &AppState, key: &Key, reason: Reason, error: ApiError) -> ApiError {
    refusals::log(key.hash, reason);
    let now = state.clock.now();
    state.refusals.remember(key.hash, reason, now);
    error
}

fn unknown(hash: KeyHash) -> ApiError {
    refusals::log(hash, Reason::Unknown);
    not_found()
}

fn not_found() -> ApiError {
    ApiError::unauthorized(
        "token_not_found_in_db",
        "Authentication Error, Invalid API key provided. Check that it is whole and was not revoked.",
    )
    .with_param("key")
}

/// The first header of the order that is there decides, whatever it holds: a
/// second one must not rescue a bad first one.
fn presented(headers: &HeaderMap) -> Result<&str, ApiError> {
    let Some((name, value)) = HEADERS
        .iter()
        .find_map(|name| headers.get(name).map(|value| (name, value)))
    else {
        return Err(ApiError::unauthorized(
            "auth_error",
            "Authentication Error, No api key passed in.",
        ));
    };
    let text = value.to_str().map_err(|_| malformed())?.trim();
    let has_scheme = name == header::AUTHORIZATION;
    let bare = match without_scheme(text) {
        Some(bare) => bare,
        None if has_scheme => return Err(malformed()),
        None => text,
    };
    // LiteLLM: a scheme without a key is malformed.
    if bare.is_empty() && has_scheme {
        return Err(malformed());
    }
    if bare.is_empty() {
        return Err(ApiError::unauthorized(
            "auth_error",
            "Authentication Error, No api key passed in.",
        ));
    }
    Ok(bare)
}

/// LiteLLM: `Bearer` and `Basic` are both followed by the key itself.
fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic");
    known.then(|| rest.trim())
}

fn malformed() -> ApiError {
    ApiError::unauthorized(
        "auth_error",
        "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.",
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::presented;

    fn check(given: &[(&'static str, &'static str)], expected: Option<&str>) {
        let headers: HeaderMap = given
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        assert_eq!(presented(&headers).ok(), expected, "{given:?}");
    }

    #[test]
    fn the_key_is_taken_from_the_first_accepted_header() {
        check(&[], None);
        check(&[("authorization", "Bearer sk-a")], Some("sk-a"));
        check(&[("authorization", "bearer  sk-a ")], Some("sk-a"));
        check(&[("authorization", "Basic sk-a")], Some("sk-a"));
        check(&[("authorization", "sk-a")], None);
        check(&[("authorization", "Bearer")], None);
        check(&[("authorization", "Digest sk-a")], None);
        check(&[("x-api-key", "sk-b")], Some("sk-b"));
        check(&[("api-key", "sk-c")], Some("sk-c"));
        check(&[("x-goog-api-key", "sk-d")], Some("sk-d"));
        check(&[("x-litellm-api-key", "Bearer sk-e")], Some("sk-e"));
        check(
            &[
                ("x-litellm-api-key", "sk-e"),
                ("authorization", "Bearer sk-a"),
            ],
            Some("sk-e"),
        );
        check(&[("authorization", "rubbish"), ("x-api-key", "sk-b")], None);
        check(&[("x-api-key", "")], None);
    }
}
