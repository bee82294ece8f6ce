//! Owns the order in which settings win: command line, environment, file,
//! default; and what `--dev` makes up. Called by `serve` and `check-config`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use chrono_tz::Tz;
use http::StatusCode;

use super::{
    Config, Dev, Environment, File, Server, Wanted, Warning, environment::EnvironmentError,
    model_list, parse, tree::Problem,
};
use crate::{
    key::{Seals, Token, TokenError, WeakPepper},
    money::MoneyError,
    secret::Secret,
};

/// Shorter ones can be guessed; a generated key of ours has 43.
const MASTER_KEY_CHARACTERS_MIN: usize = 16;

/// Long enough for a restart of the store, short enough for a revocation that
/// nobody could be told of.
const STALE_WINDOW: Duration = Duration::from_secs(60);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) file: Option<PathBuf>,
    pub(crate) dev: bool,
}

/// Why the gateway cannot start with these settings: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("configuration file {path}: cannot be read: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("configuration file {path}: {problem}", path = path.display())]
    File { path: PathBuf, problem: Problem },
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error("{name} must be an address and a port, as in 127.0.0.1:4000")]
    Address { name: &'static str },
    #[error(
        "no master key: set LLM_PROXY_MASTER_KEY, LLM_PROXY_MASTER_KEY_FILE or general_settings.master_key"
    )]
    NoMasterKey,
    #[error(
        "the master key is shorter than {MASTER_KEY_CHARACTERS_MIN} characters: choose a longer one"
    )]
    WeakMasterKey,
    #[error(transparent)]
    Pepper(#[from] WeakPepper),
    #[error(
        "llm_proxy.store.keys_without_seal: refused needs a pepper: set LLM_PROXY_KEY_PEPPER_FILE"
    )]
    NoPepper,
    #[error("--dev listens on loopback only: choose a 127.0.0.1 address, or leave --dev out")]
    DevBeyondLoopback,
    #[error("preparing --dev: {0}")]
    DevFolder(std::io::Error),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// All settings, checked, and the warnings that the file earned.
pub(crate) fn resolve(
    options: &Options,
    environment: &Environment,
) -> Result<(Config, Vec<Warning>), ConfigError> {
    let (file, warnings) = optional(options.file.clone(), environment, Wanted::All)?;
    let mut dev = options.dev.then_some(Dev {
        master_key_generated: false,
        folder: None,
    });
    let mut models = file.models;
    if options.dev && !models.iter().any(|model| &*model.public_name == "demo") {
        models.push(model_list::demo()?);
    }
    let defaults = Server::default();
    let listen = address(environment, "LLM_PROXY_LISTEN")?.or(file.listen);
    let admin_listen = address(environment, "LLM_PROXY_ADMIN_LISTEN")?.or(file.admin_listen);
    let server = Server {
        listen: listen.unwrap_or(defaults.listen),
        admin_listen: admin_listen.unwrap_or(defaults.admin_listen),
        connections_max: file.connections_max.unwrap_or(defaults.connections_max),
        body_bytes_max: file.body_bytes_max.unwrap_or(defaults.body_bytes_max),
        drain_timeout: file.drain_timeout.unwrap_or(defaults.drain_timeout),
    };
    if dev.is_some()
        && !(server.listen.ip().is_loopback() && server.admin_listen.ip().is_loopback())
    {
        return Err(ConfigError::DevBeyondLoopback);
    }
    let master_key = environment
        .secret("LLM_PROXY_MASTER_KEY")?
        .or(file.master_key);
    let config = Config {
        master_key: master(master_key, dev.as_mut())?,
        database_url: database(environment, file.database_url, dev.as_mut())?,
        server,
        models: models.into_iter().map(Arc::new).collect(),
        usage_retention: file.usage_retention,
        seals: seals(environment, file.refuses_unsealed)?,
        stale_window: file.stale_window.unwrap_or(STALE_WINDOW),
        time_zone: file.time_zone.unwrap_or(Tz::UTC),
        budget_exceeded_status: file
            .budget_exceeded_status
            .unwrap_or(StatusCode::UNPROCESSABLE_ENTITY),
        dev,
    };
    Ok((config, warnings))
}

fn optional(
    given: Option<PathBuf>,
    environment: &Environment,
    wanted: Wanted,
) -> Result<(File, Vec<Warning>), ConfigError> {
    match given.or_else(|| environment.text("LLM_PROXY_CONFIG").map(PathBuf::from)) {
        Some(path) => read(path, environment, wanted),
        None => Ok((File::default(), Vec::new())),
    }
}

fn read(
    path: PathBuf,
    environment: &Environment,
    wanted: Wanted,
) -> Result<(File, Vec<Warning>), ConfigError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    parse(&text, environment, wanted).map_err(|problem| ConfigError::File { path, problem })
}

/// Reads a file for `check-config`: its own mistakes only.
pub(crate) fn check(path: PathBuf, environment: &Environment) -> Result<Vec<Warning>, ConfigError> {
    let (file, warnings) = read(path, environment, Wanted::All)?;
    if let Some(key) = file.master_key {
        strong_enough(&key)?;
    }
    Ok(warnings)
}

/// Where `serve` would listen, for `healthcheck`; needs no key and no store.
pub(crate) fn listen_address(
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<SocketAddr, ConfigError> {
    let file = optional(file, environment, Wanted::Address)?.0;
    let listen = address(environment, "LLM_PROXY_LISTEN")?.or(file.listen);
    Ok(listen.unwrap_or_else(|| Server::default().listen))
}

/// Which store `serve` would open, for `keys` and `ledger`; needs no key, neither
/// the master's nor a provider's.
pub(crate) fn database_url(
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<String, ConfigError> {
    let file = optional(file, environment, Wanted::Store)?.0;
    database(environment, file.database_url, None)
}

/// Whose calendar `serve` would follow, for `keys`.
pub(crate) fn time_zone(
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<Tz, ConfigError> {
    let file = optional(file, environment, Wanted::Store)?.0;
    Ok(file.time_zone.unwrap_or(Tz::UTC))
}

fn address(
    environment: &Environment,
    name: &'static str,
) -> Result<Option<SocketAddr>, ConfigError> {
    environment
        .text(name)
        .map(|text| text.parse().map_err(|_| ConfigError::Address { name }))
        .transpose()
}

fn master(given: Option<Secret>, dev: Option<&mut Dev>) -> Result<Secret, ConfigError> {
    match (given, dev) {
        (Some(key), _) => strong_enough(&key).map(|()| key),
        (None, Some(dev)) => {
            dev.master_key_generated = true;
            Ok(Secret::new(Token::generate()?.expose().to_owned()))
        }
        (None, None) => Err(ConfigError::NoMasterKey),
    }
}

fn seals(environment: &Environment, refuses_unsealed: bool) -> Result<Seals, ConfigError> {
    match environment.secret("LLM_PROXY_KEY_PEPPER")? {
        Some(peppers) => Ok(Seals::parse(&peppers, refuses_unsealed)?),
        None if refuses_unsealed => Err(ConfigError::NoPepper),
        None => Ok(Seals::default()),
    }
}

fn strong_enough(key: &Secret) -> Result<(), ConfigError> {
    if key.expose().chars().count() < MASTER_KEY_CHARACTERS_MIN {
        return Err(ConfigError::WeakMasterKey);
    }
    Ok(())
}

/// An address that was asked for wins over `--dev`'s temporary folder.
fn database(
    environment: &Environment,
    file: Option<Secret>,
    dev: Option<&mut Dev>,
) -> Result<String, ConfigError> {
    if let Some(url) = environment.secret("DATABASE_URL")?.or(file) {
        return Ok(url.expose().to_owned());
    }
    let Some(dev) = dev else {
        return Ok("sqlite://llm-proxy.db".to_owned());
    };
    let folder = tempfile::Builder::new()
        .prefix("llm-proxy-dev-")
        .tempdir()
        .map_err(ConfigError::DevFolder)?;
    let url = format!("sqlite://{}", folder.path().join("llm-proxy.db").display());
    dev.folder = Some(Arc::new(folder));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::{Environment, Options, database_url, listen_address, resolve, time_zone};

    const MASTER: (&str, &str) = ("LLM_PROXY_MASTER_KEY", "0123456789abcdef");

    fn error(dev: bool, variables: &[(&str, &str)]) -> String {
        let options = Options { file: None, dev };
        resolve(&options, &Environment::of(variables))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_cannot_start_says_why() {
        assert!(error(false, &[]).contains("no master key"));
        assert!(
            error(false, &[("LLM_PROXY_MASTER_KEY", "0123456789abcde")])
                .contains("shorter than 16")
        );
        assert!(error(false, &[MASTER, ("LLM_PROXY_LISTEN", "4000")]).contains("LLM_PROXY_LISTEN"));
        assert!(
            error(false, &[MASTER, ("LLM_PROXY_CONFIG", "/nonexistent")]).contains("/nonexistent")
        );
        let pepper = ("LLM_PROXY_KEY_PEPPER", "short");
        assert!(error(false, &[MASTER, pepper]).contains("32 random"));
        assert!(error(true, &[("LLM_PROXY_LISTEN", "0.0.0.0:4000")]).contains("loopback"));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_defaults_are_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(
            &path,
            "llm_proxy: {server: {listen: '127.0.0.1:5000', admin_listen: '127.0.0.1:5001'}}\n",
        )
        .unwrap();
        let options = Options {
            file: Some(path),
            dev: false,
        };
        let variables = Environment::of(&[MASTER, ("LLM_PROXY_LISTEN", "127.0.0.1:6000")]);
        let (config, _) = resolve(&options, &variables).unwrap();
        assert_eq!(config.server.listen.port(), 6000);
        assert_eq!(config.server.admin_listen.port(), 5001);
        let (config, _) = resolve(&Options::default(), &Environment::of(&[MASTER])).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:4000");
        assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:4001");
        assert_eq!(config.database_url, "sqlite://llm-proxy.db");
    }

    #[test]
    fn a_command_needs_of_the_environment_only_what_it_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let text = "model_list: [{model_name: a, litellm_params: {model: openai/a, api_key: os.environ/PROVIDER}}]
general_settings: {master_key: os.environ/MASTER, database_url: os.environ/STORE}
llm_proxy: {server: {listen: '127.0.0.1:5000'}, ledger: {time_zone: Europe/Berlin}}
";
        std::fs::write(&path, text).unwrap();
        let file = || Some(path.clone());
        let nothing = Environment::of(&[]);
        let listen = listen_address(file(), &nothing).unwrap();
        assert_eq!(listen.port(), 5000);
        let error = database_url(file(), &nothing).unwrap_err().to_string();
        assert!(error.contains("STORE"), "never another store: {error}");
        let store = Environment::of(&[("STORE", "sqlite://here.db")]);
        assert_eq!(database_url(file(), &store).unwrap(), "sqlite://here.db");
        let zone = time_zone(file(), &store).unwrap();
        assert_eq!(zone.name(), "Europe/Berlin");
        let options = Options {
            file: file(),
            dev: false,
        };
        for (given, missing) in [
            (&[][..], "PROVIDER"),
            (&[("PROVIDER", "p")][..], "MASTER"),
            (&[("PROVIDER", "p"), ("MASTER", MASTER.1)][..], "STORE"),
        ] {
            let error = resolve(&options, &Environment::of(given)).unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
        }
    }

    #[test]
    fn dev_makes_up_what_is_missing() {
        let options = Options {
            file: None,
            dev: true,
        };
        let (config, _) = resolve(&options, &Environment::of(&[])).unwrap();
        let dev = config.dev.unwrap();
        assert!(dev.master_key_generated && config.master_key.expose().len() >= 16);
        assert_eq!(&*config.models[0].public_name, "demo");
        let folder = dev.folder.as_ref().unwrap().path().to_owned();
        assert!(folder.is_dir());
        drop(dev);
        assert!(!folder.exists());
        let (config, _) = resolve(&options, &Environment::of(&[MASTER])).unwrap();
        assert!(!config.dev.unwrap().master_key_generated);
    }
}
