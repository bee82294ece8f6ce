//! The product as its users meet it: real binaries, a real Vault and a real
//! OpenBao, one scripted model provider. Tests are named after the promise that
//! they prove.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, with the reason in the message"
)]
#![expect(
    clippy::cognitive_complexity,
    reason = "it counts each assertion as a branch"
)]

/// Makes a test of each function on each server.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod vault {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { Box::pin(super::$name(e2e::Kind::Vault)).await; })+
        }
        mod openbao {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { Box::pin(super::$name(e2e::Kind::OpenBao)).await; })+
        }
    };
}

#[path = "e2e/availability.rs"]
mod availability;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/budget.rs"]
mod budget;
#[path = "e2e/crash.rs"]
mod crash;
#[path = "e2e/documentation.rs"]
mod documentation;
#[path = "e2e/durability.rs"]
mod durability;
#[path = "e2e/engine_process.rs"]
mod engine_process;
#[path = "e2e/fleet.rs"]
mod fleet;
#[path = "e2e/gateway_input.rs"]
mod gateway_input;
#[path = "e2e/hostile_gateway.rs"]
mod hostile_gateway;
#[path = "e2e/issuing.rs"]
mod issuing;
#[path = "e2e/keys_import.rs"]
mod keys_import;
#[path = "e2e/keys_in_use.rs"]
mod keys_in_use;
#[path = "e2e/leases.rs"]
mod leases;
#[path = "e2e/life.rs"]
mod life;
#[path = "e2e/litellm_vectors.rs"]
mod litellm_vectors;
#[path = "e2e/main_job.rs"]
mod main_job;
#[path = "e2e/operators_guide.rs"]
mod operators_guide;
#[path = "e2e/overshoot.rs"]
mod overshoot;
#[path = "e2e/readme.rs"]
mod readme;
#[path = "e2e/roles.rs"]
mod roles;
#[path = "e2e/rotate_root.rs"]
mod rotate_root;
#[path = "e2e/scopes.rs"]
mod scopes;
#[path = "e2e/sdk_examples.rs"]
mod sdk_examples;
#[path = "e2e/secrets.rs"]
mod secrets;
#[path = "e2e/shared_budgets.rs"]
mod shared_budgets;
#[path = "e2e/shared_rates.rs"]
mod shared_rates;
#[path = "e2e/shared_store.rs"]
mod shared_store;
#[path = "e2e/slow_durability.rs"]
mod slow_durability;
#[path = "e2e/slow_litellm.rs"]
mod slow_litellm;
#[path = "e2e/slow_litellm_recorded.rs"]
mod slow_litellm_recorded;
#[path = "e2e/slow_many.rs"]
mod slow_many;
#[path = "e2e/slow_outage.rs"]
mod slow_outage;
#[path = "e2e/slow_shared_store.rs"]
mod slow_shared_store;
#[path = "e2e/slow_static_build.rs"]
mod slow_static_build;
#[path = "e2e/slow_static_roles.rs"]
mod slow_static_roles;
#[path = "e2e/slow_three_nodes.rs"]
mod slow_three_nodes;
#[path = "e2e/static_roles.rs"]
mod static_roles;
#[path = "e2e/store_trouble.rs"]
mod store_trouble;
#[path = "e2e/teams.rs"]
mod teams;
