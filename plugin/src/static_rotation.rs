//! Gives a static role a new key and ends the old one, in an order that never
//! loses the key in use: the successor is made and saved before its predecessor
//! ends, and a predecessor is remembered until the gateway has ended it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::{Error, Request};

use crate::backend::State;
use crate::client::wire::{GenerateRequest, Told};
use crate::client::{Client, Deleted, IssuedKey};
use crate::error::GatewayError;
use crate::paths::creds;
use crate::paths::static_roles::{self, Predecessor, StaticKey, StaticRole};
use crate::wal::Pending;
use crate::{alias, failpoint, gating, static_wal};

/// More former keys than this are not kept alive, so that an entry stays small
/// however often somebody rotates by hand.
const MAX_IN_GRACE: usize = 16;

/// Gateways round to their own clock's resolution.
const TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// What was done, and what its caller should be told.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) role: StaticRole,
    pub(crate) warnings: Vec<String>,
}

/// Replaces the role's key and saves the role with all that the caller changed
/// in it. The caller holds the role's lock. With an error the saved role is
/// what it was, and its key works as before.
pub(crate) async fn rotate(
    state: &Arc<State>,
    req: &Request,
    name: &str,
    mut role: StaticRole,
) -> Result<Rotated, Error> {
    let client = state.client(req).await?;
    gating::still(&client, &role.grant.needs()).await?;
    let now = Utc::now();
    let due = role.schedule.next_after(now);
    let life = length(role.schedule.expiry(due, now) - now);
    let wanted = request(req, name, &role, life);

    failpoint::hit("static.before_wal").await;
    let pending = static_wal::begin(state, req, name, &wanted, &client).await?;
    failpoint::hit("static.after_wal").await;
    let (issued, life, mut warnings) = made(&client, req, &pending, &wanted, due - now).await?;
    take_over(&mut role, &client, &wanted, issued, now, life);
    role.next_rotation = due;
    // When this fails nobody can tell whether the entry is there: the rollback
    // looks at it again later and ends whichever key it does not name.
    static_roles::save(req, name, &role).await?;
    failpoint::hit("static.after_save").await;
    forget(req, name, &pending).await;
    if let Err(error) = end_predecessors(&client, req, name, &mut role).await {
        warnings.push(format!(
            "the former key could not be ended yet ({error}): this is tried again"
        ));
    }
    state.statics.queue().schedule(name, role.next_work());
    Ok(Rotated { role, warnings })
}

/// Has the gateway make the key, and takes it back where it is not what was
/// asked for. Until the role names it, its write-ahead entry stays.
async fn made(
    client: &Client,
    req: &Request,
    pending: &Pending,
    wanted: &GenerateRequest,
    until_due: TimeDelta,
) -> Result<(IssuedKey, Duration, Vec<String>), Error> {
    let issued = match client.generate(wanted).await {
        Ok(issued) => issued,
        Err(error) => {
            if error.changed_nothing() {
                pending.done(req).await?;
            }
            return Err(error.into());
        }
    };
    failpoint::hit("static.after_generate").await;
    match granted(&issued, wanted, until_due) {
        Ok((life, warnings)) => Ok((issued, life, warnings)),
        Err(why) => {
            creds::take_back(client, &issued).await;
            Err(Error::coded(
                502,
                format!("{why}; the new key is being deleted"),
            ))
        }
    }
}

/// The rollback finds nothing to do for an entry that outlives its purpose.
async fn forget(req: &Request, name: &str, pending: &Pending) {
    if let Err(error) = pending.done(req).await {
        tracing::warn!(role = name, %error, "a write-ahead entry of a finished rotation stays for the rollback");
    }
}

/// Ends every former key whose grace is over, and sets the end of every other
/// at the gateway. What is done is saved, what fails stays for the next time.
pub(crate) async fn end_predecessors(
    client: &Client,
    req: &Request,
    name: &str,
    role: &mut StaticRole,
) -> Result<(), Error> {
    let mut failure = None;
    let mut has_changed = false;
    let mut rest = Vec::with_capacity(role.predecessors.len());
    for mut former in std::mem::take(&mut role.predecessors) {
        let outcome = match end(client, &former).await {
            Ok(End::Over) => {
                has_changed = true;
                continue;
            }
            Ok(End::Later) => {
                has_changed |= !former.has_end;
                former.has_end = true;
                None
            }
            Err(error) => Some(error),
        };
        failure = outcome.or(failure);
        rest.push(former);
    }
    role.predecessors = rest;
    if has_changed {
        static_roles::save(req, name, role).await?;
    }
    failure.map_or(Ok(()), Err)
}

enum End {
    Over,
    /// At a time that the gateway knows of.
    Later,
}

async fn end(client: &Client, former: &Predecessor) -> Result<End, Error> {
    let now = Utc::now();
    if former.ends_at > now {
        if former.has_end {
            return Ok(End::Later);
        }
        let rest = length(former.ends_at - now);
        return match client.extend(&former.key_hash, rest).await {
            Ok(_) => Ok(End::Later),
            Err(GatewayError::Refused { status: 404, .. })
                if former.base_url == client.base_url() =>
            {
                Ok(End::Over)
            }
            Err(error) => Err(error.into()),
        };
    }
    let absent = client.delete_hash(&former.key_hash).await? == Deleted::Absent;
    // Absence proves the key's end only where the key was issued, or when its
    // own expiry has ended it anyway.
    if absent && former.base_url != client.base_url() && former.expires_at > now {
        return Err(Error::user(format!(
            "a key was issued at {} and can't be looked for at {}",
            former.base_url,
            client.base_url()
        )));
    }
    Ok(End::Over)
}

/// Lengthens or shortens the life of the key in use to what its next rotation
/// asks for, and saves that.
pub(crate) async fn align_expiry(
    client: &Client,
    req: &Request,
    name: &str,
    role: &mut StaticRole,
) -> Result<(), Error> {
    let now = Utc::now();
    let expiry = role.schedule.expiry(role.next_rotation, now);
    let Some(key) = &mut role.current else {
        return Ok(());
    };
    if (expiry - key.expires_at).abs() <= TOLERANCE {
        return Ok(());
    }
    let asked = length(expiry - now);
    let life = client.extend(&key.key_hash, asked).await?;
    let life = bounded(life, asked).map_err(|why| Error::coded(502, why))?;
    key.expires_at = now + TimeDelta::from_std(life).unwrap_or_default();
    static_roles::save(req, name, role).await
}

fn request(req: &Request, name: &str, role: &StaticRole, life: Duration) -> GenerateRequest {
    let metadata = Map::from_iter([
        ("vault_mount".to_owned(), json!(req.mount_point)),
        ("vault_role".to_owned(), json!(name)),
        ("vault_static".to_owned(), json!(true)),
    ]);
    let alias = alias::new(&role.grant.key_alias_prefix, name);
    let mut wanted = role.grant.request(alias, life, metadata);
    for (field, value) in [("user_id", &role.user_id), ("team_id", &role.team_id)] {
        if !value.is_empty() {
            wanted
                .more
                .insert(field.to_owned(), Value::from(value.as_str()));
        }
    }
    wanted
}

/// The life that was granted, and what of the grant is less than was asked.
/// `Err` says why the key must not be taken over.
fn granted(
    issued: &IssuedKey,
    wanted: &GenerateRequest,
    until_due: TimeDelta,
) -> Result<(Duration, Vec<String>), String> {
    let mut warnings = creds::granted::warnings(issued, wanted)?;
    let life = bounded(issued.life, wanted.duration)?;
    if life <= length(until_due) {
        return Err(format!(
            "the gateway lets a key live {}s only, which is not until its next rotation: rotate more often, or raise the gateway's upper bound for durations",
            life.as_secs()
        ));
    }
    if life + length(TOLERANCE) < wanted.duration {
        warnings.push(format!(
            "the gateway shortened the key's life to {}s: a late rotation may find it ended",
            life.as_secs()
        ));
    }
    Ok((life, warnings))
}

/// The life that was granted, which must not be longer than was asked.
fn bounded(life: Told<Duration>, asked: Duration) -> Result<Duration, String> {
    match life {
        None => Ok(asked),
        Some(None) => Err("the gateway gave the key no expiry".into()),
        Some(Some(life)) if life > asked + length(TOLERANCE) => Err(format!(
            "the gateway gave the key a life of {}s where {}s were asked",
            life.as_secs(),
            asked.as_secs()
        )),
        Some(Some(life)) => Ok(life),
    }
}

/// Makes the issued key the role's own, and the one it had a former key.
fn take_over(
    role: &mut StaticRole,
    client: &Client,
    wanted: &GenerateRequest,
    issued: IssuedKey,
    now: DateTime<Utc>,
    life: Duration,
) {
    let grace = i64::try_from(role.grace_period_seconds).unwrap_or_default();
    let successor = StaticKey {
        models: issued.models.unwrap_or_else(|| wanted.models.clone()),
        max_budget: issued.max_budget.flatten().or(wanted.max_budget),
        key: issued.key,
        key_hash: issued.hash,
        key_alias: wanted.key_alias.clone(),
        base_url: client.base_url().to_owned(),
        issued_at: now,
        expires_at: now + TimeDelta::from_std(life).unwrap_or_default(),
    };
    if let Some(former) = role.current.replace(successor) {
        role.predecessors.push(Predecessor {
            key_hash: former.key_hash,
            key_alias: former.key_alias,
            base_url: former.base_url,
            ends_at: former.expires_at.min(now + TimeDelta::seconds(grace)),
            has_end: false,
            expires_at: former.expires_at,
        });
    }
    let too_many = role.predecessors.len().saturating_sub(MAX_IN_GRACE);
    for former in role.predecessors.iter_mut().take(too_many) {
        former.ends_at = now;
    }
}

/// A negative length is none.
fn length(delta: TimeDelta) -> Duration {
    Duration::from_secs(delta.to_std().unwrap_or_default().as_secs().max(1))
}

#[cfg(test)]
mod tests;
