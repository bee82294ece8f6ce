//! Hard kills by the hundred.

use super::durability::{Scene, kill_rounds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_nothing_acknowledged_is_missing_after_five_hundred_hard_kills() {
    kill_rounds(&mut Scene::on_sqlite().await, 500).await;
}
