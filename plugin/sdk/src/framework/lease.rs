//! How long a lease may live.
//!
//! Pure: time comes in. Vault: the rules of its `CalculateTTL`, which the server
//! applies again, so a plugin that grants by them is never cut afterwards.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::Error;

#[cfg(test)]
mod tests;

/// All that a TTL depends on. A zero duration means "not set".
#[derive(Clone, Debug, Default)]
pub struct TtlInputs {
    /// The mount's default TTL.
    pub system_default: Duration,
    /// The mount's maximum TTL.
    pub system_max: Duration,
    /// What the caller asked for.
    pub increment: Duration,
    /// The engine's own TTL, for example a role's.
    pub backend_ttl: Duration,
    /// The engine's own maximum, for example a role's.
    pub backend_max_ttl: Duration,
    /// The period of a periodic lease.
    pub period: Duration,
    /// A maximum that holds for periodic leases too.
    pub explicit_max_ttl: Duration,
    /// When the lease was first issued; now, where unset.
    pub issue_time: Option<DateTime<Utc>>,
    /// The present.
    pub now: DateTime<Utc>,
}

/// The TTL from now on, in whole seconds, and the warnings that belong to it.
///
/// # Errors
/// [`Error::User`] where no maximum is set, or the lease is past its maximum.
#[expect(clippy::needless_pass_by_value, reason = "callers build it in place")]
pub fn calculate_ttl(inputs: TtlInputs) -> Result<(Duration, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let max = lowest([
        inputs.system_max,
        inputs.backend_max_ttl,
        inputs.explicit_max_ttl,
    ]);
    if inputs.system_max.is_zero() || max.is_zero() {
        return Err(Error::user(
            "max TTL must be greater than zero: set max_lease_ttl on the mount",
        ));
    }
    let (proposed, end_after) = if inputs.period > Duration::ZERO {
        (
            capped_period(inputs.period, max, &mut warnings),
            inputs.explicit_max_ttl,
        )
    } else {
        let wanted = [inputs.increment, inputs.backend_ttl, inputs.system_default];
        (
            wanted.into_iter().find(|ttl| !ttl.is_zero()).unwrap_or(max),
            max,
        )
    };
    if end_after.is_zero() {
        return Ok((whole(proposed), warnings));
    }
    let rest = rest_of_life(&inputs, end_after);
    if rest.is_zero() {
        return Err(Error::user("past the max TTL, cannot renew"));
    }
    if proposed <= rest {
        return Ok((whole(proposed), warnings));
    }
    warnings.push(format!(
        "TTL of {:?} exceeded the effective max_ttl of {:?}; TTL value is capped accordingly",
        short(proposed),
        short(rest)
    ));
    Ok((rest, warnings))
}

fn lowest(limits: [Duration; 3]) -> Duration {
    limits
        .into_iter()
        .filter(|limit| !limit.is_zero())
        .min()
        .unwrap_or_default()
}

fn capped_period(period: Duration, max: Duration, warnings: &mut Vec<String>) -> Duration {
    if period <= max {
        return period;
    }
    warnings.push(format!(
        "period of {:?} exceeded the effective max_ttl of {:?}; period value is capped accordingly",
        short(period),
        short(max)
    ));
    max
}

/// What is left until the end, in whole seconds; zero when it has passed.
fn rest_of_life(inputs: &TtlInputs, end_after: Duration) -> Duration {
    let now = inputs.now.timestamp();
    let start = inputs.issue_time.map_or(now, |time| time.timestamp());
    let end_after = i64::try_from(end_after.as_secs()).unwrap_or(i64::MAX);
    let rest = start.saturating_add(end_after).saturating_sub(now);
    Duration::from_secs(u64::try_from(rest).unwrap_or_default())
}

/// Whole seconds. A shorter life stays as it is, because zero means "not set".
const fn whole(duration: Duration) -> Duration {
    match duration.as_secs() {
        0 => duration,
        seconds => Duration::from_secs(seconds),
    }
}

/// Vault: a duration without its zero parts: `1h`, `2m30s`, `0s`.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 3600, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let text: String = parts
        .iter()
        .filter(|(amount, _)| *amount > 0)
        .map(|(amount, unit)| format!("{amount}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}
