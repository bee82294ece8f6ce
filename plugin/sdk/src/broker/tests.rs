use super::*;

fn broker() -> Broker {
    Broker::new(None, Stop::new(), Tasks::new())
}

fn info(service_id: u32) -> ConnInfo {
    ConnInfo {
        service_id,
        network: "unix".to_owned(),
        address: format!("/tmp/{service_id}"),
        knock: None,
    }
}

#[tokio::test]
async fn an_announcement_and_its_setup_may_come_in_either_order() {
    let broker = broker();
    broker.announce(info(1));
    assert_eq!(broker.announcement(1).await.unwrap(), info(1));

    let waiting = broker.announcement(2);
    let announcing = async {
        tokio::task::yield_now().await;
        broker.announce(info(3));
        broker.announce(info(2));
    };
    let (found, ()) = tokio::join!(waiting, announcing);
    assert_eq!(found.unwrap(), info(2));
    assert_eq!(broker.announcement(3).await.unwrap(), info(3));
}

#[tokio::test(start_paused = true)]
async fn a_setup_without_an_announcement_fails_after_five_seconds() {
    let started = tokio::time::Instant::now();
    let error = broker().announcement(1).await.unwrap_err();
    assert_eq!(error.to_string(), "timeout waiting for connection info");
    assert_eq!(started.elapsed(), ANNOUNCEMENT_TIMEOUT);
}

#[tokio::test]
async fn announcements_nobody_claims_are_limited() {
    let broker = broker();
    for id in 0..5000 {
        broker.announce(info(id));
    }
    assert_eq!(broker.slots.lock().unwrap().len(), UNCLAIMED_MAX);
}

#[tokio::test]
async fn only_unix_sockets_are_dialled() {
    let broker = broker();
    broker.announce(ConnInfo {
        network: "tcp".to_owned(),
        ..info(1)
    });
    assert!(matches!(broker.dial(1).await, Err(BrokerError::Network(_))));
}
