//! A TCP proxy between a gateway and its PostgreSQL that breaks on demand: it
//! cuts all connections, or only the one that listens for notifications, or
//! makes every answer late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a gateway asks to be notified.
const LISTEN: &[u8] = b"LISTEN \"";

#[derive(Debug)]
struct Shared {
    target: u16,
    /// Connections of a generation that is over are cut.
    generation: watch::Sender<u64>,
    is_cut: AtomicBool,
    is_deaf: AtomicBool,
    delay_ms: AtomicU64,
}

#[derive(Debug)]
pub struct Wire {
    pub port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Wire {
    /// In front of this port on loopback, passing everything.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("binding the wire's port");
        let port = listener.local_addr().expect("the port just bound").port();
        let shared = Arc::new(Shared {
            target,
            generation: watch::Sender::new(0),
            is_cut: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
        });
        let server = spawn(accept(listener, Arc::clone(&shared)));
        Self {
            port,
            shared,
            server,
        }
    }

    /// Cuts every connection; new ones are closed at once.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        self.shared.cut_all();
    }

    /// Cuts every connection, and from now on those that listen.
    pub fn cut_listeners(&self) {
        self.shared.is_deaf.store(true, Ordering::SeqCst);
        self.shared.cut_all();
    }

    /// Each answer is late by this much.
    pub fn delay(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).expect("a short time");
        self.shared.delay_ms.store(ms, Ordering::SeqCst);
    }

    pub fn restore(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
        self.shared.is_deaf.store(false, Ordering::SeqCst);
        self.delay(Duration::ZERO);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.server.abort();
        self.shared.cut_all();
    }
}

impl Shared {
    fn cut_all(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "its owner aborts the listener, and cuts the connections, when it goes out of scope"
)]
fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(work)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if !shared.is_cut.load(Ordering::SeqCst) {
            spawn(pass(client, Arc::clone(&shared)));
        }
    }
}

async fn pass(client: TcpStream, shared: Arc<Shared>) {
    let mut generation = shared.generation.subscribe();
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.target)).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = requests(from_client, to_server, &shared) => {}
        () = answers(from_server, to_client, &shared) => {}
        _ = generation.changed() => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let sent = &buffer[..count];
        let listens = memchr::memmem::find(sent, LISTEN).is_some();
        if listens && shared.is_deaf.load(Ordering::SeqCst) || to.write_all(sent).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let delay = shared.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
