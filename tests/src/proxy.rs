//! The gateway under test: started, called, stopped gently or hard, and started
//! again on the same ports and the same store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::process::Process;
use crate::{artefacts, eventually, ports, world};

/// How a gateway is started.
#[derive(Debug, Clone)]
pub struct Settings {
    pub folder: PathBuf,
    pub master_key: String,
    /// LiteLLM's `config.yaml`; JSON is YAML. Without a `database_url` the store
    /// is an SQLite file in the folder.
    pub config: Value,
}

#[derive(Debug)]
pub struct Gateway {
    pub settings: Settings,
    pub data: String,
    pub admin: String,
    /// Failpoints of the processes started from now on, `name=action`.
    pub failpoints: Option<&'static str>,
    /// A shell script that the processes started from now on are run by, which
    /// ends in `exec "$@"`.
    pub script: Option<&'static str>,
    process: Option<Process>,
    http: reqwest::Client,
}

impl Gateway {
    pub async fn start(settings: Settings) -> Self {
        let mut gateway = Self {
            data: format!("http://127.0.0.1:{}", ports::free()),
            admin: format!("http://127.0.0.1:{}", ports::free()),
            settings,
            failpoints: None,
            script: None,
            process: None,
            http: world::http(),
        };
        gateway.start_again().await;
        gateway
    }

    /// Starts it on the ports and the store that it had.
    pub async fn start_again(&mut self) {
        let mut process = Process::start(self.command(), &self.log());
        eventually(
            "the gateway is ready",
            Duration::from_secs(30),
            async || {
                assert!(
                    process.is_alive(),
                    "the gateway ended:\n{}",
                    process.output()
                );
                self.get("/health/readiness", "")
                    .await
                    .is_some_and(|answer| answer.status() == 200)
            },
        )
        .await;
        self.process = Some(process);
    }

    /// As [`Gateway::start_again`], and waits for nothing.
    pub fn launch(&mut self) {
        self.process = Some(Process::start(self.command(), &self.log()));
    }

    fn command(&self) -> Command {
        let mut command = self.subcommand(&["serve"]);
        if let Some(failpoints) = self.failpoints {
            command.env("FAILPOINT", failpoints);
        }
        match self.script {
            None => command,
            Some(script) => by_script(script, &command),
        }
    }

    /// A command of the gateway's binary with this one's configuration, ports
    /// and store. Its secrets come by file.
    pub fn subcommand(&self, arguments: &[&str]) -> Command {
        let folder = &self.settings.folder;
        let config = folder.join("config.yaml");
        let master_key = folder.join("master_key");
        fs::write(&config, self.settings.config.to_string()).expect("writing the configuration");
        fs::write(&master_key, &self.settings.master_key).expect("writing the master key");
        let mut command = Command::new(artefacts::gateway());
        command
            .args(arguments)
            .arg("--config")
            .arg(config)
            .current_dir(folder)
            .env_remove("LLM_PROXY_MASTER_KEY")
            .env("LLM_PROXY_MASTER_KEY_FILE", master_key)
            .env("LLM_PROXY_LISTEN", self.data.trim_start_matches("http://"))
            .env(
                "LLM_PROXY_ADMIN_LISTEN",
                self.admin.trim_start_matches("http://"),
            )
            .env("LLM_PROXY_LOG", "trace");
        let database_url = &self.settings.config["general_settings"]["database_url"];
        match database_url.is_null() {
            true => command.env(
                "DATABASE_URL",
                format!("sqlite://{}", self.database().display()),
            ),
            false => command.env_remove("DATABASE_URL"),
        };
        command
    }

    pub fn database(&self) -> PathBuf {
        self.settings.folder.join("llm-proxy.db")
    }

    pub fn log(&self) -> PathBuf {
        self.settings.folder.join("gateway.log")
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running gateway").pid()
    }

    /// SIGKILL.
    pub fn kill_hard(&mut self) {
        self.process.take().expect("a running gateway").kill_hard();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it is not over within the drain deadline, or did not end well.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().expect("a running gateway");
        process.ask_to_stop();
        let status = process.ended(Duration::from_secs(45)).await;
        assert!(
            status.success(),
            "the gateway ended with {status}:\n{}",
            process.output()
        );
    }

    /// Recomputes every balance of the stopped gateway from its rows.
    ///
    /// # Panics
    /// When one differs.
    pub fn verify_ledger(&self) {
        let output = self
            .subcommand(&["ledger", "verify"])
            .output()
            .expect("running the gateway");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// SIGTERM alone.
    pub fn ask_to_stop(&self) {
        self.process
            .as_ref()
            .expect("a running gateway")
            .ask_to_stop();
    }

    // === the admin plane ===

    /// An admin call with the master key: status and JSON.
    pub async fn admin(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.admin))
            .bearer_auth(&self.settings.master_key);
        if method != Method::GET {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer of the admin plane");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// A key made by an operator, without an engine.
    pub async fn generate(&self, fields: Value) -> String {
        let (status, answer) = self.admin(Method::POST, "/key/generate", &fields).await;
        assert_eq!(status, 200, "generating a key: {answer}");
        answer["key"]
            .as_str()
            .expect("a key in the answer")
            .to_owned()
    }

    /// What the gateway says it has posted against a key, in USD.
    pub async fn spend(&self, key: &str) -> f64 {
        let (status, answer) = self
            .admin(Method::GET, &format!("/key/info?key={key}"), &Value::Null)
            .await;
        assert_eq!(status, 200, "asking for a key: {answer}");
        answer["info"]["spend"].as_f64().expect("spend is a number")
    }

    // === the data plane ===

    pub async fn get(&self, path: &str, key: &str) -> Option<Response> {
        let request = self
            .http
            .get(format!("{}{path}", self.data))
            .bearer_auth(key);
        request.send().await.ok()
    }

    /// The status of an attempt to use a key that costs nothing; 0 when nobody answers.
    pub async fn try_key(&self, key: &str) -> u16 {
        self.get("/v1/models", key)
            .await
            .map_or(0, |answer| answer.status().as_u16())
    }

    /// A chat completion, sent and not yet read.
    pub async fn send(&self, key: &str, body: &Value) -> Result<Response, reqwest::Error> {
        let url = format!("{}/v1/chat/completions", self.data);
        self.http.post(url).bearer_auth(key).json(body).send().await
    }

    /// A chat completion: status and JSON.
    pub async fn chat(&self, key: &str, model: &str) -> (u16, Value) {
        let answer = self
            .send(key, &prompt(model))
            .await
            .expect("an answer of the gateway");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}

/// The same command, run by a shell script that ends in `exec "$@"`.
fn by_script(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

/// The smallest request for a model.
pub fn prompt(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello"}]})
}

/// Runs the gateway's binary to its end.
pub fn run(arguments: &[&str], folder: &Path) -> std::process::Output {
    Command::new(artefacts::gateway())
        .args(arguments)
        .current_dir(folder)
        .env_remove("LLM_PROXY_CONFIG")
        .output()
        .expect("running the gateway")
}
