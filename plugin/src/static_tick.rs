//! The minute's work on static roles: rotations that are due, former keys whose
//! grace is over, and, when the mount goes, the end of all keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use vault_plugin_sdk::{Error, Request};

use crate::backend::State;
use crate::paths::static_roles::{self, StaticRole};
use crate::static_rotation;

/// Vault: a tick has 90 s, and rolling back the write-ahead log comes after.
/// One role more may be begun before this is over.
const BUDGET: Duration = Duration::from_secs(20);

/// Called by the server each minute, on the active node only.
///
/// # Errors
/// When the mount goes and a key could not be ended. Vault: the server logs that
/// and removes the mount all the same, so each such key is logged here. At any
/// other time failures are logged and tried again.
pub(crate) async fn run(state: Arc<State>, req: Request) -> Result<(), Error> {
    // Vault Enterprise: performance secondaries tick too, and the primary's
    // roles are not theirs to rotate.
    if !req.system.writes_here().await? {
        return Ok(());
    }
    if req.system.tainted().await? {
        return end_all(&state, &req).await;
    }
    if !state.statics.queue().is_complete() {
        fill_queue(&state, &req).await;
    }
    let started = Instant::now();
    while started.elapsed() < BUDGET {
        let Some(name) = state.statics.queue().claim(Utc::now()) else {
            break;
        };
        if let Err(error) = work(&state, &req, &name).await {
            tracing::warn!(role = name, %error, "the work on a static role failed and is tried again; its key stays in use");
            retry(&state, &req, &name).await;
        }
    }
    Ok(())
}

/// Lets the role come back after a pause that grows with each failure.
pub(crate) async fn retry(state: &State, req: &Request, name: &str) {
    let now = Utc::now();
    // One that can't be read comes back as soon as one that rotates often.
    let spacing = match static_roles::load(req, name).await {
        Ok(Some(role)) => role.schedule.spacing(now),
        Ok(None) | Err(_) => TimeDelta::zero(),
    };
    let jitter = rand::rng().random_range(0.0..1.0);
    state.statics.queue().retry(name, now, spacing, jitter);
}

async fn fill_queue(state: &State, req: &Request) {
    match stored(req).await {
        Ok(stored) => state.statics.queue().complete(stored),
        Err(error) => {
            tracing::warn!(%error, "the static roles could not be read: tried again in a minute");
        }
    }
}

/// Every stored role, with the time of its next work.
async fn stored(req: &Request) -> Result<Vec<(String, DateTime<Utc>)>, Error> {
    let mut stored = Vec::new();
    for name in static_roles::names(req).await? {
        match static_roles::load(req, &name).await {
            Ok(Some(role)) => stored.push((name, role.next_work())),
            Ok(None) => {}
            // One that can't be read must not keep the others from rotating.
            Err(error) => tracing::error!(role = name, %error, "a static role can't be read"),
        }
    }
    Ok(stored)
}

/// All that is due for one role.
async fn work(state: &Arc<State>, req: &Request, name: &str) -> Result<(), Error> {
    let _working = state.statics.lock(name).await;
    let Some(mut role) = static_roles::load(req, name).await? else {
        state.statics.queue().remove(name);
        return Ok(());
    };
    let now = Utc::now();
    if role.next_rotation <= now {
        if role.current.is_none() || role.schedule.is_open(role.next_rotation, now) {
            return rotate(state, req, name, role).await;
        }
        // HashiCorp: a rotation whose window has passed waits for the next.
        role.next_rotation = role.schedule.next_after(now);
        static_roles::save(req, name, &role).await?;
        tracing::warn!(role = name, next = %role.next_rotation, "the rotation window has passed: the key stays until the next one");
    }
    let client = state.client(req).await?;
    // One that fails must not keep the other from being done.
    let aligned = static_rotation::align_expiry(&client, req, name, &mut role).await;
    static_rotation::end_predecessors(&client, req, name, &mut role).await?;
    aligned?;
    state.statics.queue().schedule(name, role.next_work());
    Ok(())
}

async fn rotate(
    state: &Arc<State>,
    req: &Request,
    name: &str,
    role: StaticRole,
) -> Result<(), Error> {
    match static_rotation::rotate(state, req, name, role).await {
        Ok(rotated) => {
            tracing::info!(role = name, next = %rotated.role.next_rotation, warnings = ?rotated.warnings, "static key rotated");
            Ok(())
        }
        Err(failure) => {
            // However long the gateway refuses, the key in use must not run out.
            if let Err(error) = lengthen(state, req, name).await {
                tracing::warn!(role = name, %error, "the life of a key whose rotation is late could not be lengthened");
            }
            Err(failure)
        }
    }
}

async fn lengthen(state: &Arc<State>, req: &Request, name: &str) -> Result<(), Error> {
    // Read anew: if only an answer was lost, the saved role has the successor.
    let Some(mut role) = static_roles::load(req, name).await? else {
        return Ok(());
    };
    let client = state.client(req).await?;
    static_rotation::align_expiry(&client, req, name, &mut role).await
}

/// Ends all keys of a mount that goes. A mount that comes back, as after a
/// move, gives each role a new key in its first minute.
async fn end_all(state: &Arc<State>, req: &Request) -> Result<(), Error> {
    let mut failed = 0_usize;
    for name in static_roles::names(req).await? {
        if let Err(error) = end_keys(state, req, &name).await {
            tracing::warn!(role = name, %error, "the keys of a static role could not be ended");
            failed += 1;
        }
    }
    if failed > 0 {
        return Err(Error::coded(
            502,
            format!(
                "the keys of {failed} static roles could not be ended at the gateway, and the mount goes all the same: the log names each key and until when it works, delete them at the gateway"
            ),
        ));
    }
    Ok(())
}

async fn end_keys(state: &Arc<State>, req: &Request, name: &str) -> Result<(), Error> {
    let _working = state.statics.lock(name).await;
    let Some(mut role) = static_roles::load(req, name).await? else {
        return Ok(());
    };
    if !role.retire_all(Utc::now()) {
        return Ok(());
    }
    let ended = end_retired(state, req, name, &mut role).await;
    if ended.is_err() {
        // The storage may be cleared at once, and with it all that is known of them.
        for left in &role.predecessors {
            tracing::error!(
                role = name,
                key.alias = left.key_alias,
                key.hash = left.key_hash,
                gateway = left.base_url,
                expires_at = %left.expires_at,
                "the mount goes and this static key could not be ended: it works until it expires, unless it is deleted at the gateway"
            );
        }
    }
    ended
}

async fn end_retired(
    state: &Arc<State>,
    req: &Request,
    name: &str,
    role: &mut StaticRole,
) -> Result<(), Error> {
    // First of all the entry says so: a key that is ended and still handed out
    // would be worse than one that lives a little longer.
    static_roles::save(req, name, role).await?;
    state.statics.queue().schedule(name, role.next_work());
    let client = state.client(req).await?;
    static_rotation::end_predecessors(&client, req, name, role).await
}
