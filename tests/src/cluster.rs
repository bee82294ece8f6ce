//! Three nodes of one raft cluster on loopback, each with the engine in its
//! plugin folder, and one gateway behind all of them. Nodes are killed, started
//! again and asked to step down.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::chaos::Chaos;
use crate::eventually;
use crate::leaks::Canaries;
use crate::proxy::Gateway;
use crate::upstream::Upstream;
use crate::vault::{self, Kind, Server, Storage};
use crate::world::{Lease, MOUNT, SHORT_WAL_AGE, Surroundings, TestFolder, engine_config};

/// Three servers are heavy: one cluster at a time.
static TURN: Semaphore = Semaphore::const_new(1);

/// Votes are counted after a second, and the new leader loads its mounts.
const ELECTION: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Server>,
    pub chaos: Chaos,
    pub gateway: Gateway,
    pub upstream: Upstream,
    pub canaries: Canaries,
    pub folder: TestFolder,
    _turn: SemaphorePermit<'static>,
}

impl Cluster {
    /// Three nodes, the engine registered, mounted and configured.
    pub async fn start(kind: Kind) -> Self {
        let turn = TURN.acquire().await.expect("the turn of a cluster");
        let folder = TestFolder::new(kind.name());
        let Surroundings {
            chaos,
            gateway,
            upstream,
            canaries,
        } = Surroundings::start(&folder).await;
        let settings = |name: &str| vault::Settings {
            kind,
            storage: Storage::Raft,
            wal_min_age: Some(SHORT_WAL_AGE),
            folder: folder.sub(name),
        };
        let mut nodes = vec![Server::start(settings("node-1")).await];
        // A new node gets its vote when it has been well for so long.
        let autopilot = json!({"server_stabilization_time": "1s"});
        let path = "sys/storage/raft/autopilot/configuration";
        nodes[0].write(path, &autopilot).await.expect_ok();
        for name in ["node-2", "node-3"] {
            let node = Server::join(settings(name), &nodes[0]).await;
            nodes.push(node);
        }
        nodes[0].register_engine().await;
        nodes[0].mount_engine(MOUNT).await;
        let config = engine_config(&chaos, &gateway);
        nodes[0]
            .write(&format!("{MOUNT}/config"), &config)
            .await
            .expect_ok();
        let cluster = Self {
            nodes,
            chaos,
            gateway,
            upstream,
            canaries,
            folder,
            _turn: turn,
        };
        cluster.all_vote().await;
        cluster.whole().await;
        cluster
    }

    /// A cluster without a second vote cannot lose its leader.
    async fn all_vote(&self) {
        eventually("each node has a vote", ELECTION, async || {
            let path = "sys/storage/raft/configuration";
            let configuration = self.nodes[0].read(path).await;
            let servers = &configuration.body["data"]["config"]["servers"];
            let servers = servers.as_array().map_or(&[][..], Vec::as_slice);
            servers
                .iter()
                .filter(|server| server["voter"] == true)
                .count()
                == self.nodes.len()
        })
        .await;
    }

    /// The active node; waits for an election that is under way.
    pub async fn leader(&self) -> &Server {
        let mut found = None;
        eventually("a node leads", ELECTION, async || {
            for (number, node) in self.nodes.iter().enumerate() {
                let leads = node.read("sys/leader").await.body["is_self"] == json!(true);
                if leads && node.read(&format!("{MOUNT}/config")).await.is_ok() {
                    found = Some(number);
                    return true;
                }
            }
            false
        })
        .await;
        &self.nodes[found.expect("the number of the leader")]
    }

    /// The nodes that do not lead.
    pub async fn standbys(&self) -> Vec<&Server> {
        let leader = self.leader().await.address.as_str();
        let others = self.nodes.iter().filter(|node| node.address != leader);
        others.collect()
    }

    /// Waits until every node that lives serves requests of the engine, by
    /// itself or by forwarding them.
    pub async fn whole(&self) {
        self.leader().await;
        for node in &self.nodes {
            eventually("each node serves the engine", ELECTION, async || {
                !node.lives() || node.read(&format!("{MOUNT}/config")).await.is_ok()
            })
            .await;
        }
    }

    /// SIGKILL to a node and its engine; returns when another one leads.
    pub async fn kill(&self, node: &Server) {
        node.kill_hard();
        self.whole().await;
    }

    /// Starts the nodes that were killed.
    pub async fn heal(&self) {
        for node in &self.nodes {
            if !node.lives() {
                node.start_again().await;
            }
        }
        self.whole().await;
    }

    pub async fn role(&self, name: &str, fields: Value) {
        self.leader()
            .await
            .write(&format!("{MOUNT}/roles/{name}"), &fields)
            .await
            .expect_ok();
    }

    /// A leased key of a role, asked for at `node`.
    pub async fn issue_at(&self, node: &Server, role: &str) -> Lease {
        let answer = node.read(&format!("{MOUNT}/creds/{role}")).await;
        let lease = Lease::of(&answer.expect_ok());
        self.canaries.add(&lease.key);
        lease
    }

    /// No secret in any output or file of gateway and servers.
    ///
    /// # Panics
    /// When there is one, saying where.
    pub fn expect_no_leaks(&self) {
        self.canaries.expect_none_under(&self.folder.path);
    }
}
