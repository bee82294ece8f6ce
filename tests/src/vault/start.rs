//! Start, end and restart of a server.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::{Kind, Server, Settings, Storage};
use crate::process::Process;
use crate::{artefacts, eventually, ports, world};

impl Server {
    pub async fn start(settings: Settings) -> Self {
        let mut server = Self::spawn(settings);
        if server.settings.storage == Storage::Raft {
            server.initialise().await;
        }
        server.active().await;
        server
    }

    /// Starts another node of the cluster that `first` began.
    pub async fn join(settings: Settings, first: &Self) -> Self {
        let mut server = Self::spawn(settings);
        server.answers().await;
        let body = json!({"leader_api_addr": first.address});
        eventually("the node has joined", Duration::from_secs(30), async || {
            server.write("sys/storage/raft/join", &body).await.is_ok()
        })
        .await;
        server.token.clone_from(&first.token);
        server.unseal_key.clone_from(&first.unseal_key);
        server.unseal().await;
        server.serves().await;
        server
    }

    fn spawn(settings: Settings) -> Self {
        let port = ports::free();
        let cluster_port = ports::free();
        let token = format!("root-{}", world::random_key("token"));
        let process = Process::start(
            command(&settings, port, cluster_port, &token),
            &settings.folder.join("server.log"),
        );
        Self {
            address: format!("http://127.0.0.1:{port}"),
            settings,
            token,
            unseal_key: None,
            cluster_port,
            process: Mutex::new(process),
            http: world::http(),
        }
    }

    /// Whether its process runs.
    pub fn lives(&self) -> bool {
        self.process
            .lock()
            .expect("the server's process")
            .is_alive()
    }

    pub fn kind(&self) -> Kind {
        self.settings.kind
    }

    pub fn pid(&self) -> u32 {
        self.process.lock().expect("the server's process").pid()
    }

    /// SIGKILL to the server and to its plugins.
    pub fn kill_hard(&self) {
        self.process
            .lock()
            .expect("the server's process")
            .kill_hard();
    }

    /// SIGSTOP to the server alone: it does nothing more, and its engine goes on.
    pub fn freeze(&self) {
        self.process.lock().expect("the server's process").freeze();
    }

    /// Stops it gently and starts it again on the same storage.
    pub async fn restart(&self) {
        assert_eq!(
            self.settings.storage,
            Storage::Raft,
            "a development server forgets everything"
        );
        self.process
            .lock()
            .expect("the server's process")
            .ask_to_stop();
        eventually(
            "the server has stopped",
            Duration::from_secs(30),
            async || !self.lives(),
        )
        .await;
        self.start_again().await;
        self.active().await;
    }

    /// Starts what has ended, on the same storage, and unseals it.
    pub async fn start_again(&self) {
        let port = self
            .address
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port");
        let command = command(&self.settings, port, self.cluster_port, &self.token);
        let process = Process::start(command, &self.settings.folder.join("server.log"));
        *self.process.lock().expect("the server's process") = process;
        self.answers().await;
        self.unseal().await;
        self.serves().await;
    }

    pub async fn seal(&self) {
        self.write("sys/seal", &json!({})).await.expect_ok();
    }

    /// The leader hands over; it may be elected again.
    pub async fn step_down(&self) {
        self.write("sys/step-down", &json!({})).await.expect_ok();
    }

    /// Unseals it after [`Self::seal`] and waits until it is active.
    pub async fn unseal_again(&self) {
        self.unseal().await;
        self.active().await;
    }

    async fn unseal(&self) {
        let key = self.unseal_key.as_ref().expect("an unseal key");
        // Raft needs a moment between start and unseal.
        eventually(
            "the server is unsealed",
            Duration::from_secs(30),
            async || self.write("sys/unseal", &json!({"key": key})).await.is_ok(),
        )
        .await;
    }

    async fn initialise(&mut self) {
        self.answers().await;
        let answer = self
            .write(
                "sys/init",
                &json!({"secret_shares": 1, "secret_threshold": 1}),
            )
            .await
            .expect_ok();
        self.unseal_key = answer["keys"][0].as_str().map(str::to_owned);
        self.token = answer["root_token"]
            .as_str()
            .expect("a root token")
            .to_owned();
        self.unseal().await;
    }

    async fn answers(&self) {
        eventually("the server answers", Duration::from_secs(60), async || {
            self.expect_alive();
            self.read("sys/seal-status").await.is_ok()
        })
        .await;
    }

    fn expect_alive(&self) {
        let mut process = self.process.lock().expect("the server's process");
        assert!(
            process.is_alive(),
            "the server ended:\n{}",
            process.output()
        );
    }

    /// Unsealed, as the active node or as a standby.
    async fn serves(&self) {
        eventually("the node serves", Duration::from_secs(60), async || {
            self.expect_alive();
            let health = "sys/health?standbyok=true&perfstandbyok=true";
            self.read(health).await.status == 200
        })
        .await;
    }

    /// Active, with its mounts loaded.
    pub async fn active(&self) {
        self.answers().await;
        eventually(
            "the server is active",
            Duration::from_secs(60),
            async || self.read("sys/health").await.status == 200,
        )
        .await;
        // A development server answers before its first mounts are there.
        eventually("the token is known", Duration::from_secs(30), async || {
            self.read("auth/token/lookup-self").await.is_ok()
        })
        .await;
    }

    /// The file that arms failpoints in the running engine.
    pub fn failpoints(&self) -> std::path::PathBuf {
        self.settings.folder.join("engine-failpoints")
    }
}

fn command(settings: &Settings, port: u16, cluster_port: u16, token: &str) -> Command {
    let folder = &settings.folder;
    let config = folder.join("server.hcl");
    let mut command = Command::new(artefacts::server(settings.kind.name()));
    command
        .arg("server")
        .arg("-log-level=trace")
        .arg(format!("-config={}", config.display()));
    let text = match settings.storage {
        Storage::Memory => {
            command.args([
                "-dev",
                "-dev-no-store-token",
                &format!("-dev-root-token-id={token}"),
                &format!("-dev-listen-address=127.0.0.1:{port}"),
                &format!("-dev-plugin-dir={}", artefacts::plugin_folder().display()),
            ]);
            fs::read_to_string(artefacts::repository().join("vault-dev.hcl"))
                .expect("vault-dev.hcl")
        }
        Storage::Raft => persistent(settings, port, cluster_port),
    };
    // OpenBao: audit devices can be made over the API only where this is said.
    let audit = match settings.kind {
        Kind::OpenBao => "\nunsafe_allow_api_audit_creation = true\n",
        Kind::Vault => "",
    };
    fs::write(&config, text + audit).expect("writing the server's configuration");
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("FAILPOINT_FILE", folder.join("engine-failpoints"));
    if let Some(age) = settings.wal_min_age {
        command.env("LITELLM_WAL_MIN_AGE_SECONDS", age.as_secs().to_string());
    }
    for name in [
        "VAULT_ADDR",
        "VAULT_TOKEN",
        "VAULT_NAMESPACE",
        "BAO_ADDR",
        "BAO_TOKEN",
        "BAO_NAMESPACE",
    ] {
        command.env_remove(name);
    }
    command
}

fn persistent(settings: &Settings, port: u16, cluster_port: u16) -> String {
    let data = settings.folder.join("raft");
    fs::create_dir_all(&data).expect("creating the raft folder");
    format!(
        r#"
        storage "raft" {{
          path    = "{data}"
          node_id = "{node}"
          # Elections in a second, not in ten.
          performance_multiplier = 1
        }}
        listener "tcp" {{
          address         = "127.0.0.1:{port}"
          cluster_address = "127.0.0.1:{cluster_port}"
          tls_disable     = true
        }}
        api_addr             = "http://127.0.0.1:{port}"
        cluster_addr         = "http://127.0.0.1:{cluster_port}"
        plugin_directory     = "{plugins}"
        disable_mlock        = true
        raw_storage_endpoint = true
        "#,
        data = data.display(),
        node = settings
            .folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("the folder's name"),
        plugins = artefacts::plugin_folder().display(),
    )
}
