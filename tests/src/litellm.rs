//! A stock LiteLLM proxy with a database of its own, in front of the scripted
//! provider, with the models of the recordings: started, called, and gone with
//! everything it has started when it goes out of scope.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::process::Process;
use crate::proxy::prompt;
use crate::upstream::{Script, Upstream};
use crate::world::{self, random_key};
use crate::{artefacts, eventually, ports};

#[derive(Debug)]
pub struct LiteLlm {
    pub url: String,
    pub master_key: String,
    http: reqwest::Client,
    // LiteLLM ends before its database does.
    _process: Process,
    _database: Postgres,
}

impl LiteLlm {
    /// As it comes, without a licence: models `fake-1` and `fake-2` cost 0.001
    /// and 0.002 USD a token and answer with ten and five of them, and
    /// `fake-unpriced` has no price.
    pub async fn start(folder: &Path, upstream: &Upstream) -> Self {
        Self::start_with(folder, upstream, json!({}), json!({})).await
    }

    /// With these in `litellm_settings` and `general_settings`.
    pub async fn start_with(
        folder: &Path,
        upstream: &Upstream,
        settings: Value,
        mut general: Value,
    ) -> Self {
        let installed = artefacts::server("litellm");
        let database = Postgres::start(
            &installed.join("database.tar"),
            &folder.join("postgres.log"),
        )
        .await;
        let master_key = random_key("litellm");
        general["master_key"] = json!(master_key);
        let config = folder.join("litellm.yaml");
        let content = json!({"model_list": models(upstream), "litellm_settings": settings,
            "general_settings": general});
        fs::write(&config, content.to_string()).expect("writing LiteLLM's configuration");

        let port = ports::free();
        let mut process = Process::start(
            command(&installed, &config, port, &database),
            &folder.join("litellm.log"),
        );
        let url = format!("http://127.0.0.1:{port}");
        let http = world::http();
        eventually("LiteLLM is ready", Duration::from_secs(240), async || {
            assert!(process.is_alive(), "it ended:\n{}", process.output());
            let asked = http.get(format!("{url}/health/readiness")).send().await;
            asked.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        Self {
            url,
            master_key,
            http,
            _process: process,
            _database: database,
        }
    }

    /// A call with the master key: status and JSON.
    pub async fn admin(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.url))
            .bearer_auth(&self.master_key);
        if method != Method::GET {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer of LiteLLM");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// The row of a key, by itself, its hash or nothing of it.
    pub async fn info(&self, key: &str) -> Value {
        let path = format!("/key/info?key={key}");
        let (_, answer) = self.admin(Method::GET, &path, &Value::Null).await;
        answer["info"].clone()
    }

    /// How many live keys carry this alias.
    pub async fn keys_called(&self, alias: &str) -> u64 {
        let path = format!("/key/list?key_alias={alias}");
        let (status, answer) = self.admin(Method::GET, &path, &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer["total_count"].as_u64().expect("a count")
    }

    /// The status of an attempt to use a key that costs nothing.
    pub async fn try_key(&self, key: &str) -> u16 {
        let request = self.http.get(format!("{}/v1/models", self.url));
        let answer = request.bearer_auth(key).send().await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// A chat completion: status and JSON.
    pub async fn chat(&self, key: &str, model: &str) -> (u16, Value) {
        let mut body = prompt(model);
        body["max_tokens"] = json!(5);
        let request = self.http.post(format!("{}/v1/chat/completions", self.url));
        let answer = request
            .bearer_auth(key)
            .json(&body)
            .send()
            .await
            .expect("an answer of LiteLLM");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}

fn models(upstream: &Upstream) -> Vec<Value> {
    ["fake-1", "fake-2", "fake-unpriced"]
        .iter()
        .map(|name| {
            let script = Script {
                prompt_tokens: 10,
                completion_tokens: 5,
                ..Script::default()
            };
            upstream.script(name, script);
            let mut parameters = json!({"model": format!("openai/{name}"),
                "api_base": upstream.url(), "api_key": random_key("provider")});
            if *name != "fake-unpriced" {
                parameters["input_cost_per_token"] = json!(0.001);
                parameters["output_cost_per_token"] = json!(0.002);
            }
            json!({"model_name": name, "litellm_params": parameters})
        })
        .collect()
}

fn command(installed: &Path, config: &Path, port: u16, database: &Postgres) -> Command {
    let within = |name: &str| installed.join(name).display().to_string();
    let path = format!(
        "{}:{}:/usr/local/bin:/usr/bin:/bin",
        within("shim"),
        within("venv/bin")
    );
    let mut command = Command::new(installed.join("venv/bin/litellm"));
    command
        .arg("--config")
        .arg(config)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--num_workers", "1", "--telemetry", "False"])
        .env_clear()
        .env("HOME", installed.join("home"))
        .env("PATH", path)
        .env("LANG", "C.UTF-8")
        .env(
            "DATABASE_URL",
            format!("postgresql://litellm@127.0.0.1:{}/litellm", database.port),
        )
        .env(
            "PRISMA_QUERY_ENGINE_BINARY",
            installed.join("bridge/query-engine"),
        )
        // The tables are there, and no price list is fetched.
        .env("DISABLE_SCHEMA_UPDATE", "true")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_SALT_KEY", "sk-salt-of-a-test");
    if let Ok(run) = std::env::var("E2E_RUN") {
        command.env("E2E_RUN", run);
    }
    command
}
