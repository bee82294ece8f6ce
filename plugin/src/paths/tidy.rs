//! `tidy`: deletes from the gateway what this mount issued and has expired, and
//! rolls back at once what a crash left half done. Needs nothing that is stored
//! per lease: a key says itself where it comes from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, json};
use vault_plugin_sdk::{
    Error, Field, FieldType, Operation, Path, Request, Response, WalOutcome, wal as sdk_wal,
};

use crate::backend::State;
use crate::client::{Client, Deleted, KeyPage, ListedKey};
use crate::{alias, wal};

const SYNOPSIS: &str = "Deletes the expired keys of this mount from the gateway.";
const DESCRIPTION: &str = "Reads the gateway's list of keys and deletes those that this mount issued \
and that have expired by the gateway's clock. Then rolls back at once what issuing and rotating left \
half done, where it is old enough. One call takes at most about 80 s: when complete is false, call \
again with page set to next_page.";

/// Vault: a request of its own ends after 90 s; the answer must come before.
const TIME_LIMIT: Duration = Duration::from_secs(80);
/// LiteLLM takes any number in one call; this keeps one call short.
const BATCH: usize = 100;
/// More aliases than this are counted and not listed.
const MAX_LISTED: usize = 1000;

#[derive(Debug, Default)]
struct Report {
    keys_seen: usize,
    /// By hash: their aliases.
    expired: BTreeMap<String, String>,
    deleted_keys: usize,
    wal_entries: usize,
    wal_rolled_back: usize,
    wal_kept: usize,
    /// Where to go on, when the time was too short.
    next_page: Option<u32>,
    errors: Vec<String>,
}

pub(crate) fn path() -> Path<State> {
    Path::new("tidy")
        .field(
            Field::new("dry_run", FieldType::Bool)
                .description("Only tell which keys would be deleted (default false)."),
        )
        .field(
            Field::new("page", FieldType::Int)
                .description("Page of the gateway's list to begin with, 100 keys each (default 1).")
                .default(1),
        )
        .operation_forwarded(Operation::Update, tidy)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn tidy(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let first_page = u32::try_from(req.fields.int("page"))
        .ok()
        .filter(|page| *page > 0)
        .ok_or_else(|| Error::user("page must be 1 or more"))?;
    let is_dry = req.fields.bool("dry_run");
    let client = state.client(&req).await?;
    // A call that begins before the deadline still takes its own time.
    let deadline = Instant::now() + TIME_LIMIT.saturating_sub(client.request_timeout());

    let mut report = Report::default();
    find(&mut report, &client, &req, first_page, deadline).await?;
    if !is_dry {
        delete(&mut report, &client, deadline).await;
    }
    roll_back(&mut report, &state, req, is_dry, deadline).await?;
    Ok(Some(answer(report, is_dry)))
}

/// Reads the list until its end, or until half of the time is over, so that
/// what was found can also be deleted.
async fn find(
    report: &mut Report,
    client: &Client,
    req: &Request,
    first_page: u32,
    deadline: Instant,
) -> Result<(), Error> {
    let began = Instant::now();
    let half = began + deadline.saturating_duration_since(began) / 2;
    let admin_key = client.own_key_hash();
    for page in first_page.. {
        let listed = match client.list_keys(page).await {
            Ok(listed) => listed,
            Err(error) if page == first_page => return Err(error.into()),
            Err(error) => {
                report.errors.push(error.to_string());
                report.next_page = Some(page);
                break;
            }
        };
        report.keys_seen += listed.keys.len();
        let is_ours = |key: &&ListedKey| {
            key.hash != admin_key && is_expired(key, &listed) && is_of_mount(key, &req.mount_point)
        };
        let expired = listed.keys.iter().filter(is_ours);
        report
            .expired
            .extend(expired.map(|key| (key.hash.clone(), key.alias.clone())));
        if listed.is_last {
            break;
        }
        if Instant::now() >= half {
            report.next_page = Some(page + 1);
            break;
        }
    }
    Ok(())
}

fn is_expired(key: &ListedKey, listed: &KeyPage) -> bool {
    key.expires
        .is_some_and(|expires| expires <= listed.written_at)
}

/// Whether the engine issued the key through this mount: it carries the mount's
/// name, and an alias that only the engine makes of the role that it names.
fn is_of_mount(key: &ListedKey, mount_point: &str) -> bool {
    !mount_point.is_empty()
        && key.metadata("vault_mount") == mount_point
        && alias::is_of_role(&key.alias, key.metadata("vault_role"))
}

async fn delete(report: &mut Report, client: &Client, deadline: Instant) {
    let hashes: Vec<String> = report.expired.keys().cloned().collect();
    for batch in hashes.chunks(BATCH) {
        if Instant::now() >= deadline {
            report
                .errors
                .push("the time was too short to delete all that was found: call again".into());
            break;
        }
        match client.delete_hashes(batch).await {
            Ok(Deleted::Now) => report.deleted_keys += batch.len(),
            // Somebody else did.
            Ok(Deleted::Absent) => {}
            Err(error) => {
                report.errors.push(error.to_string());
                break;
            }
        }
    }
    // What is gone no longer counts in the pages before the one to go on with.
    let freed = u32::try_from(report.deleted_keys.div_ceil(BATCH)).unwrap_or(u32::MAX);
    report.next_page = report
        .next_page
        .map(|page| page.saturating_sub(freed).max(1));
}

/// Does what the rollback of every minute does, now.
async fn roll_back(
    report: &mut Report,
    state: &Arc<State>,
    mut req: Request,
    is_dry: bool,
    deadline: Instant,
) -> Result<(), Error> {
    // The fields of a tidy mean nothing to a rollback.
    req.data.clear();
    let storage = Arc::clone(&req.storage);
    for id in sdk_wal::list(storage.as_ref()).await? {
        report.wal_entries += 1;
        if is_dry || Instant::now() >= deadline {
            report.wal_kept += 1;
            continue;
        }
        let Some(entry) = sdk_wal::get(storage.as_ref(), &id).await? else {
            continue;
        };
        let outcome = wal::rollback(
            Arc::clone(state),
            req.clone(),
            entry.kind,
            entry.data,
            entry.created_at,
        );
        match outcome.await {
            Ok(WalOutcome::Done) => {
                sdk_wal::delete(storage.as_ref(), &id).await?;
                report.wal_rolled_back += 1;
            }
            Ok(WalOutcome::Keep) => report.wal_kept += 1,
            Err(error) => {
                report.wal_kept += 1;
                report.errors.push(error.to_string());
            }
        }
    }
    Ok(())
}

fn answer(report: Report, is_dry: bool) -> Response {
    let aliases: Vec<&String> = report.expired.values().take(MAX_LISTED).collect();
    let data = Map::from_iter([
        ("dry_run".to_owned(), json!(is_dry)),
        ("keys_seen".to_owned(), json!(report.keys_seen)),
        ("expired_keys".to_owned(), json!(report.expired.len())),
        ("deleted_keys".to_owned(), json!(report.deleted_keys)),
        ("key_aliases".to_owned(), json!(aliases)),
        ("wal_entries".to_owned(), json!(report.wal_entries)),
        ("wal_rolled_back".to_owned(), json!(report.wal_rolled_back)),
        ("wal_kept".to_owned(), json!(report.wal_kept)),
        (
            "complete".to_owned(),
            json!(report.next_page.is_none() && report.errors.is_empty()),
        ),
        ("next_page".to_owned(), json!(report.next_page)),
    ]);
    let mut response = Response::data(data);
    response.warnings = report.errors;
    response
}

#[cfg(test)]
mod tests;
