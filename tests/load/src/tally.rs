//! What calls came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    nanos: Vec<u64>,
    /// By status; 0 where a connection broke or an answer was cut.
    refused: BTreeMap<u16, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, status: u16, took: Duration) {
        if status == 200 {
            self.nanos
                .push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        } else {
            *self.refused.entry(status).or_default() += 1;
        }
    }

    /// Times in microseconds; none of them where nothing was answered.
    pub(crate) fn report(&mut self, elapsed: Duration) -> Value {
        self.nanos.sort_unstable();
        let refused: BTreeMap<_, _> = self
            .refused
            .iter()
            .map(|(status, count)| (status.to_string(), count))
            .collect();
        json!({
            "answered": self.nanos.len(),
            "refused": refused,
            "seconds": elapsed.as_secs_f64(),
            "p50_us": self.rank(500),
            "p90_us": self.rank(900),
            "p99_us": self.rank(990),
            "p999_us": self.rank(999),
            "max_us": self.rank(1_000),
        })
    }

    /// The time that so many of a thousand answers stayed within.
    fn rank(&self, per_mille: usize) -> Option<f64> {
        let last = self.nanos.len().checked_sub(1)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "times are far below 2^52 ns, which is 52 days"
        )]
        let micros = self.nanos[last * per_mille / 1_000] as f64 / 1_000.0;
        Some(micros)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tally;

    #[test]
    fn percentiles_are_of_the_answered_and_the_rest_is_counted_by_status() {
        let mut tally = Tally::default();
        for micros in (1..=1_000).rev() {
            tally.count(200, Duration::from_micros(micros));
        }
        tally.count(422, Duration::from_secs(9));
        tally.count(0, Duration::ZERO);
        let report = tally.report(Duration::from_secs(2));
        assert_eq!(report["answered"], 1_000);
        assert_eq!(
            report["refused"],
            serde_json::json!({"422": 1, "0": 1}),
            "{report}"
        );
        assert_eq!(report["p50_us"], 500.0);
        assert_eq!(report["p99_us"], 990.0);
        assert_eq!(report["max_us"], 1_000.0);
        assert!(Tally::default().report(Duration::ZERO)["p50_us"].is_null());
    }
}
