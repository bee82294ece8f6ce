use super::*;

fn minute(number: i64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(number)
}

#[test]
fn roles_come_in_the_order_of_their_times_and_never_early() {
    let mut queue = Queue::default();
    queue.schedule("late", minute(9));
    queue.schedule("b", minute(3));
    queue.schedule("a", minute(3));
    queue.schedule("first", minute(1));
    assert_eq!(queue.claim(minute(0)), None);
    let order: Vec<_> = std::iter::from_fn(|| queue.claim(minute(3))).collect();
    assert_eq!(order, ["first", "a", "b"]);
}

#[test]
fn a_new_time_takes_the_place_of_the_old_one() {
    let mut queue = Queue::default();
    queue.schedule("app", minute(1));
    queue.schedule("app", minute(5));
    assert_eq!(queue.claim(minute(4)), None);
    assert_eq!(queue.claim(minute(5)).as_deref(), Some("app"));
    queue.remove("app");
    assert_eq!(queue.claim(minute(99)), None);
}

#[test]
fn a_claimed_role_is_not_claimed_twice_and_comes_back_by_itself() {
    let mut queue = Queue::default();
    queue.schedule("app", minute(1));
    assert!(queue.claim(minute(1)).is_some());
    assert_eq!(queue.claim(minute(15)), None);
    assert!(queue.claim(minute(16)).is_some());
}

#[test]
fn what_storage_holds_never_overrules_a_later_request() {
    let mut queue = Queue::default();
    assert!(!queue.is_complete());
    queue.schedule("app", minute(7));
    queue.complete([("app".to_owned(), minute(1)), ("db".to_owned(), minute(2))]);
    assert!(queue.is_complete());
    assert_eq!(queue.claim(minute(6)).as_deref(), Some("db"));
    assert_eq!(queue.claim(minute(6)), None);
    queue.forget();
    assert!(!queue.is_complete());
    assert_eq!(queue.claim(minute(99)), None);
}

#[test]
fn failures_wait_longer_each_time_up_to_a_bound() {
    for (failures, least, most) in [
        (1, 30, 60),
        (2, 60, 120),
        (3, 120, 240),
        (4, 240, 480),
        (5, 300, 600),
        (60, 300, 600),
        (u32::MAX, 300, 600),
    ] {
        let day = TimeDelta::days(1);
        assert_eq!(backoff(failures, day, 0.0), TimeDelta::seconds(least));
        assert_eq!(backoff(failures, day, 1.0), TimeDelta::seconds(most));
        assert_eq!(backoff(failures, day, f64::NAN), TimeDelta::seconds(least));
        for (spacing, bound) in [(0, 60), (60, 60), (150, 150), (3600, 600)] {
            assert_eq!(
                backoff(failures, TimeDelta::seconds(spacing), 1.0),
                TimeDelta::seconds(most.min(bound))
            );
        }
    }
}

#[test]
fn a_failing_role_lets_the_others_pass_and_a_success_starts_over() {
    let mut queue = Queue::default();
    queue.schedule("bad", minute(1));
    queue.schedule("good", minute(2));
    assert_eq!(queue.claim(minute(2)).as_deref(), Some("bad"));
    queue.retry("bad", minute(2), TimeDelta::days(1), 1.0);
    assert_eq!(queue.claim(minute(2)).as_deref(), Some("good"));
    queue.schedule("good", minute(100));

    assert_eq!(queue.claim(minute(3)).as_deref(), Some("bad"));
    queue.retry("bad", minute(3), TimeDelta::days(1), 1.0);
    assert_eq!(queue.claim(minute(4)), None, "the second wait is longer");
    assert_eq!(queue.claim(minute(5)).as_deref(), Some("bad"));
    queue.schedule("bad", minute(6));
    assert_eq!(queue.claim(minute(6)).as_deref(), Some("bad"));
    queue.retry("bad", minute(6), TimeDelta::days(1), 1.0);
    assert!(queue.claim(minute(7)).is_some(), "counted from the start");
}
