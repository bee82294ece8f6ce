//! `config`: the gateway that this mount issues keys at.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use url::Url;
use vault_plugin_sdk::{
    Error, Field, FieldData, FieldType, Operation, Path, Request, Response, get_json, put_json,
};

use crate::backend::State;
use crate::client::{Client, MasterKey};

const SYNOPSIS: &str = "The gateway that keys are issued at, and the admin key for it.";
const DESCRIPTION: &str = "Write base_url and master_key of an llm-proxy or LiteLLM gateway. \
Both are proved by calls that change nothing before they are saved, unless verify_connection is false. The admin key \
can be written but never read. A field that an update leaves out stays as it is.";

pub(crate) const STORAGE_KEY: &str = "config";

/// Long enough for a gateway under load, short enough for a person who waits.
const DEFAULT_TIMEOUT_SECONDS: u64 = 10;
/// A request of Vault's own ends after 90 s; the engine must answer before.
const MAX_TIMEOUT_SECONDS: u64 = 60;

/// What browsers and gateways take of a URL.
const MAX_URL_BYTES: usize = 2048;
/// DNS: the longest name.
const MAX_HOST_BYTES: usize = 253;
/// A dozen roots; a server's whole store is no pinning.
const MAX_CA_CERT_BYTES: usize = 64 << 10;

/// The stored configuration. Fields added later need a default, so that entries
/// written by an older version keep loading.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConfigEntry {
    pub(crate) base_url: String,
    pub(crate) master_key: MasterKey,
    /// The alias at the gateway of a key that `rotate-root` made; else empty.
    #[serde(default)]
    pub(crate) master_key_alias: String,
    #[serde(default)]
    pub(crate) ca_cert: String,
    /// Empty means the host of `base_url`.
    #[serde(default)]
    pub(crate) tls_server_name: String,
    #[serde(default)]
    pub(crate) insecure_tls: bool,
    #[serde(default = "default_timeout_seconds")]
    pub(crate) request_timeout_seconds: u64,
    #[serde(default = "default_true")]
    pub(crate) verify_connection: bool,
    #[serde(default)]
    pub(crate) public_url: String,
}

impl ConfigEntry {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }
}

fn default_timeout_seconds() -> u64 {
    DEFAULT_TIMEOUT_SECONDS
}

fn default_true() -> bool {
    true
}

pub(crate) fn path() -> Path<State> {
    Path::new("config")
        .field(Field::new("base_url", FieldType::String).description("Address of the gateway's admin API, as http or https URL. Also accepted as url."))
        .field(Field::new("url", FieldType::String).description("Another name for base_url."))
        .field(Field::new("master_key", FieldType::String).description("Admin key of the gateway. Never returned. Also accepted as admin_key.").sensitive())
        .field(Field::new("admin_key", FieldType::String).description("Another name for master_key.").sensitive())
        .field(Field::new("ca_cert", FieldType::String).description("PEM certificates that the gateway's own must lead to; the system's are used when empty."))
        .field(Field::new("tls_server_name", FieldType::String).description("DNS name to send to the gateway and to demand of its certificate, where that is not the host of base_url."))
        .field(Field::new("insecure_tls", FieldType::Bool).description("Accept any certificate of the gateway. For tests only."))
        .field(Field::new("request_timeout", FieldType::DurationSecond).description("How long one call of the gateway may take (default 10s, at most 60s)."))
        .field(Field::new("verify_connection", FieldType::Bool).description("Prove address and key before saving, by calls that change nothing (default true)."))
        .field(Field::new("public_url", FieldType::String).description("Address that creds hands out to applications as base_url; left out of the answer when empty."))
        .operation(Operation::Read, read)
        .operation_on_primary(Operation::Create, write)
        .operation_on_primary(Operation::Update, write)
        .operation_on_primary(Operation::Delete, delete)
        .exists(exists)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn exists(_state: Arc<State>, req: Request) -> Result<bool, Error> {
    Ok(load(&req).await?.is_some())
}

async fn read(_state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let Some(entry) = load(&req).await? else {
        return Ok(None);
    };
    let answer = Map::from_iter([
        ("base_url".to_owned(), json!(entry.base_url)),
        ("master_key_alias".to_owned(), json!(entry.master_key_alias)),
        ("ca_cert".to_owned(), json!(entry.ca_cert)),
        ("tls_server_name".to_owned(), json!(entry.tls_server_name)),
        ("insecure_tls".to_owned(), json!(entry.insecure_tls)),
        (
            "request_timeout".to_owned(),
            json!(entry.request_timeout_seconds),
        ),
        (
            "verify_connection".to_owned(),
            json!(entry.verify_connection),
        ),
        ("public_url".to_owned(), json!(entry.public_url)),
    ]);
    Ok(Some(Response::data(answer)))
}

async fn write(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let _writing = state.writing.lock().await;
    let stored = load(&req).await?;
    let replaced = stored.as_ref().map(|entry| entry.master_key_alias.clone());
    let entry = merged(stored, &req.fields)?;
    // Built even where nothing is called, so that what can't work is not saved.
    let client = Client::new(&entry)?;
    if entry.verify_connection {
        client.prove_admin().await?;
    }
    state
        .change_config(put_json(req.storage.as_ref(), STORAGE_KEY, &entry))
        .await?;
    let mut response = Response::default();
    if let Some(alias) = replaced.filter(|alias| !alias.is_empty())
        && entry.master_key_alias.is_empty()
    {
        response = response.warn(format!(
            "the admin key {alias} that rotate-root made is no longer used, and is still good at its gateway: delete it there"
        ));
    }
    response.warnings.extend(warnings(&entry));
    Ok((!response.warnings.is_empty()).then_some(response))
}

/// What an operator should know of a configuration that works.
pub(crate) fn warnings(entry: &ConfigEntry) -> Vec<String> {
    let mut warnings = Vec::new();
    if entry.insecure_tls {
        warnings.push(
            "insecure_tls is on: anyone between Vault and the gateway can read the admin key"
                .to_owned(),
        );
    }
    if entry.base_url.starts_with("http://") && !is_loopback(&entry.base_url) {
        warnings.push("base_url is plain http: the admin key and every issued key cross the network in clear text".to_owned());
    }
    warnings
}

async fn delete(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let _writing = state.writing.lock().await;
    let made = load(&req).await.ok().flatten();
    let made = made.map(|entry| entry.master_key_alias);
    state
        .change_config(async { Ok(req.storage.delete(STORAGE_KEY).await?) })
        .await?;
    let mut response = Response::default().warn(
        "leases of this mount can't be revoked until config is written again; their keys end by their own expiry",
    );
    if let Some(alias) = made.filter(|alias| !alias.is_empty()) {
        response = response.warn(format!(
            "the admin key {alias} that rotate-root made was known to this mount alone and is lost; it is still good at its gateway: delete it there, and write config with another one"
        ));
    }
    Ok(Some(response))
}

/// The stored entry with the fields of an update laid over it.
fn merged(stored: Option<ConfigEntry>, fields: &FieldData) -> Result<ConfigEntry, Error> {
    let base_url = either(fields, "base_url", "url")?;
    let master_key = either(fields, "master_key", "admin_key")?;
    let mut entry = match stored {
        Some(entry) => entry,
        None => ConfigEntry {
            base_url: String::new(),
            master_key: MasterKey::default(),
            master_key_alias: String::new(),
            ca_cert: String::new(),
            tls_server_name: String::new(),
            insecure_tls: false,
            request_timeout_seconds: DEFAULT_TIMEOUT_SECONDS,
            verify_connection: true,
            public_url: String::new(),
        },
    };
    if let Some(text) = base_url {
        let url = checked_url("base_url", &text)?;
        if entry.base_url != url && !entry.master_key.is_empty() && master_key.is_none() {
            // Otherwise whoever may write config could have the stored admin
            // key sent to an address of their choice.
            return Err(Error::user(
                "base_url changes, so master_key must be given with it",
            ));
        }
        entry.base_url = url;
    }
    if let Some(key) = master_key {
        entry.master_key = MasterKey::parse(&key).map_err(Error::user)?;
        entry.master_key_alias = String::new();
    }
    if entry.base_url.is_empty() || entry.master_key.is_empty() {
        return Err(Error::user("base_url and master_key are both required"));
    }
    if let Some(pem) = fields.string_opt("ca_cert") {
        entry.ca_cert = checked_length("ca_cert", pem, MAX_CA_CERT_BYTES)?;
    }
    if let Some(name) = fields.string_opt("tls_server_name") {
        entry.tls_server_name = checked_server_name(&name)?;
    }
    if !entry.tls_server_name.is_empty() && entry.base_url.starts_with("http://") {
        return Err(Error::user(
            "tls_server_name needs an https base_url: write one, or an empty tls_server_name",
        ));
    }
    if let Some(insecure) = fields.bool_opt("insecure_tls") {
        entry.insecure_tls = insecure;
    }
    if let Some(timeout) = fields.duration_opt("request_timeout") {
        entry.request_timeout_seconds = checked_timeout(timeout)?;
    }
    if let Some(verify) = fields.bool_opt("verify_connection") {
        entry.verify_connection = verify;
    }
    if let Some(text) = fields.string_opt("public_url") {
        entry.public_url = if text.is_empty() {
            text
        } else {
            checked_url("public_url", &text)?
        };
    }
    Ok(entry)
}

/// A field that has two names; both at once are refused when they differ.
fn either(fields: &FieldData, name: &str, other: &str) -> Result<Option<String>, Error> {
    match (fields.string_opt(name), fields.string_opt(other)) {
        (Some(a), Some(b)) if a != b => Err(Error::user(format!(
            "{name} and {other} are two names of one field: give only one"
        ))),
        (Some(value), _) | (None, Some(value)) => Ok(Some(value)),
        (None, None) => Ok(None),
    }
}

/// The address without a slash at its end, so that equal addresses are equal text.
fn checked_url(field: &str, text: &str) -> Result<String, Error> {
    let bad = |why: &str| {
        Error::user(format!(
            "{field} {why}, for example https://gateway.example.com:4001"
        ))
    };
    if text.len() > MAX_URL_BYTES {
        return Err(Error::user(format!(
            "{field} is longer than {MAX_URL_BYTES} bytes"
        )));
    }
    // The parser would drop line breaks and tabs without a word.
    if text.trim().contains(char::is_control) {
        return Err(bad("must not hold control characters"));
    }
    let url = Url::parse(text.trim()).map_err(|_| bad("must be a whole URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("must begin with http:// or https://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("must name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not carry a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("must not carry a query or a fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// What TLS sends as server name. TLS: an address can't be sent, only a name.
fn checked_server_name(text: &str) -> Result<String, Error> {
    let name = text.trim();
    if name.is_empty() {
        return Ok(String::new());
    }
    let is_plain = |host: &url::Host| matches!(host, url::Host::Domain(host) if host == name);
    // A name with a colon, a slash or the like is none of a host.
    match url::Host::parse(name) {
        Ok(host) if is_plain(&host) && name.len() <= MAX_HOST_BYTES => Ok(name.to_owned()),
        _ => Err(Error::user(
            "tls_server_name must be a DNS name in lower case, for example gateway.internal",
        )),
    }
}

fn checked_length(field: &str, text: String, max_bytes: usize) -> Result<String, Error> {
    if text.len() > max_bytes {
        return Err(Error::user(format!(
            "{field} is longer than {max_bytes} bytes"
        )));
    }
    Ok(text)
}

fn checked_timeout(timeout: Duration) -> Result<u64, Error> {
    match timeout.as_secs() {
        0 => Err(Error::user("request_timeout must be at least 1s")),
        seconds if seconds > MAX_TIMEOUT_SECONDS => Err(Error::user(format!(
            "request_timeout must be at most {MAX_TIMEOUT_SECONDS}s: Vault itself gives up on a request after 90s"
        ))),
        seconds => Ok(seconds),
    }
}

fn is_loopback(base_url: &str) -> bool {
    let Ok(url) = Url::parse(base_url) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

pub(crate) fn missing() -> Error {
    Error::user("the engine is not configured: write base_url and master_key to config first")
}

pub(crate) async fn load(req: &Request) -> Result<Option<ConfigEntry>, Error> {
    get_json(req.storage.as_ref(), STORAGE_KEY).await
}

#[cfg(test)]
mod tests;
