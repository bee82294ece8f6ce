//! A server's process, with all that it starts.
//!
//! Owns the guarantee that nothing is left. A shell leads the process group and
//! waits at a pipe whose other end is this value's: when that closes, by a drop
//! or because the test was killed, the shell ends the group, itself included.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

const GONE_WITHIN: Duration = Duration::from_secs(2);

/// The first line also ends the group when the server ends by itself.
const GUARD: &str = r#"( "$@" </dev/null; kill -KILL 0 ) &
read -r _
kill -KILL 0"#;

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `binary` in `folder`, which becomes its home and holds its log.
    pub(super) fn start(binary: &Path, arguments: &[String], folder: &Path) -> io::Result<Self> {
        let log = folder.join("server.log");
        let file = File::create(&log)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARD, "guard"])
            .arg(binary)
            .args(arguments)
            .current_dir(folder)
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        for name in ["ADDR", "TOKEN", "NAMESPACE", "CACERT"] {
            command.env_remove(format!("VAULT_{name}"));
            command.env_remove(format!("BAO_{name}"));
        }
        Ok(Self {
            child: command.spawn()?,
            log,
        })
    }

    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    #[cfg(test)]
    pub(super) fn group(&self) -> Option<Pid> {
        group(&self.child)
    }

    /// As when the whole test process is killed.
    #[cfg(test)]
    pub(super) fn abandon(&mut self) {
        self.child.stdin = None;
    }
}

fn group(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = group(&self.child);
        // It may have ended already.
        let killed = group.and_then(|group| kill_process_group(group, Signal::KILL).ok());
        self.child.wait().ok();
        // What the shell had started is gone a moment later, with its sockets.
        // It counts until it is collected, which is another process's to do.
        let asked = Instant::now();
        while killed.is_some()
            && group.is_some_and(|group| test_kill_process_group(group).is_ok())
            && asked.elapsed() < GONE_WITHIN
        {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
