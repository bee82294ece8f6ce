//! Several gateways on one PostgreSQL, each by a wire of its own that a test can
//! break. Started without a store they are alive and nothing more.

use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::proxy::{Gateway, Settings};
use crate::upstream::Upstream;
use crate::wire::Wire;
use crate::world::{TestFolder, gateway_config, random_key};

// In the order in which they end.
#[derive(Debug)]
pub struct Fleet {
    pub gateways: Vec<Gateway>,
    pub wires: Vec<Wire>,
    pub upstream: Upstream,
    pub postgres: Postgres,
    _folder: TestFolder,
}

impl Fleet {
    /// `store` is what stands in the configuration under `llm_proxy.store`.
    pub async fn start(count: usize, store: Value) -> Self {
        let folder = TestFolder::new("fleet");
        let postgres = Postgres::empty(&folder.path.join("postgres.log")).await;
        let upstream = Upstream::start().await;
        let master_key = random_key("master");
        let (mut gateways, mut wires) = (Vec::new(), Vec::new());
        for number in 0..count {
            let wire = Wire::start(postgres.port).await;
            let mut config = gateway_config(&upstream, &random_key("provider"));
            let url = format!("postgres://postgres@127.0.0.1:{}/postgres", wire.port);
            config["general_settings"] = json!({"database_url": url});
            config["llm_proxy"] = json!({"store": store});
            let settings = Settings {
                folder: folder.sub(&format!("gateway-{number}")),
                master_key: master_key.clone(),
                config,
            };
            gateways.push(Gateway::start(settings).await);
            wires.push(wire);
        }
        Self {
            gateways,
            wires,
            upstream,
            postgres,
            _folder: folder,
        }
    }
}
