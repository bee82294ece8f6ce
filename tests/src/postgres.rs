//! A private PostgreSQL, empty or from a prepared cluster. Its folder is under
//! the system's temporary folder, because the server's own user, which is never
//! root, must reach it.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::Process;
use crate::{artefacts, eventually, ports};

#[derive(Debug)]
pub struct Postgres {
    pub port: u16,
    // Ends before its folder goes.
    _process: Process,
    _folder: Folder,
}

/// Removed after the server in it has ended.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Postgres {
    /// A new cluster with the one database `postgres`.
    pub async fn empty(log: &Path) -> Self {
        let folder = Folder(own_folder().expect("making PostgreSQL's folder"));
        let mut make = as_its_user(&artefacts::server("postgres").join("initdb"));
        make.arg("--pgdata").arg(folder.0.join("data"));
        make.args(["--username=postgres", "--auth=trust", "--no-sync"]);
        let made = make.current_dir(&folder.0).output();
        let made = made.expect("running initdb");
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "making a cluster: {errors}");
        Self::serve(folder, log).await
    }

    /// The address of its one database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Unpacks `cluster`, a tar file that holds the folder `data`, and serves it
    /// on loopback to whoever asks.
    pub async fn start(cluster: &Path, log: &Path) -> Self {
        let folder = Folder(own_folder().expect("making PostgreSQL's folder"));
        let mut unpack = as_its_user(Path::new("tar"));
        unpack.arg("-x").arg("-C").arg(&folder.0);
        unpack.stdin(Stdio::from(File::open(cluster).expect("the cluster")));
        let status = unpack.status().expect("running tar");
        assert!(status.success(), "unpacking {}", cluster.display());
        Self::serve(folder, log).await
    }

    async fn serve(folder: Folder, log: &Path) -> Self {
        let port = ports::free();
        let mut command = as_its_user(&artefacts::server("postgres").join("postgres"));
        command
            .arg("-D")
            .arg(folder.0.join("data"))
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"])
            .arg(&folder.0)
            .args(["-c", "fsync=off"])
            .current_dir(&folder.0);
        let mut process = Process::start(command, log);
        eventually("PostgreSQL answers", Duration::from_secs(60), async || {
            assert!(process.is_alive(), "it ended:\n{}", process.output());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        Self {
            port,
            _process: process,
            _folder: folder,
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// PostgreSQL refuses to run as root.
fn as_its_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

fn own_folder() -> Result<PathBuf, Error> {
    let made = Command::new("mktemp")
        .args(["-d", "-t"])
        .arg("llm-proxy-e2e.XXXXXX")
        .output()?;
    let folder = PathBuf::from(String::from_utf8_lossy(&made.stdout).trim());
    if is_root() {
        let given = Command::new("chown")
            .arg("postgres")
            .arg(&folder)
            .status()?;
        if !given.success() {
            return Err(Error::new(ErrorKind::PermissionDenied, "chown postgres"));
        }
    }
    Ok(folder)
}
