//! The operator's guide, typed as it stands: each of its `sh` blocks in order,
//! on a server that has not seen the engine before, and its Vault Agent.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::process::Process;
use e2e::proxy::{Gateway, Settings};
use e2e::upstream::Upstream;
use e2e::world::{self, TestFolder};
use e2e::{Kind, artefacts, eventually, ports};

/// The text of the guide's blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    let guide = fs::read_to_string(artefacts::repository().join("docs/operators-guide.md"))
        .expect("the guide");
    guide
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
        .map(str::to_owned)
        .collect()
}

/// An operator's machine: a server without the engine, a gateway, a shell.
struct Desk {
    folder: TestFolder,
    gateway: Gateway,
    address: String,
    token: String,
    _upstream: Upstream,
    _server: Process,
}

impl Desk {
    async fn new(kind: Kind) -> Self {
        let folder = TestFolder::new(kind.name());
        let upstream = Upstream::start().await;
        let gateway = Gateway::start(Settings {
            folder: folder.sub("gateway"),
            master_key: world::random_key("master"),
            config: world::gateway_config(&upstream, &world::random_key("provider")),
        })
        .await;
        let bin = folder.sub("bin");
        symlink(artefacts::server(kind.name()), bin.join("vault")).expect("the command");
        let (port, token) = (ports::free(), world::random_key("token"));
        let address = format!("http://127.0.0.1:{port}");
        let mut server = Command::new(bin.join("vault"));
        server
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={token}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .arg(format!(
                "-dev-plugin-dir={}",
                folder.sub("plugins").display()
            ))
            .env("HOME", &folder.path);
        let server = Process::start(server, &folder.path.join("server.log"));
        let desk = Self {
            gateway,
            address,
            token,
            _upstream: upstream,
            _server: server,
            folder,
        };
        eventually(
            "the server is active",
            Duration::from_secs(60),
            async || {
                desk.shell("vault token lookup >/dev/null 2>&1")
                    .status()
                    .is_ok_and(|status| status.success())
            },
        )
        .await;
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    fn shell(&self, script: &str) -> Command {
        let search = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(&self.folder.path)
            .env("PATH", format!("{}:{search}", self.path("bin").display()))
            .env("HOME", &self.folder.path)
            .env("PLUGIN", artefacts::engine())
            .env("PLUGIN_DIRECTORY", self.path("plugins"))
            .env("GATEWAY", &self.gateway.admin)
            .env("GATEWAY_PUBLIC", &self.gateway.data)
            .env("MASTER_KEY_FILE", self.path("gateway/master_key"));
        for product in ["VAULT", "BAO"] {
            shell
                .env(format!("{product}_ADDR"), &self.address)
                .env(format!("{product}_TOKEN"), &self.token)
                .env_remove(format!("{product}_NAMESPACE"));
        }
        shell
    }

    /// The guide's agent keeps a key in a file, and the key works.
    async fn agent(&self) {
        let config = blocks("hcl").remove(0).replace("VAULT_ADDR", &self.address);
        fs::write(self.path("agent.hcl"), config).expect("agent.hcl");
        let mut agent = self.shell("exec vault agent -config=agent.hcl");
        for product in ["VAULT", "BAO"] {
            agent.env_remove(format!("{product}_TOKEN"));
        }
        let _agent = Process::start(agent, &self.path("agent.log"));
        let file = self.path("openai.env");
        eventually(
            "the agent has written a key",
            Duration::from_secs(60),
            async || value(&file, "OPENAI_API_KEY").is_some_and(|key| key.starts_with("sk-")),
        )
        .await;
        let key = value(&file, "OPENAI_API_KEY").expect("a key");
        assert_eq!(
            value(&file, "OPENAI_BASE_URL").as_ref(),
            Some(&self.gateway.data)
        );
        let (status, answer) = self.gateway.chat(&key, "demo").await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// The value of a line `NAME=value`.
fn value(file: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.strip_prefix('=').map(str::to_owned)
}

async fn guide_works_as_it_stands(kind: Kind) {
    let desk = Desk::new(kind).await;
    let script = blocks("sh").join("\n");
    assert!(script.contains("rotate-root"), "the blocks were not found");
    let output = desk.shell(&script).output().expect("running the guide");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    desk.agent().await;
}

on_both!(guide_works_as_it_stands);
