//! A process that a test started, with all its children: both outputs go to a
//! file, and nothing of it is left when the guard goes out of scope.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use crate::eventually;

#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own. Both outputs are appended
    /// to `log`, so that a restarted process goes on in the same file.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("opening {}: {error}", log.display()));
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of a log"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("asking for a child").is_none()
    }

    /// Everything it has written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// SIGKILL to it and to everything it has started.
    pub fn kill_hard(&mut self) {
        let _ = kill_process_group(as_pid(self.pid()), Signal::KILL);
        let _ = self.child.wait();
    }

    /// SIGTERM to the process alone.
    pub fn ask_to_stop(&self) {
        let _ = kill_process(as_pid(self.pid()), Signal::TERM);
    }

    /// SIGSTOP to the process alone.
    pub fn freeze(&self) {
        let _ = kill_process(as_pid(self.pid()), Signal::STOP);
    }

    /// What a terminal sends on Ctrl-C: SIGINT to it and to everything it has started.
    pub fn interrupt(&self) {
        let _ = kill_process_group(as_pid(self.pid()), Signal::INT);
    }

    /// Whether anything of its process group is left.
    pub fn group_is_alive(&self) -> bool {
        test_kill_process_group(as_pid(self.pid())).is_ok()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let pid = self.pid();
        eventually(&format!("the end of process {pid}"), deadline, async || {
            !self.is_alive()
        })
        .await;
        self.child
            .wait()
            .expect("the exit status of an ended child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_hard();
    }
}

/// SIGKILL to one process that this test's processes have started.
pub fn kill_hard(pid: u32) {
    let _ = kill_process(as_pid(pid), Signal::KILL);
}

/// The children of a process whose executable has this file name.
pub fn children_named(parent: u32, name: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .filter(|pid| {
            fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe.file_name().is_some_and(|file| file == name))
        })
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn as_pid(pid: u32) -> Pid {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id")
}
