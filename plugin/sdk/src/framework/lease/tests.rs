use rand::RngExt;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn inputs() -> TtlInputs {
    TtlInputs {
        system_default: seconds(3600),
        system_max: seconds(7200),
        now: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        ..TtlInputs::default()
    }
}

fn check(change: impl Fn(&mut TtlInputs), ttl: u64, warning: &str) {
    let mut inputs = inputs();
    change(&mut inputs);
    let (found, warnings) = calculate_ttl(inputs).unwrap();
    assert_eq!(found, seconds(ttl));
    assert_eq!(warnings.join("; "), warning);
}

#[test]
fn the_first_that_is_set_counts() {
    check(|_| (), 3600, "");
    check(|it| it.backend_ttl = seconds(60), 60, "");
    check(
        |it| {
            it.backend_ttl = seconds(60);
            it.increment = seconds(30);
        },
        30,
        "",
    );
}

#[test]
fn a_ttl_above_a_maximum_is_cut_with_a_warning() {
    let text = |wanted: &str, max: &str| {
        format!(
            "TTL of \"{wanted}\" exceeded the effective max_ttl of \"{max}\"; TTL value is capped \
             accordingly"
        )
    };
    check(
        |it| it.increment = seconds(9000),
        7200,
        &text("2h30m", "2h"),
    );
    check(
        |it| it.backend_max_ttl = seconds(90),
        90,
        &text("1h", "1m30s"),
    );
    check(
        |it| it.explicit_max_ttl = seconds(60),
        60,
        &text("1h", "1m"),
    );
}

#[test]
fn a_period_is_cut_by_the_maximum_but_never_ends() {
    let warning = "period of \"3h\" exceeded the effective max_ttl of \"2h\"; period value is \
                   capped accordingly";
    check(
        |it| {
            it.period = seconds(10_800);
            it.issue_time = DateTime::from_timestamp(1_600_000_000, 0);
        },
        7200,
        warning,
    );
}

#[test]
fn past_the_end_there_is_no_renewal() {
    let mut late = inputs();
    late.issue_time = Some(late.now - chrono::TimeDelta::seconds(7200));
    let error = calculate_ttl(late).unwrap_err();
    assert_eq!(error.to_string(), "past the max TTL, cannot renew");
    let mut unset = inputs();
    unset.system_max = Duration::ZERO;
    assert!(matches!(calculate_ttl(unset), Err(Error::User(_))));
}

/// Whatever comes in: the end is never after any maximum, and never "not set".
#[test]
fn the_result_is_at_most_every_maximum() {
    let mut random = rand::rng();
    for _ in 0..20_000 {
        let mut any = || match random.random_range(0..4) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(random.random_range(0..5_000)),
            2 => seconds(random.random_range(0..100_000)),
            _ => seconds(random.random_range(0..9_000_000_000)),
        };
        let age = any().as_secs().min(200_000);
        let now = inputs().now;
        let sample = TtlInputs {
            system_default: any(),
            system_max: any(),
            increment: any(),
            backend_ttl: any(),
            backend_max_ttl: any(),
            period: any(),
            explicit_max_ttl: any(),
            issue_time: Some(now - chrono::TimeDelta::seconds(i64::try_from(age).unwrap())),
            now,
        };
        let Ok((ttl, _)) = calculate_ttl(sample.clone()) else {
            continue;
        };
        assert!(!ttl.is_zero(), "{sample:?}");
        for max in [
            sample.system_max,
            sample.backend_max_ttl,
            sample.explicit_max_ttl,
        ] {
            if max.is_zero() {
                continue;
            }
            assert!(ttl <= max, "{ttl:?} is above {max:?}: {sample:?}");
            if sample.period.is_zero() {
                assert!(
                    ttl + seconds(age) <= max,
                    "{ttl:?} ends too late: {sample:?}"
                );
            }
        }
    }
}
