//! Where the binaries under test and the real servers are. `scripts/test.sh`
//! names the servers in the environment; without it they are obtained the same
//! way, by `scripts/servers.sh`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub const GATEWAY: &str = "llm-proxy";
pub const ENGINE: &str = "vault-plugin-secrets-litellm";
/// The SDK's.
const EXAMPLES: [&str; 2] = ["file_keys", "shared_secret"];

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
}

/// Cargo's target folder, in which this test's own executable is
/// `<profile>/deps/<name>`.
pub fn target() -> PathBuf {
    let own = env::current_exe().expect("the path of this test");
    let target = own.ancestors().nth(3);
    target
        .unwrap_or_else(|| panic!("{} is in no target folder", own.display()))
        .to_owned()
}

/// The gateway: built with failpoints, or the one that `E2E_GATEWAY` names.
pub fn gateway() -> PathBuf {
    built(GATEWAY)
}

/// The engine, built with failpoints.
pub fn engine() -> PathBuf {
    built(ENGINE)
}

/// An example of the SDK's.
pub fn example(name: &str) -> PathBuf {
    built(name)
}

/// This run's own copy: a build meanwhile does not change what is tested.
fn built(name: &str) -> PathBuf {
    let copy = run_folder().join("bin").join(name);
    assert!(copy.exists(), "{name} is not built: run scripts/test.sh");
    copy
}

/// A folder that holds the engine and nothing else, as servers demand.
pub fn plugin_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = run_folder().join("plugins");
        fs::create_dir_all(&folder).expect("creating the plugin folder");
        fs::copy(engine(), folder.join(ENGINE)).expect("copying the engine");
        folder
    })
}

/// Where this run's logs and databases are: one folder a test, kept when it fails.
pub fn run_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let runs = target().join("e2e");
        remove_ended_runs(&runs);
        let folder = runs.join(std::process::id().to_string());
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).expect("creating the folder of this run");
        let built = target().join("debug");
        let gateway = env::var_os("E2E_GATEWAY").map_or_else(|| built.join(GATEWAY), Into::into);
        let _ = fs::copy(gateway, bin.join(GATEWAY));
        let _ = fs::copy(built.join(ENGINE), bin.join(ENGINE));
        for name in EXAMPLES {
            let _ = fs::copy(built.join("examples").join(name), bin.join(name));
        }
        folder
    })
}

/// What a failed run has left is kept until the next one begins.
fn remove_ended_runs(runs: &Path) {
    for run in fs::read_dir(runs).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(run.file_name()).exists() {
            let _ = fs::remove_dir_all(run.path());
        }
    }
}

/// The path that `scripts/servers.sh NAME` prints, or the environment's `E2E_<NAME>`.
pub fn server(name: &str) -> PathBuf {
    if let Ok(path) = env::var(format!("E2E_{}", name.to_uppercase())) {
        return path.into();
    }
    let output = Command::new(repository().join("scripts/servers.sh"))
        .arg(name)
        .output()
        .expect("running scripts/servers.sh");
    assert!(
        output.status.success(),
        "{name} can't be had: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().into()
}
