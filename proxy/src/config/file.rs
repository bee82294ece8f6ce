//! Owns the file's sections and their names: which of LiteLLM's words we
//! support, which we warn about, and which we refuse because ignoring them
//! would take away a protection. Called when the gateway starts and by
//! `check-config`.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, time::Duration};

use chrono::TimeDelta;
use chrono_tz::Tz;
use http::StatusCode;

use super::{
    Deployment, Environment, model_list,
    tree::{Entry, Node, Place, Problem, read},
};
use crate::secret::Secret;

/// What the file says; what it leaves out is none.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) models: Vec<Deployment>,
    pub(crate) master_key: Option<Secret>,
    pub(crate) database_url: Option<Secret>,
    pub(crate) budget_exceeded_status: Option<StatusCode>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin_listen: Option<SocketAddr>,
    pub(crate) connections_max: Option<usize>,
    pub(crate) body_bytes_max: Option<usize>,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) usage_retention: Option<TimeDelta>,
    pub(crate) stale_window: Option<Duration>,
    /// A key without a seal is as good as none.
    pub(crate) refuses_unsealed: bool,
    pub(crate) time_zone: Option<Tz>,
}

/// What of the file is asked for. What it takes from the environment need not be
/// there for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// Where the store is, and `llm_proxy`.
    Store,
    /// `llm_proxy` alone.
    Address,
}

/// What the file may not mean: a setting of LiteLLM's that has no effect here, or a
/// model whose calls are not what they seem.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    place: Place,
    text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Settings that restrict who may do what: to ignore one would open a door
/// that its author believes shut.
const PROTECTIONS: [&str; 20] = [
    "admin_only_routes",
    "allowed_ips",
    "allowed_routes",
    "banned_keywords_list",
    "blocked_user_list",
    "budget_duration",
    "custom_auth",
    "custom_auth_run_common_checks",
    "custom_key_generate",
    "custom_key_update",
    "default_team_settings",
    "enable_jwt_auth",
    "enforce_user_param",
    "enforced_params",
    "guardrails",
    "key_generation_settings",
    "litellm_jwtauth",
    "max_budget",
    "public_routes",
    "upperbound_key_generate_params",
];

/// Far above what one process can serve, far below what a semaphore holds.
const NUMBER_MAX: usize = 1_000_000;

/// A key is told what it has used this month, so a month is kept at least.
const RETENTION_DAYS: RangeInclusive<i64> = 31..=36_500;

pub(super) struct Reader<'a> {
    pub(super) environment: &'a Environment,
    wanted: Wanted,
    warnings: Vec<Warning>,
}

/// Parses the file as far as it is wanted; what is not is left as if it were not
/// there.
///
/// # Errors
/// The first mistake, with its line and column.
pub(crate) fn parse(
    text: &str,
    environment: &Environment,
    wanted: Wanted,
) -> Result<(File, Vec<Warning>), Problem> {
    let mut reader = Reader {
        environment,
        wanted,
        warnings: Vec::new(),
    };
    let mut file = File::default();
    for entry in read(text)?.entries("the configuration")? {
        match entry.name.as_str() {
            "model_list" if wanted != Wanted::All => {}
            "model_list" => file.models = model_list::parse(&mut reader, &entry.node)?,
            "litellm_settings" => litellm_settings(&mut reader, &mut file, &entry.node)?,
            "general_settings" => general_settings(&mut reader, &mut file, &entry.node)?,
            "router_settings" => {
                for entry in entry.node.entries("router_settings")? {
                    reader.unsupported("router_settings", entry)?;
                }
            }
            "llm_proxy" => llm_proxy(&mut file, &entry.node)?,
            _ => reader.unsupported("", entry)?,
        }
    }
    Ok((file, reader.warnings))
}

impl Reader<'_> {
    /// Warns about one of LiteLLM's settings, or refuses a protection.
    pub(super) fn unsupported(&mut self, section: &str, entry: &Entry) -> Result<(), Problem> {
        let name = match section {
            "" => entry.name.clone(),
            section => format!("{section}.{}", entry.name),
        };
        if PROTECTIONS.contains(&entry.name.as_str()) && !entry.node.is_null() {
            return Err(Problem {
                place: entry.place,
                text: format!(
                    "{name} protects something and is not supported: remove it only if you can do without"
                ),
            });
        }
        let text = format!("{name} is not supported and has no effect");
        self.warn(entry.place, text);
        Ok(())
    }

    pub(super) fn warn(&mut self, place: Place, text: String) {
        self.warnings.push(Warning { place, text });
    }

    /// LiteLLM: text, or `os.environ/NAME` for what the environment holds,
    /// in the variable or in the file that `NAME_FILE` names.
    pub(super) fn text(&self, node: &Node, name: &str) -> Result<Option<String>, Problem> {
        if node.is_null() {
            return Ok(None);
        }
        let text = node.text(name)?;
        let Some(variable) = text.strip_prefix("os.environ/") else {
            return Ok(Some(text.to_owned()));
        };
        match self.environment.secret(variable) {
            Ok(Some(value)) => Ok(Some(value.expose().to_owned())),
            Ok(None) => Err(node.problem(format!(
                "{name} asks for the environment variable {variable}, which is not set, nor is {variable}_FILE"
            ))),
            Err(error) => Err(node.problem(format!("{name}: {error}"))),
        }
    }
}

fn litellm_settings(reader: &mut Reader<'_>, file: &mut File, node: &Node) -> Result<(), Problem> {
    for entry in node.entries("litellm_settings")? {
        match entry.name.as_str() {
            "budget_exceeded_status_code" => {
                let code = entry.node.integer(&entry.name)?;
                file.budget_exceeded_status = Some(match code {
                    400 => StatusCode::BAD_REQUEST,
                    422 => StatusCode::UNPROCESSABLE_ENTITY,
                    429 => StatusCode::TOO_MANY_REQUESTS,
                    _ => {
                        return Err(entry
                            .node
                            .problem("budget_exceeded_status_code must be 400, 422 or 429"));
                    }
                });
            }
            _ => reader.unsupported("litellm_settings", entry)?,
        }
    }
    Ok(())
}

fn general_settings(reader: &mut Reader<'_>, file: &mut File, node: &Node) -> Result<(), Problem> {
    for entry in node.entries("general_settings")? {
        match entry.name.as_str() {
            "master_key" if reader.wanted != Wanted::All => {}
            "database_url" if reader.wanted == Wanted::Address => {}
            "master_key" => {
                file.master_key = reader.text(&entry.node, &entry.name)?.map(Secret::new)
            }
            "database_url" => {
                file.database_url = reader.text(&entry.node, &entry.name)?.map(Secret::new)
            }
            _ => reader.unsupported("general_settings", entry)?,
        }
    }
    Ok(())
}

fn llm_proxy(file: &mut File, node: &Node) -> Result<(), Problem> {
    for group in node.entries("llm_proxy")? {
        match group.name.as_str() {
            "server" => {
                for entry in group.node.entries("llm_proxy.server")? {
                    server(file, entry)?;
                }
            }
            "ledger" => {
                for entry in group.node.entries("llm_proxy.ledger")? {
                    ledger(file, entry)?;
                }
            }
            "store" => {
                for entry in group.node.entries("llm_proxy.store")? {
                    store(file, entry)?;
                }
            }
            _ => return Err(unknown("llm_proxy", group)),
        }
    }
    Ok(())
}

fn server(file: &mut File, entry: &Entry) -> Result<(), Problem> {
    let (name, node) = (entry.name.as_str(), &entry.node);
    match name {
        "listen" => file.listen = Some(address(node, name)?),
        "admin_listen" => file.admin_listen = Some(address(node, name)?),
        "connections_max" => file.connections_max = Some(number(node, name)?),
        "body_bytes_max" => file.body_bytes_max = Some(count(node, name)?),
        "drain_timeout_s" => file.drain_timeout = Some(Duration::from_secs(node.integer(name)?)),
        _ => return Err(unknown("llm_proxy.server", entry)),
    }
    Ok(())
}

fn store(file: &mut File, entry: &Entry) -> Result<(), Problem> {
    let (name, node) = (entry.name.as_str(), &entry.node);
    match name {
        "usage_retention" => file.usage_retention = retention(node, name)?,
        "stale_window_s" => file.stale_window = Some(Duration::from_secs(node.integer(name)?)),
        "keys_without_seal" => file.refuses_unsealed = is_refused(node, name)?,
        _ => return Err(unknown("llm_proxy.store", entry)),
    }
    Ok(())
}

fn ledger(file: &mut File, entry: &Entry) -> Result<(), Problem> {
    let (name, node) = (entry.name.as_str(), &entry.node);
    match name {
        "time_zone" => file.time_zone = Some(time_zone(node, name)?),
        _ => return Err(unknown("llm_proxy.ledger", entry)),
    }
    Ok(())
}

fn time_zone(node: &Node, name: &str) -> Result<Tz, Problem> {
    node.text(name)?.parse().map_err(|_| {
        node.problem(format!(
            "{name} must be a name of the IANA database, as in Europe/Berlin"
        ))
    })
}

fn is_refused(node: &Node, name: &str) -> Result<bool, Problem> {
    match node.text(name)? {
        "refused" => Ok(true),
        "accepted" => Ok(false),
        _ => Err(node.problem(format!("{name} must be accepted or refused"))),
    }
}

fn retention(node: &Node, name: &str) -> Result<Option<TimeDelta>, Problem> {
    if node.is_null() {
        return Ok(None);
    }
    let days = node.text(name)?.strip_suffix('d').map(str::parse::<i64>);
    match days {
        Some(Ok(days)) if RETENTION_DAYS.contains(&days) => Ok(Some(TimeDelta::days(days))),
        _ => Err(node.problem(format!(
            "{name} must be a whole number of days, at least {}, as in 90d",
            RETENTION_DAYS.start()
        ))),
    }
}

fn address(node: &Node, name: &str) -> Result<SocketAddr, Problem> {
    node.text(name)?.parse().map_err(|_| {
        node.problem(format!(
            "{name} must be an address and a port, as in 127.0.0.1:4000"
        ))
    })
}

/// How many of something may exist at once.
fn number(node: &Node, name: &str) -> Result<usize, Problem> {
    match count(node, name)? {
        value if value <= NUMBER_MAX => Ok(value),
        _ => Err(node.problem(format!("{name} must be at most {NUMBER_MAX}"))),
    }
}

fn count(node: &Node, name: &str) -> Result<usize, Problem> {
    match usize::try_from(node.integer(name)?) {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(node.problem(format!("{name} must be a whole number above zero"))),
    }
}

fn unknown(section: &str, entry: &Entry) -> Problem {
    Problem {
        place: entry.place,
        text: format!(
            "{section} has no key named {}: see config.example.yaml",
            entry.name
        ),
    }
}

#[cfg(test)]
mod tests;
