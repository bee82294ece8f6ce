//! Owns the listeners: binding, the cap on connections, and the loop that
//! accepts until the process stops. What one connection may do is in
//! `connection`. Called by `app`.

mod connection;
mod deadline;
mod panic;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{app::Tasks, router::Routes};

/// Pause after a failed accept: the process is usually out of descriptors,
/// and trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Sent as it is, because there is no room for a real answer.
const OVERLOADED: &[u8] = concat!(
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-type: application/json\r\n",
    "content-length: 100\r\nconnection: close\r\n\r\n",
    r#"{"error":{"message":"too many connections","type":"service_unavailable","param":null,"code":"503"}}"#,
    "\n",
)
.as_bytes();

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub(crate) struct BindError {
    address: SocketAddr,
    reason: String,
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| BindError {
        address,
        reason: match error.kind() {
            io::ErrorKind::AddrInUse => {
                "the port is in use: stop what uses it, or choose another".to_owned()
            }
            _ => error.to_string(),
        },
    })
}

/// One plane's connections under one cap.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    tasks: Tasks,
    room: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new(tasks: Tasks, connections_max: usize) -> Self {
        Self {
            tasks,
            room: Arc::new(Semaphore::new(connections_max)),
        }
    }

    /// Serves `routes` on `listener` until the process stops. When this is dropped,
    /// whoever is connected is still answered.
    pub(crate) async fn accept(self, listener: TcpListener, routes: Routes) {
        loop {
            let accepted = tokio::select! {
                () = self.tasks.stopped() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream, routes.clone()),
                Err(error) => {
                    tracing::warn!(error = %error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, mut stream: TcpStream, routes: Routes) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            self.tasks.spawn(async move {
                // Whoever is turned away may be gone already; nothing depends on it.
                let _ = tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(OVERLOADED)).await;
            });
            return;
        };
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            connection::serve(stream, routes, &tasks).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests;
