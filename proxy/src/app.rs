//! Owns the wiring: what every handler can reach, the order in which things
//! start, and the order in which they stop. Called by `main`.

mod changes;
mod retention;
mod tasks;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod time;
mod waiting;

use std::{io::Write as _, ops::Deref, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

pub(crate) use self::tasks::Tasks;
use crate::{
    auth::Refusals,
    clock::Clock,
    config::{Config, ConfigError, Environment, Options, resolve},
    key::{Cache, KeyHash, use_time_zone},
    ledger::Ledger,
    router::{self, Routes},
    server::{BindError, Server, bind},
    store::{self, OpenError, Store, StoreError},
    upstream,
};

/// After the drain deadline: what the last writes may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What handlers share. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct AppState(Arc<Shared>);

impl AppState {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    /// Of the master key, which every caller's is compared with.
    pub(crate) master: KeyHash,
    pub(crate) store: Store,
    pub(crate) keys: Cache,
    pub(crate) ledger: Ledger,
    pub(crate) upstream: upstream::Client,
    pub(crate) refusals: Refusals,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Clock,
}

/// Why the gateway did not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the ledger cannot be recovered: {0}")]
    Ledger(#[from] StoreError),
    #[error(
        "llm_proxy.ledger.time_zone is {own} here and {others} at the gateways that share this database: give all of them the same, or stop them all to change it"
    )]
    TimeZone { own: &'static str, others: String },
    #[error("the HTTP client cannot be set up: {0}")]
    Upstream(#[from] upstream::ClientError),
    #[error("{doing}: {source}")]
    System {
        doing: &'static str,
        source: std::io::Error,
    },
}

impl StartError {
    /// Nothing is wrong but that the store cannot be reached now.
    fn is_outage(&self) -> bool {
        match self {
            Self::Open(OpenError::Unreachable { .. }) => true,
            Self::Ledger(error) => error.is_outage(),
            _ => false,
        }
    }
}

/// Runs the gateway until it is told to stop, then drains it.
///
/// # Errors
/// Only before it listens; afterwards every failure is a request's.
pub(crate) async fn serve(options: &Options) -> Result<(), StartError> {
    let mut stop = StopSignals::listen()?;
    let (config, warnings) = resolve(options, &Environment::process())?;
    for warning in warnings {
        tracing::warn!(%warning, "the configuration may not mean what it says");
    }
    // Ports first: a second start by mistake must not touch the first one's store.
    let listener = bind(config.server.listen).await?;
    let admin_listener = match config.server.admin_listen == config.server.listen {
        true => None,
        false => Some(bind(config.server.admin_listen).await?),
    };
    let config = Arc::new(config);
    let listeners = [Some(&listener), admin_listener.as_ref()];
    let Some(state) = waiting::for_store(&config, &listeners, &mut stop).await? else {
        return Ok(());
    };
    announce(&state, &listener, admin_listener.as_ref())?;
    start(&state, listener, admin_listener);
    stop.received().await;
    close(&state).await;
    Ok(())
}

async fn open(config: &Arc<Config>) -> Result<AppState, StartError> {
    use_time_zone(config.time_zone);
    let tasks = Tasks::new();
    let store = Store::open(&config.database_url).await?;
    let own = config.time_zone.name();
    if let Some(others) = store::ledger::zone::differing(&store, own).await? {
        return Err(StartError::TimeZone { own, others });
    }
    let clock = time::clock_of(&store, &tasks).await;
    let ledger = Ledger::open(&store, clock.clone(), &tasks).await?;
    let keys = match store.is_shared() {
        true => Cache::shared(config.stale_window),
        false => Cache::new(),
    };
    changes::follow(&store, &keys, &ledger, &tasks).await?;
    let upstream = upstream::Client::new()?;
    tasks.spawn_service(upstream.clone().close_idle());
    Ok(AppState::new(Shared {
        config: Arc::clone(config),
        master: KeyHash::of(config.master_key.expose()),
        store,
        keys,
        ledger,
        upstream,
        refusals: Refusals::default(),
        tasks,
        clock,
    }))
}

/// Says where the gateway really listens (a port of 0 is chosen by the
/// system), and shows a generated master key this once.
fn announce(
    state: &AppState,
    listener: &TcpListener,
    admin_listener: Option<&TcpListener>,
) -> Result<(), StartError> {
    let system = |doing| move |source| StartError::System { doing, source };
    let listen = listener
        .local_addr()
        .map_err(system("reading the address"))?;
    let admin_listen = match admin_listener {
        Some(listener) => listener
            .local_addr()
            .map_err(system("reading the address"))?,
        None => listen,
    };
    if state.config.models.is_empty() {
        tracing::warn!("no models are configured: every call will be refused");
    }
    if let Some(dev) = &state.config.dev
        && dev.master_key_generated
    {
        let key = state.config.master_key.expose();
        writeln!(std::io::stdout(), "LLM_PROXY_MASTER_KEY={key}")
            .map_err(system("printing the master key"))?;
    }
    tracing::info!(
        %listen,
        %admin_listen,
        version = env!("CARGO_PKG_VERSION"),
        models = state.config.models.len(),
        "listening"
    );
    Ok(())
}

/// Starts both planes; one address serves both when only one is given.
fn start(state: &AppState, listener: TcpListener, admin_listener: Option<TcpListener>) {
    let serve = |listener, routes| {
        let server = Server::new(state.tasks.clone(), state.config.server.connections_max);
        state.tasks.spawn(server.accept(listener, routes));
    };
    let routes = match admin_listener {
        None => router::both_planes(state.clone()),
        Some(listener) => {
            // A cap of its own: who fills the data plane must not keep an
            // operator from revoking a key.
            serve(listener, router::admin_plane(state.clone()).into());
            router::data_plane(state.clone())
        }
    };
    serve(listener, Routes::with_calls(state.clone(), routes));
    if let Some(kept) = state.config.usage_retention {
        let service = retention::run(state.clone(), kept);
        state.tasks.spawn_service(service);
    }
}

/// The ledger writes what is left, and the store closes behind it.
async fn close(state: &AppState) {
    finish_calls(state).await;
    state.ledger.drain().await;
    if let Err(error) = state.ledger.leave().await {
        tracing::warn!(%error, "another process posts what this one has allotted, as an estimate");
    }
    // Closing waits for statements under way; what is committed is safe anyway.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, state.store.close()).await;
    tracing::info!("stopped");
}

/// Connections and streams end by themselves up to the deadline; then they are
/// cut, which settles what they held.
async fn finish_calls(state: &AppState) {
    let tasks = &state.tasks;
    tracing::info!(tasks = tasks.running(), "stopping");
    tasks.stop();
    if tasks.drain(state.config.server.drain_timeout).await {
        return;
    }
    tracing::warn!(
        tasks = tasks.running(),
        "drain deadline passed, open calls are cut"
    );
    tasks.cut();
    tasks.drain(CLOSE_TIMEOUT).await;
}

/// The two ways to ask a process to end. Made before anything else, so that
/// no request to stop is lost.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, StartError> {
        let listen = |kind| {
            signal(kind).map_err(|source| StartError::System {
                doing: "listening for signals",
                source,
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
