//! The unix socket, and what comes in on it.
//!
//! Owns the socket file from bind to removal, the TLS handshake of each
//! connection, and the count of open ones. Vault: the host connects once, and a
//! second connection never hurts.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::{mtls::Tls, presence::Presence, presence::Visit, tasks::Tasks};

/// A handshake takes a few milliseconds; a peer that stalls is not the host.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections waiting for the server; there is one host.
const BACKLOG: usize = 4;

/// The bound socket. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds a new socket that only this user (or `group`) can reach.
    pub(crate) fn bind(dir: Option<&Path>, group: Option<&str>) -> io::Result<Self> {
        let dir = dir.map_or_else(std::env::temp_dir, Path::to_owned);
        let dir = std::path::absolute(dir)?;
        let path = dir.join(format!("plugin{:016x}", rand::random::<u64>()));
        let listener = UnixListener::bind(&path)?;
        let socket = Self { listener, path };
        let mode = match group {
            Some(group) => {
                std::os::unix::fs::chown(&socket.path, None, Some(group_id(group)?))?;
                0o660
            }
            None => 0o600,
        };
        std::fs::set_permissions(&socket.path, std::fs::Permissions::from_mode(mode))?;
        Ok(socket)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file. The accepting task may outlive the one that ends the
    /// process, so dropping alone would leave it to chance.
    pub(crate) fn remove(&self) {
        // The host may have removed the file already.
        std::fs::remove_file(&self.path).ok();
    }

    /// Accepts until dropped; each connection arrives with its handshake done.
    pub(crate) fn accept(
        self: std::sync::Arc<Self>,
        tls: Option<&Tls>,
        presence: Presence,
        tasks: &Tasks,
    ) -> mpsc::Receiver<io::Result<Conn>> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let acceptor = tls.map(|tls| TlsAcceptor::from(tls.server.clone()));
        let spawner = tasks.clone();
        tasks.background(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = self.listener.accept() => accepted,
                    () = sender.closed() => return,
                };
                let Ok((stream, _)) = accepted.inspect_err(|error| warn!(%error, "accept failed"))
                else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (sender, acceptor) = (sender.clone(), acceptor.clone());
                let presence = presence.clone();
                spawner.background(async move {
                    if let Some(conn) = shake(stream, acceptor, presence).await {
                        // The receiver is gone only when the process ends.
                        sender.send(Ok(conn)).await.ok();
                    }
                });
            }
        });
        receiver
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.remove();
    }
}

async fn shake(
    stream: UnixStream,
    acceptor: Option<TlsAcceptor>,
    presence: Presence,
) -> Option<Conn> {
    let Some(acceptor) = acceptor else {
        return Some(Conn {
            stream: Stream::Plain(stream),
            _visit: presence.enter(),
        });
    };
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let stream = shaken
        .map_err(io::Error::from)
        .flatten()
        .inspect_err(|error| warn!(%error, "a TLS handshake failed"))
        .ok()?;
    debug!("the host is connected");
    Some(Conn {
        stream: Stream::Tls(Box::new(stream)),
        _visit: presence.enter(),
    })
}

/// A group's id: a number, or a name in `/etc/group`.
fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    let id = groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(group)).then(|| parts.nth(1)?.parse().ok())?
    });
    id.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "PLUGIN_UNIX_SOCKET_GROUP names no known group",
        )
    })
}

enum Stream {
    Plain(UnixStream),
    Tls(Box<TlsStream<UnixStream>>),
}

/// One connection of the host; counted while it lives.
pub(crate) struct Conn {
    stream: Stream,
    _visit: Visit,
}

impl Connected for Conn {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

macro_rules! on_stream {
    ($conn:ident, $method:ident, $($argument:expr),*) => {
        match &mut $conn.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write_vectored, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_shutdown, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::Socket;

    /// A process that is killed leaves its socket's file.
    #[tokio::test]
    async fn a9_a_socket_left_behind_is_no_obstacle() {
        let dir = std::env::temp_dir().join(format!("sdk-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&dir).unwrap();
        let left = Socket::bind(Some(&dir), None).unwrap();
        let next = Socket::bind(Some(&dir), None).unwrap();
        assert_ne!(left.path(), next.path());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
