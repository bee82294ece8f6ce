//! The way back to the host.
//!
//! Owns the broker stream and the addresses that arrive on it. The host
//! announces an address and calls Setup at the same time; whichever comes first
//! waits for the other. The plugin only dials: it never listens for the host.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};
use tracing::debug;
use vault_plugin_proto::plugin::{ConnInfo, grpc_broker_server::GrpcBroker};

use crate::{mtls::Tls, stop::Stop, tasks::Tasks};

/// go-plugin: both sides give an announcement this long.
const ANNOUNCEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The socket is on this machine and already bound.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// More unclaimed announcements than this are no host's.
const UNCLAIMED_MAX: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("timeout waiting for connection info")]
    NotAnnounced,
    #[error("the host listens on {0:?}, and only unix sockets are supported")]
    Network(String),
    #[error("cannot dial the host: {0}")]
    Dial(#[from] tonic::transport::Error),
}

enum Slot {
    Announced(ConnInfo),
    Awaited(oneshot::Sender<ConnInfo>),
}

/// Cheap to clone; all clones share the announcements.
#[derive(Clone)]
pub(crate) struct Broker {
    slots: Arc<Mutex<HashMap<u32, Slot>>>,
    tls: Option<Tls>,
    stop: Stop,
    tasks: Tasks,
}

impl Broker {
    pub(crate) fn new(tls: Option<Tls>, stop: Stop, tasks: Tasks) -> Self {
        Self {
            slots: Arc::default(),
            tls,
            stop,
            tasks,
        }
    }

    /// Connects to what the host serves under `id`.
    pub(crate) async fn dial(&self, id: u32) -> Result<Channel, BrokerError> {
        let info = self.announcement(id).await?;
        if info.network != "unix" {
            return Err(BrokerError::Network(info.network));
        }
        let tls = self
            .tls
            .as_ref()
            .map(|tls| TlsConnector::from(tls.client.clone()));
        let connector = tower::service_fn(move |_: Uri| connect(info.address.clone(), tls.clone()));
        // TLS is inside the connector, so to tonic this is plain http; grpc-go
        // looks at the authority alone.
        let endpoint = Endpoint::from_static("http://localhost").connect_timeout(DIAL_TIMEOUT);
        Ok(endpoint.connect_with_connector(connector).await?)
    }

    async fn announcement(&self, id: u32) -> Result<ConnInfo, BrokerError> {
        let receiver = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Slot::Announced(info)) = slots.remove(&id) {
                return Ok(info);
            }
            let (sender, receiver) = oneshot::channel();
            slots.insert(id, Slot::Awaited(sender));
            receiver
        };
        let info = timeout(ANNOUNCEMENT_TIMEOUT, receiver).await;
        if let Ok(Ok(info)) = info {
            return Ok(info);
        }
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        Err(BrokerError::NotAnnounced)
    }

    fn announce(&self, info: ConnInfo) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.remove(&info.service_id) {
            // A waiter that has just given up fails the call, which reports it.
            Some(Slot::Awaited(waiter)) => drop(waiter.send(info)),
            _ if slots.len() < UNCLAIMED_MAX => {
                slots.insert(info.service_id, Slot::Announced(info));
            }
            _ => debug!("an announcement was dropped: too many are unclaimed"),
        }
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broker")
    }
}

type Io = TokioIo<Pin<Box<dyn Wire>>>;

trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send> Wire for T {}

async fn connect(address: String, tls: Option<TlsConnector>) -> std::io::Result<Io> {
    let stream = UnixStream::connect(&address).await?;
    let Some(tls) = tls else {
        return Ok(TokioIo::new(Box::pin(stream)));
    };
    let name = rustls::pki_types::ServerName::try_from("localhost")
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    Ok(TokioIo::new(Box::pin(tls.connect(name, stream).await?)))
}

#[tonic::async_trait]
impl GrpcBroker for Broker {
    type StartStreamStream = Pin<Box<dyn Stream<Item = Result<ConnInfo, Status>> + Send>>;

    /// Answers at once: the host waits for the headers before it goes on. The
    /// answer carries nothing and must stay open as long as the host's half.
    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<Self::StartStreamStream>, Status> {
        let (open, receiver) = mpsc::channel(1);
        let broker = self.clone();
        self.tasks.background(async move {
            let mut announcements = request.into_inner();
            loop {
                let next = tokio::select! {
                    next = announcements.next() => next,
                    () = broker.stop.raised() => break,
                };
                match next {
                    Some(Ok(info)) => broker.announce(info),
                    Some(Err(_)) | None => break,
                }
            }
            drop(open);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[cfg(test)]
mod tests;
