//! The time in which a PostgreSQL cannot be reached yet: the gateway is alive and
//! not ready, says 503 to every call, and tries again until it can open it.
//! Called by `app` at the start.

use std::{os::fd::AsFd as _, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::sleep};

use super::{AppState, StartError, StopSignals, Tasks, open};
use crate::{config::Config, router, server::Server};

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// What is asked at the last moment is answered so soon.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// None when the gateway was told to stop before.
pub(super) async fn for_store(
    config: &Arc<Config>,
    listeners: &[Option<&TcpListener>],
    stop: &mut StopSignals,
) -> Result<Option<AppState>, StartError> {
    match open(config).await {
        Err(error) if error.is_outage() => {
            tracing::warn!(%error, "every call is answered 503 until the store can be reached");
            meanwhile(config, listeners, stop).await
        }
        opened => opened.map(Some),
    }
}

async fn meanwhile(
    config: &Arc<Config>,
    listeners: &[Option<&TcpListener>],
    stop: &mut StopSignals,
) -> Result<Option<AppState>, StartError> {
    let (accepting, answering) = (Tasks::new(), Tasks::new());
    for listener in listeners.iter().flatten() {
        let server = Server::new(answering.clone(), config.server.connections_max);
        let routes = router::without_store().into();
        accepting.spawn(server.accept(second_handle(listener)?, routes));
    }
    let opened = tokio::select! {
        () = stop.received() => Ok(None),
        opened = try_again(config) => opened.map(Some),
    };
    // Whoever is answered comes again, to the routes that are there now.
    accepting.cut();
    answering.drain(ANSWER_TIMEOUT).await;
    opened
}

async fn try_again(config: &Arc<Config>) -> Result<AppState, StartError> {
    loop {
        sleep(PAUSE).await;
        match open(config).await {
            Err(error) if error.is_outage() => {}
            opened => return opened,
        }
    }
}

/// The queue of connections stays the same, so that none is lost in between.
fn second_handle(listener: &TcpListener) -> Result<TcpListener, StartError> {
    let second = || TcpListener::from_std(listener.as_fd().try_clone_to_owned()?.into());
    second().map_err(|source| StartError::System {
        doing: "sharing a listener",
        source,
    })
}
