//! Each operation on a static role, cut at every storage call and at every
//! gateway call it makes. Afterwards, when all is well again and the rollback
//! has been by, the key that is handed out works and no other does.

use serde_json::json;
use vault_plugin_sdk::Operation;
use vault_plugin_sdk::testing::Fault;

use super::world::{World, Wrong, hourly};

#[derive(Debug, Clone, Copy)]
enum Work {
    Create,
    DueRotation,
    ManualRotation,
    Change,
    Retime,
    Delete,
    Unmount,
}

const ALL: [Work; 7] = [
    Work::Create,
    Work::DueRotation,
    Work::ManualRotation,
    Work::Change,
    Work::Retime,
    Work::Delete,
    Work::Unmount,
];

impl Work {
    async fn before(self) -> World {
        if matches!(self, Self::Create) {
            return World::empty().await;
        }
        let world = World::start().await;
        if matches!(self, Self::DueRotation) {
            world.make_due().await;
        }
        world.system.set_tainted(matches!(self, Self::Unmount));
        world
    }

    /// Whether it succeeded.
    async fn run(self, world: &World) -> bool {
        let answer = match self {
            Self::Create => world.write("static-roles/app", hourly(&json!({}))).await,
            Self::DueRotation | Self::Unmount => world.tick().await,
            Self::ManualRotation => world.write("rotate-role/app", json!({})).await,
            Self::Change => {
                world
                    .write("static-roles/app", json!({"max_budget": 2}))
                    .await
            }
            Self::Retime => {
                world
                    .write("static-roles/app", json!({"rotation_period": "2h"}))
                    .await
            }
            Self::Delete => world.delete("static-roles/app").await,
        };
        answer.is_ok_and(|answer| answer.is_none_or(|answer| answer.error_text().is_none()))
    }
}

/// While the fault lasts, and for good once it is over.
async fn check(world: World, work: Work, cut: &str) {
    if world
        .entry("app")
        .await
        .is_some_and(|role| role.current.is_some())
    {
        world.storage.set(None);
        world.working_key().await;
    }
    world.heal();
    world.system.set_tainted(false);
    // What a process remembers is of no use after a crash.
    let world = world.restarted();
    world.late_tick().await;
    world.late_tick().await;
    let label = format!("{work:?} cut at {cut}");
    assert_eq!(world.wal_entries().await, 0, "{label}");
    match world.entry("app").await {
        None => assert_eq!(world.alive(), [""; 0], "{label}"),
        Some(_) => assert_eq!(world.alive(), [world.working_key().await], "{label}"),
    }
}

#[tokio::test]
async fn no_storage_failure_loses_a_key_or_leaves_one() {
    for work in ALL {
        for number in 1.. {
            let world = work.before().await;
            world.storage.set(Some(Fault::At(number)));
            work.run(&world).await;
            let is_over = world.storage.calls() < number;
            check(world, work, &format!("storage call {number}")).await;
            if is_over {
                assert!(number > 3, "{work:?} was cut {number} times only");
                break;
            }
        }
    }
}

#[tokio::test]
async fn no_crash_loses_a_key_or_leaves_one() {
    for work in ALL {
        for number in 1.. {
            let world = work.before().await;
            // Nothing is stored any more, as if the process had ended.
            world.storage.set(Some(Fault::From(number)));
            work.run(&world).await;
            let is_over = world.storage.calls() < number;
            check(world, work, &format!("storage calls from {number} on")).await;
            if is_over {
                break;
            }
        }
    }
}

/// Whoever believes such a failure would end the key that is saved.
#[tokio::test]
async fn no_write_that_only_seems_to_fail_loses_a_key_or_leaves_one() {
    for work in ALL {
        let world = work.before().await;
        world.lose_answers_of_storage();
        work.run(&world).await;
        check(world, work, "a lost answer of storage").await;
    }
}

#[tokio::test]
async fn no_gateway_failure_loses_a_key_or_leaves_one() {
    for wrong in [Wrong::Refused, Wrong::AnswerLost, Wrong::Nonsense] {
        for work in ALL {
            for number in 1.. {
                let world = work.before().await;
                let made = world.calls_made();
                world.break_call(number, wrong);
                work.run(&world).await;
                let is_over = world.calls_made() < made + number;
                check(world, work, &format!("gateway call {number} ({wrong:?})")).await;
                if is_over {
                    assert!(number > 1, "{work:?} called nothing");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_creation_that_fails_leaves_no_role() {
    for number in 1..=2 {
        let world = World::empty().await;
        world.storage.set(Some(Fault::ReadOnly));
        assert!(!Work::Create.run(&world).await);
        world.heal();
        world.break_call(number, Wrong::Refused);
        let succeeded = Work::Create.run(&world).await;
        assert_eq!(world.entry("app").await.is_some(), succeeded);
    }
}

#[tokio::test]
async fn a_deletion_with_the_gateway_down_is_finished_later() {
    let world = World::start().await;
    world.break_gateway();
    let answer = world.delete("static-roles/app").await.unwrap().unwrap();
    assert!(answer.warnings[0].contains("again"), "{answer:?}");
    assert_eq!(world.alive().len(), 1);
    assert!(world.tick().await.unwrap().unwrap().error_text().is_some());
    world.heal();
    // It is known to exist, so it needs not be old.
    world.tick().await.unwrap();
    assert!(world.alive().is_empty());
    assert_eq!(world.wal_entries().await, 0);
}

#[tokio::test]
async fn a_key_that_may_still_be_made_is_not_given_up_early() {
    let world = World::empty().await;
    world.break_call(1, Wrong::AnswerLost);
    assert!(!Work::Create.run(&world).await);
    assert_eq!((world.alive().len(), world.wal_entries().await), (1, 1));
    world
        .handle(Operation::Rollback, "", json!({}))
        .await
        .unwrap();
    assert_eq!(world.wal_entries().await, 1, "too young");
    world.late_tick().await;
    assert_eq!((world.alive().len(), world.wal_entries().await), (0, 0));
}
