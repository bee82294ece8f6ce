//! `static-creds/<name>`: the key of a static role.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use vault_plugin_sdk::{Error, Field, FieldType, Operation, Path, Request, Response, generic_name};

use crate::backend::State;
use crate::paths::static_roles::{self, StaticKey, StaticRole, time};
use crate::static_schedule::TICK_SECONDS;

const SYNOPSIS: &str = "The key of a static role.";
const DESCRIPTION: &str = "Answers the key that is in use, without a lease: everyone who reads it \
gets the same one until it is replaced. ttl is the number of seconds until then; read again when \
it is over. A key whose rotation is late works until its successor is there.";

pub(crate) fn path() -> Path<State> {
    Path::new(format!("static-creds/{}", generic_name("name")))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."))
        // Forwarded although it only reads: the entry on a standby may be the
        // one before the last rotation, whose key has ended.
        .operation_forwarded(Operation::Read, read)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn read(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    let role = static_roles::load(&req, &name).await?.ok_or_else(|| {
        Error::user(format!(
            "unknown static role {name:?}: write static-roles/{name} first"
        ))
    })?;
    let Some(key) = &role.current else {
        return Err(Error::user(format!(
            "the static role {name:?} has no key, because its mount was to be removed or moved: it gets one within a minute, or at once by rotate-role/{name}"
        )));
    };
    let mut data = static_roles::rotation_answer(&role);
    data.insert("key".into(), json!(key.key.expose()));
    data.insert("key_alias".into(), json!(key.key_alias));
    data.insert("key_hash".into(), json!(key.key_hash));
    data.insert("models".into(), json!(key.models));
    data.insert("max_budget".into(), json!(key.max_budget));
    data.insert("expires_at".into(), time(key.expires_at));
    // HashiCorp: never negative, also while a rotation is late.
    let rest = (role.next_rotation - Utc::now()).num_seconds().max(0);
    data.insert("ttl".into(), json!(rest));

    // The key works, whatever has become of the configuration.
    let client = state.client(&req).await.ok();
    let public_url = client.as_ref().map(|client| client.public_url());
    if let Some(url) = public_url.filter(|url| !url.is_empty()) {
        data.insert("base_url".into(), json!(url));
    }
    let mut response = Response::data(data);
    if let Some(warning) = late(&name, &role, key, Utc::now()) {
        response = response.warn(warning);
    }
    if client.is_none_or(|client| client.base_url() != key.base_url) {
        response = response.warn(format!(
            "the key was issued at {}, which config does not name any more: rotate-role/{name} issues one where it does",
            key.base_url
        ));
    }
    Ok(Some(response))
}

/// What the reader should know of a key that nobody replaced in time.
fn late(name: &str, role: &StaticRole, key: &StaticKey, now: DateTime<Utc>) -> Option<String> {
    let cure = format!(
        "the server's log says why, it is tried again by itself, and rotate-role/{name} tries at once"
    );
    if key.expires_at <= now {
        return Some(format!(
            "the key has expired and does not work, because its rotation fails: {cure}"
        ));
    }
    // A rotation waits for the server's next minute, and that may be a full one.
    let patience = TimeDelta::seconds(i64::try_from(2 * TICK_SECONDS).unwrap_or_default());
    (role.next_rotation <= now - patience).then(|| {
        format!("the rotation of the key is overdue, and the key works until expires_at: {cure}")
    })
}
