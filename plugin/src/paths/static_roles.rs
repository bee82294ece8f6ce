//! `static-roles/` and `static-roles/<name>`: long-lived keys that the engine
//! replaces by a schedule, one a role.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::{
    Error, Field, FieldType, Operation, Path, Request, Response, generic_name, get_json, put_json,
};

use crate::backend::State;
use crate::client::KeyText;
use crate::grant::{Grant, check};
use crate::static_rotation;
use crate::static_schedule::{Schedule, TICK_SECONDS};

mod delete;
mod input;

const LIST_SYNOPSIS: &str = "The names of the static roles.";
const LIST_DESCRIPTION: &str = "Lists the roles that static-creds can be read for.";
const SYNOPSIS: &str = "One long-lived key, replaced by a schedule.";
const DESCRIPTION: &str = "A static role has one key at a time, which static-creds answers without \
a lease. Writing a new role issues its first key. The key is replaced each rotation_period, or at \
the times of rotation_schedule (cron, in UTC), and by rotate-role; the former key ends when its \
grace_period is over. The server looks for due rotations once a minute; a gateway that fails is \
tried again, and the key stays in use meanwhile. Changing what the key may do, or any other field \
that it carries at the gateway, replaces it at once; changing times counts them anew and keeps the \
key. Deleting the role ends its keys. A key that nobody replaces any more dies by itself one \
rotation after its next one was due.";

pub(crate) const STORAGE_PREFIX: &str = "static-role/";

/// A stored static role, with the keys it has at the gateway. Fields added later
/// need a default, so that entries written by an older version keep loading.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StaticRole {
    #[serde(flatten)]
    pub(crate) grant: Grant,
    #[serde(default)]
    pub(crate) user_id: String,
    #[serde(default)]
    pub(crate) team_id: String,
    pub(crate) schedule: Schedule,
    /// How long a former key still works.
    #[serde(default)]
    pub(crate) grace_period_seconds: u64,
    pub(crate) next_rotation: DateTime<Utc>,
    /// The key in use. None while the role is being created, and after the mount
    /// was to go.
    #[serde(default)]
    pub(crate) current: Option<StaticKey>,
    /// Former keys that the gateway has not ended yet, oldest first.
    #[serde(default)]
    pub(crate) predecessors: Vec<Predecessor>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StaticKey {
    pub(crate) key: KeyText,
    /// SHA-256 of the key, as the gateway files it.
    pub(crate) key_hash: String,
    pub(crate) key_alias: String,
    /// The gateway that issued it.
    pub(crate) base_url: String,
    pub(crate) issued_at: DateTime<Utc>,
    /// When it dies by itself.
    pub(crate) expires_at: DateTime<Utc>,
    /// As granted.
    pub(crate) models: Vec<String>,
    pub(crate) max_budget: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Predecessor {
    pub(crate) key_hash: String,
    pub(crate) key_alias: String,
    pub(crate) base_url: String,
    /// From then on it is to be deleted.
    pub(crate) ends_at: DateTime<Utc>,
    /// Whether the gateway itself lets it end then.
    pub(crate) has_end: bool,
    /// When it dies by itself, if the gateway was never told of its end.
    pub(crate) expires_at: DateTime<Utc>,
}

impl StaticRole {
    fn new(grant: Grant, schedule: Schedule) -> Self {
        Self {
            grant,
            user_id: String::new(),
            team_id: String::new(),
            schedule,
            grace_period_seconds: 0,
            next_rotation: Utc::now(),
            current: None,
            predecessors: Vec::new(),
        }
    }

    /// Whether the key with this alias is one of the role's.
    pub(crate) fn has(&self, key_alias: &str) -> bool {
        let current = self.current.iter().map(|key| &key.key_alias);
        let former = self.predecessors.iter().map(|key| &key.key_alias);
        current.chain(former).any(|alias| alias == key_alias)
    }

    /// When there is something to be done for it.
    pub(crate) fn next_work(&self) -> DateTime<Utc> {
        let former = self.predecessors.iter().map(|key| {
            if key.has_end {
                key.ends_at
            } else {
                DateTime::<Utc>::UNIX_EPOCH
            }
        });
        former.fold(self.next_rotation, DateTime::min)
    }

    /// Makes every key one that is to end now, and the next rotation due. Says
    /// whether there is any.
    pub(crate) fn retire_all(&mut self, now: DateTime<Utc>) -> bool {
        if let Some(key) = self.current.take() {
            self.predecessors.push(Predecessor {
                key_hash: key.key_hash,
                key_alias: key.key_alias,
                base_url: key.base_url,
                ends_at: now,
                has_end: false,
                expires_at: key.expires_at,
            });
        }
        for former in &mut self.predecessors {
            former.ends_at = now;
        }
        self.next_rotation = now;
        !self.predecessors.is_empty()
    }

    /// Whether the key itself would be another one.
    fn asks_for_another_key(&self, stored: &Self) -> bool {
        self.grant != stored.grant
            || self.user_id != stored.user_id
            || self.team_id != stored.team_id
    }
}

pub(crate) fn list_path() -> Path<State> {
    Path::new("static-roles/?")
        .operation(Operation::List, list)
        .operation(Operation::Update, nameless)
        .help(LIST_SYNOPSIS, LIST_DESCRIPTION)
}

pub(crate) fn path() -> Path<State> {
    let path = Path::new(format!("static-roles/{}", generic_name("name")))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."));
    Grant::declare(path)
        .field(Field::new("user_id", FieldType::String).description("The gateway's user that the key belongs to; empty means none."))
        .field(Field::new("team_id", FieldType::String).description("The gateway's team that the key belongs to; empty means none."))
        .field(Field::new("rotation_period", FieldType::DurationSecond).description("Time between two rotations, at least 5s; they happen once a minute at most. Excludes rotation_schedule."))
        .field(Field::new("rotation_schedule", FieldType::String).description("Times of rotation as a cron expression of five fields, in UTC: \"0 3 * * SAT\". Excludes rotation_period."))
        .field(Field::new("rotation_window", FieldType::DurationSecond).description("How long after a time of rotation_schedule a rotation may still happen, at least 1h; one that is later waits for the next time. 0 means no window."))
        .field(Field::new("grace_period", FieldType::DurationSecond).description("How long the former key works after a rotation (default 0)."))
        .operation(Operation::Read, read)
        .operation_on_primary(Operation::Create, write)
        .operation_on_primary(Operation::Update, write)
        .operation_on_primary(Operation::Delete, delete::delete)
        .exists(exists)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn list(_state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    Ok(Some(Response::list(names(&req).await?)))
}

async fn nameless(_state: Arc<State>, _req: Request) -> Result<Option<Response>, Error> {
    Err(Error::user("name the role: write static-roles/<name>"))
}

async fn exists(_state: Arc<State>, req: Request) -> Result<bool, Error> {
    Ok(load(&req, &req.fields.string("name")).await?.is_some())
}

async fn read(_state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let Some(role) = load(&req, &req.fields.string("name")).await? else {
        return Ok(None);
    };
    let mut answer = role.grant.answer();
    answer.insert("user_id".into(), json!(role.user_id));
    answer.insert("team_id".into(), json!(role.team_id));
    answer.insert("grace_period".into(), json!(role.grace_period_seconds));
    answer.insert("next_vault_rotation".into(), time(role.next_rotation));
    answer.extend(rotation_answer(&role));
    Ok(Some(Response::data(answer)))
}

/// What `static-creds` answers too.
pub(crate) fn rotation_answer(role: &StaticRole) -> Map<String, Value> {
    let mut answer = Map::new();
    match &role.schedule {
        Schedule::Period { seconds } => {
            answer.insert("rotation_period".into(), json!(seconds));
        }
        Schedule::Cron {
            expression,
            window_seconds,
        } => {
            answer.insert("rotation_schedule".into(), json!(expression.as_str()));
            if *window_seconds > 0 {
                answer.insert("rotation_window".into(), json!(window_seconds));
            }
        }
    }
    if let Some(key) = &role.current {
        answer.insert("last_vault_rotation".into(), time(key.issued_at));
    }
    answer
}

pub(crate) fn time(time: DateTime<Utc>) -> Value {
    json!(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

async fn write(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    check::role_name(&name)?;
    let _working = state.statics.lock(&name).await;
    let stored = load(&req, &name).await?;
    let role = input::merged(stored.clone(), &req.fields)?;
    let (role, warnings) = match stored {
        Some(stored) if stored.current.is_some() && !role.asks_for_another_key(&stored) => {
            retime(&state, &req, &name, role, &stored).await?
        }
        _ => {
            let rotated = static_rotation::rotate(&state, &req, &name, role).await?;
            (rotated.role, rotated.warnings)
        }
    };
    let response = Response {
        warnings,
        ..Response::default()
    };
    Ok(Some(warned(response, &role)).filter(|response| !response.warnings.is_empty()))
}

/// Saves a role whose key stays, with its times counted anew where they changed.
async fn retime(
    state: &Arc<State>,
    req: &Request,
    name: &str,
    mut role: StaticRole,
    stored: &StaticRole,
) -> Result<(StaticRole, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let has_new_times = role.schedule != stored.schedule;
    if let Some(key) = &role.current
        && has_new_times
    {
        let now = Utc::now();
        role.next_rotation = match &role.schedule {
            // HashiCorp: a period counts from the last rotation.
            Schedule::Period { .. } => role.schedule.next_after(key.issued_at).max(now),
            Schedule::Cron { .. } => role.schedule.next_after(now),
        };
    }
    save(req, name, &role).await?;
    state.statics.queue().schedule(name, role.next_work());
    if has_new_times {
        let aligned = match state.client(req).await {
            Ok(client) => static_rotation::align_expiry(&client, req, name, &mut role).await,
            Err(error) => Err(error),
        };
        if let Err(error) = aligned {
            crate::static_tick::retry(state, req, name).await;
            warnings.push(format!(
                "the key's own expiry could not be moved yet ({error}): this is tried again"
            ));
        }
    }
    Ok((role, warnings))
}

fn warned(mut response: Response, role: &StaticRole) -> Response {
    let grant = role.grant.settled();
    if grant.models.is_empty() {
        response = response.warn("models is empty: the key may call every model of the gateway");
    }
    if grant.budget().is_none() {
        response = response.warn("max_budget is not set: the key may spend without a cap");
    }
    if let Schedule::Period { seconds } = role.schedule
        && seconds < TICK_SECONDS
    {
        response = response.warn(
            "rotation_period is shorter than a minute, and rotations happen once a minute at most",
        );
    }
    response
}

pub(crate) async fn names(req: &Request) -> Result<Vec<String>, Error> {
    Ok(req.storage.list(STORAGE_PREFIX).await?)
}

pub(crate) async fn load(req: &Request, name: &str) -> Result<Option<StaticRole>, Error> {
    get_json(req.storage.as_ref(), &storage_key(name)).await
}

pub(crate) async fn save(req: &Request, name: &str, role: &StaticRole) -> Result<(), Error> {
    put_json(req.storage.as_ref(), &storage_key(name), role).await
}

fn storage_key(name: &str) -> String {
    format!("{STORAGE_PREFIX}{name}")
}

#[cfg(test)]
mod tests;
