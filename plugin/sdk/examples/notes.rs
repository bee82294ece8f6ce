//! A small secrets engine: notes that anyone may keep, and tokens with a lease.
//!
//! Shows a path with fields, a list, a leased answer with renew and revoke, and
//! the write-ahead log. `vault write notes/notes/a text=hello`, `vault read
//! notes/token/a`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{
    Backend, BackendKind, Error, Field, FieldType, HandlerResult, LeaseOptions, Map, Operation,
    Path, Request, Response, SecretType, ServeOptions, SpecialPaths, Value, WalOutcome,
    generic_name, get_json, put_json, serve, wal,
};

const TOKEN: &str = "notes_token";

#[derive(Serialize, Deserialize)]
struct Note {
    text: String,
    ttl_seconds: u64,
}

struct Notes;

fn main() -> ExitCode {
    let options = ServeOptions {
        name: "notes",
        version: env!("CARGO_PKG_VERSION"),
        description: "notes and leased tokens, to show the SDK",
    };
    serve(&options, |_| Ok(backend()))
}

fn backend() -> Backend<Notes> {
    Backend::new(BackendKind::Secrets, Notes)
        .help("Keeps notes, and leases tokens that belong to them.")
        .special_paths(SpecialPaths {
            local_storage: vec![wal::PREFIX.to_owned()],
            ..SpecialPaths::default()
        })
        .path(
            Path::new("notes/?")
                .operation(Operation::List, list)
                .help("Lists the notes.", "Lists the names of all notes."),
        )
        .path(
            Path::new(format!("notes/{}", generic_name("name")))
                .field(Field::new("name", FieldType::LowerCaseString).description("The name."))
                .field(
                    Field::new("text", FieldType::String)
                        .description("The note.")
                        .required(),
                )
                .field(
                    Field::new("ttl", FieldType::DurationSecond)
                        .description("Life of its tokens.")
                        .default("1h"),
                )
                .operation(Operation::Read, read)
                .operation_forwarded(Operation::Create, write)
                .operation_forwarded(Operation::Update, write)
                .operation_forwarded(Operation::Delete, delete)
                .exists(exists)
                .help("Keeps a note.", "Reads, writes and deletes one note."),
        )
        .path(
            Path::new(format!("token/{}", generic_name("name")))
                .field(Field::new("name", FieldType::LowerCaseString).description("The note."))
                .operation_forwarded(Operation::Read, issue)
                .help(
                    "Leases a token.",
                    "Makes a token that lives as long as its lease.",
                ),
        )
        .secret(SecretType::new(TOKEN).renew(renew).revoke(revoke))
        .wal_rollback(Duration::from_secs(60), undo)
}

fn key(request: &Request) -> String {
    format!("notes/{}", request.fields.string("name"))
}

async fn list(_: Arc<Notes>, request: Request) -> HandlerResult {
    Ok(Some(Response::list(request.storage.list("notes/").await?)))
}

async fn read(_: Arc<Notes>, request: Request) -> HandlerResult {
    let note = get_json::<Note>(request.storage.as_ref(), &key(&request)).await?;
    Ok(note.map(|note| {
        Response::data(Map::from_iter([
            ("text".to_owned(), note.text.into()),
            ("ttl".to_owned(), note.ttl_seconds.into()),
        ]))
    }))
}

async fn exists(_: Arc<Notes>, request: Request) -> Result<bool, Error> {
    Ok(request.storage.get(&key(&request)).await?.is_some())
}

async fn write(_: Arc<Notes>, request: Request) -> HandlerResult {
    let text = request
        .fields
        .string_opt("text")
        .ok_or_else(|| Error::user("text is missing"))?;
    let note = Note {
        text,
        ttl_seconds: request.fields.duration("ttl").as_secs(),
    };
    put_json(request.storage.as_ref(), &key(&request), &note).await?;
    Ok(None)
}

async fn delete(_: Arc<Notes>, request: Request) -> HandlerResult {
    request.storage.delete(&key(&request)).await?;
    Ok(None)
}

async fn issue(_: Arc<Notes>, request: Request) -> HandlerResult {
    let storage = request.storage.as_ref();
    let note = get_json::<Note>(storage, &key(&request)).await?;
    let note = note.ok_or_else(|| Error::user("no such note: write it first"))?;
    let token = format!("{:032x}", rand::random::<u128>());
    let undo = wal::put(storage, TOKEN, &token).await?;
    put_json(storage, &format!("tokens/{token}"), &Utc::now()).await?;
    wal::delete(storage, &undo).await?;
    let lease = LeaseOptions {
        ttl: Duration::from_secs(note.ttl_seconds),
        renewable: true,
        ..LeaseOptions::default()
    };
    let internal = Map::from_iter([("token".to_owned(), Value::from(token.as_str()))]);
    let data = Map::from_iter([("token".to_owned(), token.into())]);
    Ok(Some(Response::leased(TOKEN, data, internal, lease)))
}

async fn renew(_: Arc<Notes>, request: Request) -> HandlerResult {
    Ok(Some(Response {
        secret: request.secret,
        ..Response::default()
    }))
}

async fn revoke(_: Arc<Notes>, request: Request) -> HandlerResult {
    let internal = request
        .secret
        .map(|secret| secret.internal_data)
        .unwrap_or_default();
    let token = internal
        .get("token")
        .and_then(Value::as_str)
        .ok_or(Error::Unrecoverable)?;
    request.storage.delete(&format!("tokens/{token}")).await?;
    Ok(None)
}

async fn undo(
    _: Arc<Notes>,
    request: Request,
    _kind: String,
    token: Value,
    _created_at: DateTime<Utc>,
) -> Result<WalOutcome, Error> {
    let token = token
        .as_str()
        .ok_or_else(|| Error::internal("the entry holds no token"))?;
    request.storage.delete(&format!("tokens/{token}")).await?;
    Ok(WalOutcome::Done)
}
