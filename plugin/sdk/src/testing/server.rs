//! A real Vault or OpenBao for a plugin's own tests.
//!
//! Owns a development server on loopback: its folder, its port, what is put
//! into its catalogue. It needs nothing but the server's binary, and leaves
//! nothing behind: not after a panic, and not when the test is killed.

mod client;
mod process;
#[cfg(test)]
mod tests;

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use sha2::{Digest, Sha256};

pub use client::{Answer, Client};
use process::Process;

/// Where a test says which server it wants: the path of a binary.
const BINARY: &str = "VAULT_TEST_SERVER";
const READY_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// Somebody else can take a port between its choice and its use.
const TRIES: usize = 3;

/// Disables what a laptop's limits forbid and what a test does not need.
const CONFIG: &str = "disable_mlock = true\n";

/// A development server: unsealed, in memory, gone with this value.
///
/// ```no_run
/// use serde_json::json;
/// use vault_plugin_sdk::testing::TestServer;
///
/// # fn main() -> std::io::Result<()> {
/// let server = TestServer::start("vault")?;
/// let notes = server.mount_secrets("notes", env!("CARGO_MANIFEST_DIR"))?;
/// assert!(notes.write("notes/a", &json!({"text": "hello"}))?.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestServer {
    // Dropped in this order: the processes end before their folder goes.
    process: Process,
    folder: Folder,
    root: Client,
}

impl TestServer {
    /// Starts `binary`, which is a path or a name to look for on `PATH`: a
    /// `vault` or a `bao`.
    ///
    /// # Errors
    /// With the end of the server's log, when it does not come up in a minute.
    pub fn start(binary: impl AsRef<Path>) -> io::Result<Self> {
        let mut tries = 1;
        loop {
            match Self::start_once(binary.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => {
                    tries += 1;
                }
                started => return started,
            }
        }
    }

    /// Starts the server that the environment's `VAULT_TEST_SERVER` names, else
    /// `vault`, else `bao` from `PATH`.
    ///
    /// # Errors
    /// When there is none, and as [`TestServer::start`].
    pub fn start_any() -> io::Result<Self> {
        if let Some(binary) = env::var_os(BINARY) {
            return Self::start(PathBuf::from(binary));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let mut candidates = ["vault", "bao"]
            .into_iter()
            .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
        let binary = candidates.find(|candidate| candidate.is_file());
        Self::start(binary.ok_or_else(|| {
            io::Error::other(format!(
                "no server to test on: put vault or bao on PATH, or set {BINARY} to its path"
            ))
        })?)
    }

    fn start_once(binary: &Path) -> io::Result<Self> {
        let folder = Folder::new()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let token = uuid::Uuid::new_v4().to_string();
        fs::create_dir(folder.plugins())?;
        fs::write(folder.0.join("server.hcl"), CONFIG)?;
        let arguments = [
            "server".into(),
            "-dev".into(),
            "-dev-no-store-token".into(),
            format!("-dev-root-token-id={token}"),
            format!("-dev-listen-address={address}"),
            format!("-dev-plugin-dir={}", folder.plugins().display()),
            format!("-config={}", folder.0.join("server.hcl").display()),
        ];
        let mut server = Self {
            process: Process::start(binary, &arguments, &folder.0)?,
            folder,
            root: Client::new(address, token),
        };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> io::Result<()> {
        let started = Instant::now();
        while !self.is_ready() {
            let ended = self.process.has_ended()?;
            if ended || started.elapsed() > READY_WITHIN {
                let log = self.log();
                let kind = match ended && log.contains("address already in use") {
                    true => io::ErrorKind::AddrInUse,
                    false => io::ErrorKind::Other,
                };
                let end = log.len().saturating_sub(2000);
                let end = log.get(end..).unwrap_or(&log);
                return Err(io::Error::new(
                    kind,
                    format!("the server does not come up:\n{end}"),
                ));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The token is this server's alone, so another one on the port does not count.
    fn is_ready(&self) -> bool {
        let answers = |path| self.root.read(path).is_ok_and(|answer| answer.is_ok());
        answers("sys/health") && answers("auth/token/lookup-self")
    }

    /// Mounts the secrets engine in the file `plugin` at `path`.
    ///
    /// In an integration test `env!("CARGO_BIN_EXE_<name>")` is such a file. The
    /// answer's paths begin below the mount.
    ///
    /// # Errors
    /// When the file can't be read, or the server refuses it.
    pub fn mount_secrets(&self, path: &str, plugin: impl AsRef<Path>) -> io::Result<Client> {
        let name = self.register("secret", plugin.as_ref())?;
        self.mount(&format!("sys/mounts/{path}"), &name)?;
        Ok(self.root.below(path))
    }

    /// Mounts the auth method in the file `plugin` at `auth/<path>`.
    ///
    /// # Errors
    /// When the file can't be read, or the server refuses it.
    pub fn mount_auth(&self, path: &str, plugin: impl AsRef<Path>) -> io::Result<Client> {
        let name = self.register("auth", plugin.as_ref())?;
        self.mount(&format!("sys/auth/{path}"), &name)?;
        Ok(self.root.below(&format!("auth/{path}")))
    }

    /// The server itself, with its root token.
    pub const fn root(&self) -> &Client {
        &self.root
    }

    /// What the server has written so far, its plugins' logs included.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A copy, because a server starts nothing that lies outside its folder.
    fn register(&self, kind: &str, plugin: &Path) -> io::Result<String> {
        let name = plugin
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| io::Error::other("the plugin's file has no name"))?;
        let copy = self.folder.plugins().join(name);
        // The copy of an earlier mount may be running.
        if !copy.exists() {
            fs::copy(plugin, &copy)
                .map_err(|error| io::Error::new(error.kind(), format!("{plugin:?}: {error}")))?;
        }
        // What the server will run: the plugin may be built anew at any moment.
        let digest = Sha256::digest(fs::read(copy)?);
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.root
            .write(
                &format!("sys/plugins/catalog/{kind}/{name}"),
                &json!({"sha256": sha256, "command": name}),
            )?
            .ok()?;
        Ok(name.to_owned())
    }

    fn mount(&self, path: &str, plugin: &str) -> io::Result<()> {
        self.root.write(path, &json!({"type": plugin}))?.ok()?;
        Ok(())
    }
}

/// Removed when dropped. Its path is short, because sockets lie in it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let path = env::temp_dir().join(format!("vps-{}", &random[..12]));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // There is nobody to tell, and the operating system cleans up too.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A port that is free together with the next one, which Vault takes too.
fn free_port() -> io::Result<u16> {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        let next = port.checked_add(1);
        if next.is_some_and(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok()) {
            return Ok(port);
        }
    }
}
