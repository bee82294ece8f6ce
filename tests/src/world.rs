//! Everything that most tests need, in one value: a scripted provider, a
//! gateway, a server with the engine mounted and configured, and the canaries.
//! When it goes out of scope all of it is gone; after a failure the logs stay.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::artefacts;
use crate::chaos::Chaos;
use crate::leaks::Canaries;
use crate::proxy::{Gateway, Settings};
use crate::upstream::Upstream;
use crate::vault::{self, Kind, Server, Storage};

/// Where the engine is mounted.
pub const MOUNT: &str = "litellm";

/// The engine of most tests rolls back what is this old, instead of a minute.
pub(crate) const SHORT_WAL_AGE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct World {
    pub server: Server,
    pub chaos: Chaos,
    pub gateway: Gateway,
    pub upstream: Upstream,
    pub canaries: Canaries,
    pub folder: TestFolder,
}

impl World {
    /// On a development server, which keeps everything in memory.
    pub async fn start(kind: Kind) -> Self {
        Self::start_on(kind, Storage::Memory).await
    }

    /// With an engine that takes no write-ahead entry for abandoned before it is
    /// as old as a release demands.
    pub async fn start_with_real_wal_age(kind: Kind) -> Self {
        Self::begin(kind, Storage::Memory, None).await
    }

    pub async fn start_on(kind: Kind, storage: Storage) -> Self {
        Self::begin(kind, storage, Some(SHORT_WAL_AGE)).await
    }

    async fn begin(kind: Kind, storage: Storage, wal_min_age: Option<Duration>) -> Self {
        let folder = TestFolder::new(kind.name());
        let Surroundings {
            chaos,
            gateway,
            upstream,
            canaries,
        } = Surroundings::start(&folder).await;
        let server = Server::start(vault::Settings {
            kind,
            storage,
            wal_min_age,
            folder: folder.sub("server"),
        })
        .await;
        let world = Self {
            server,
            chaos,
            gateway,
            upstream,
            canaries,
            folder,
        };
        world.server.register_engine().await;
        world.server.mount_engine(MOUNT).await;
        world.configure(MOUNT).await;
        world
    }

    /// Points the engine of a mount at the gateway, by way of the chaos proxy.
    pub async fn configure(&self, mount: &str) {
        let config = engine_config(&self.chaos, &self.gateway);
        self.server
            .write(&format!("{mount}/config"), &config)
            .await
            .expect_ok();
    }

    pub async fn role(&self, name: &str, fields: Value) {
        self.server
            .write(&format!("{MOUNT}/roles/{name}"), &fields)
            .await
            .expect_ok();
    }

    /// A leased key of a role.
    pub async fn issue(&self, role: &str) -> Lease {
        let answer = self
            .server
            .read(&format!("{MOUNT}/creds/{role}"))
            .await
            .expect_ok();
        let lease = Lease::of(&answer);
        self.canaries.add(&lease.key);
        lease
    }

    /// No secret in any output or file of gateway and server.
    ///
    /// # Panics
    /// When there is one, saying where.
    pub fn expect_no_leaks(&self) {
        self.canaries.expect_none_under(&self.folder.path);
    }
}

/// What there is besides the servers: a provider, and a gateway that the engine
/// reaches by way of the chaos proxy.
#[derive(Debug)]
pub struct Surroundings {
    pub chaos: Chaos,
    pub gateway: Gateway,
    pub upstream: Upstream,
    pub canaries: Canaries,
}

impl Surroundings {
    pub async fn start(folder: &TestFolder) -> Self {
        let upstream = Upstream::start().await;
        let canaries = Canaries::default();
        let provider_key = random_key("provider");
        canaries.add(&provider_key);
        let gateway = Gateway::start(Settings {
            folder: folder.sub("gateway"),
            master_key: random_key("master"),
            config: gateway_config(&upstream, &provider_key),
        })
        .await;
        canaries.add(&gateway.settings.master_key);
        let chaos = Chaos::start(&gateway.admin).await;
        Self {
            chaos,
            gateway,
            upstream,
            canaries,
        }
    }
}

/// What the engine's `config` is written with.
pub fn engine_config(chaos: &Chaos, gateway: &Gateway) -> Value {
    json!({
        "base_url": chaos.url(),
        "master_key": gateway.settings.master_key,
        "public_url": gateway.data,
    })
}

/// What `creds` answered.
#[derive(Debug, Clone)]
pub struct Lease {
    pub id: String,
    pub key: String,
    pub alias: String,
    pub hash: String,
    pub ttl: Duration,
}

impl Lease {
    pub fn of(answer: &Value) -> Self {
        let text = |value: &Value| {
            value
                .as_str()
                .expect("a text in the answer of creds")
                .to_owned()
        };
        Self {
            id: text(&answer["lease_id"]),
            key: text(&answer["data"]["key"]),
            alias: text(&answer["data"]["key_alias"]),
            hash: text(&answer["data"]["key_hash"]),
            ttl: Duration::from_secs(answer["lease_duration"].as_u64().expect("a lease duration")),
        }
    }
}

/// The models of a gateway under test: the built-in echo, and the scripted
/// provider under several names, so that each can have a script of its own.
/// `exact` has no price for input, so that a test knows what a call costs.
pub fn gateway_config(upstream: &Upstream, provider_key: &str) -> Value {
    let scripted = |name: &str, input: f64, output: f64| {
        json!({
            "model_name": name,
            "litellm_params": {
                "model": format!("openai/upstream-{name}"),
                "api_base": upstream.url(),
                "api_key": provider_key,
            },
            "model_info": {"input_cost_per_token": input, "output_cost_per_token": output},
        })
    };
    json!({"model_list": [
        {"model_name": "demo", "litellm_params": {"model": "echo/demo"},
         "model_info": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}},
        scripted("scripted", 1e-6, 2e-6),
        scripted("other", 1e-6, 2e-6),
        scripted("exact", 0.0, 0.001),
    ]})
}

/// The harness's one HTTP client: no proxy, no redirects, bounded in time.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(120))
        .build()
        .expect("an HTTP client")
}

/// A secret that is told apart from any other by its random part alone.
pub fn random_key(of: &str) -> String {
    let mut bytes = [0_u8; 24];
    let source = fs::File::open("/dev/urandom");
    source
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .expect("random bytes");
    let random: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sk-{random}-{of}")
}

/// A test's own folder. Removed when the test has passed.
#[derive(Debug)]
pub struct TestFolder {
    pub path: PathBuf,
}

impl TestFolder {
    pub fn new(label: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("test").replace("::", "-");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = artefacts::run_folder().join(format!("{test}-{label}-{number}"));
        fs::create_dir_all(&path).expect("creating a test's folder");
        Self { path }
    }

    pub fn sub(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(&path).expect("creating a folder");
        path
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}
