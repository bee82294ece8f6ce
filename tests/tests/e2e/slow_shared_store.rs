//! Budgets under hard kills and stampedes, many times over.

use super::{budget, shared_store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_three_gateways_admit_ten_calls_of_a_budget_of_ten_200_times() {
    shared_store::ten_of_two_hundred(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_spend_survives_fifty_hard_kills_in_the_middle_of_streams() {
    budget::kill_rounds(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_what_fifty_killed_gateways_had_spent_is_posted_by_others() {
    for round in 0..10 {
        shared_store::kills(5, round * 211).await;
    }
}
