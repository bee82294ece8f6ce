//! A small secrets engine: keys for a service that finds its keys in a folder.
//!
//! `vault write keys/config folder=/srv/keys`, `vault write keys/roles/app
//! ttl=1h`, `vault read keys/creds/app`: the answer is an id and a key, and the
//! folder has a file of that name and content for as long as the lease lives.

use std::{io::ErrorKind, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::fs;
use vault_plugin_sdk::{
    Backend, BackendKind, Error, Field, FieldType, HandlerResult, LeaseOptions, Map, Operation,
    Path, Request, Response, SecretType, ServeOptions, SpecialPaths, Value, WalOutcome,
    generic_name, get_json, put_json, serve, wal,
};

/// The type of the leases, and the kind of the write-ahead entries.
const KEY: &str = "file_key";

#[derive(Serialize, Deserialize)]
struct Config {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Role {
    ttl: Duration,
    max_ttl: Duration,
}

fn main() -> ExitCode {
    let options = ServeOptions {
        name: "file_keys",
        version: env!("CARGO_PKG_VERSION"),
        description: "leased keys that are files in a folder",
    };
    serve(&options, |_setup| Ok(backend()))
}

/// One mount. What its requests share would stand in place of `()`.
pub(crate) fn backend() -> Backend<()> {
    let seconds = |name| Field::new(name, FieldType::DurationSecond);
    let config = Path::new("config")
        .field(Field::new("folder", FieldType::String).description("Where the service looks."))
        .operation_forwarded(Operation::Update, write_config)
        .help("Where keys go.", "Names the folder that the service reads.");
    let role = Path::new(format!("roles/{}", generic_name("name")))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."))
        .field(seconds("ttl").description("Life of a key."))
        .field(seconds("max_ttl").description("Its longest life, with all renewals."))
        .operation_forwarded(Operation::Update, write_role)
        .help("How long keys live.", "Zero leaves it to the mount.");
    let creds = Path::new(format!("creds/{}", generic_name("name")))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."))
        .operation_forwarded(Operation::Read, issue)
        .help("A key.", "Makes a key that lives as long as its lease.");
    Backend::new(BackendKind::Secrets, ())
        .help("Leases keys to a service that finds its keys in a folder.")
        .special_paths(SpecialPaths {
            local_storage: vec![wal::PREFIX.to_owned()],
            ..SpecialPaths::default()
        })
        .path(config)
        .path(role)
        .path(creds)
        .secret(SecretType::new(KEY).renew(renew).revoke(revoke))
        .wal_rollback(Duration::from_secs(60), undo)
}

async fn write_config(_: Arc<()>, request: Request) -> HandlerResult {
    let folder = PathBuf::from(request.fields.string("folder"));
    if !folder.is_absolute() {
        return Err(Error::user("folder must be a path that begins with /"));
    }
    put_json(request.storage.as_ref(), "config", &Config { folder }).await?;
    Ok(None)
}

async fn write_role(_: Arc<()>, request: Request) -> HandlerResult {
    let role = Role {
        ttl: request.fields.duration("ttl"),
        max_ttl: request.fields.duration("max_ttl"),
    };
    let key = format!("roles/{}", request.fields.string("name"));
    put_json(request.storage.as_ref(), &key, &role).await?;
    Ok(None)
}

async fn issue(_: Arc<()>, request: Request) -> HandlerResult {
    let storage = request.storage.as_ref();
    let role = format!("roles/{}", request.fields.string("name"));
    let role = get_json::<Role>(storage, &role).await?;
    let role = role.ok_or_else(|| Error::user("no such role: write it first"))?;
    let config = get_json::<Config>(storage, "config").await?;
    let config = config.ok_or_else(|| Error::user("write the folder to config first"))?;
    let [id, key] = [(); 2].map(|()| format!("{:032x}", rand::random::<u128>()));
    let file = config.folder.join(&id);
    // Should the plugin die before the end, the file is found by this entry.
    let entry = wal::put(storage, KEY, &file).await?;
    let written = fs::write(&file, &key).await;
    written.map_err(|error| Error::coded(502, format!("the folder takes no key: {error}")))?;
    wal::delete(storage, &entry).await?;
    let data = Map::from_iter([("id".to_owned(), json!(id)), ("key".to_owned(), json!(key))]);
    // The server keeps this with the lease, and hands it to renew and revoke.
    let internal = Map::from_iter([("file".to_owned(), json!(file))]);
    let lease = LeaseOptions {
        ttl: role.ttl,
        max_ttl: role.max_ttl,
        renewable: true,
        ..LeaseOptions::default()
    };
    Ok(Some(Response::leased(KEY, data, internal, lease)))
}

/// The file does not know when it ends, so the server's arithmetic is enough.
async fn renew(_: Arc<()>, request: Request) -> HandlerResult {
    Ok(Some(Response {
        secret: request.secret,
        ..Response::default()
    }))
}

async fn revoke(_: Arc<()>, request: Request) -> HandlerResult {
    let lease = request.secret.unwrap_or_default().internal_data;
    remove(lease.get("file").and_then(Value::as_str)).await?;
    Ok(None)
}

async fn undo(
    _: Arc<()>,
    _: Request,
    _: String,
    file: Value,
    _: DateTime<Utc>,
) -> Result<WalOutcome, Error> {
    remove(file.as_str()).await?;
    Ok(WalOutcome::Done)
}

/// It may be called again after any failure, so "already gone" is a success.
async fn remove(file: Option<&str>) -> Result<(), Error> {
    match fs::remove_file(file.ok_or(Error::Unrecoverable)?).await {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::internal(e.to_string())),
        _ => Ok(()),
    }
}
