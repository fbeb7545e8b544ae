//! How many requests had which outcome, and how long the upstreams took, over the last minutes.

use std::collections::{BTreeMap, VecDeque};

use hookgate_core::UnixTime;
use serde::Serialize;

use super::compact::Facts;
use crate::telemetry::access_log::Timestamp;
use crate::telemetry::outcome::RequestOutcome;

/// The length of one interval, in seconds.
const INTERVAL: i64 = 10;
/// The number of intervals: a quarter of an hour.
const MAX_INTERVALS: usize = 90;
/// The upper limit of the first latency bucket, in microseconds. Each further bucket reaches
/// twice as far in two steps.
const FIRST_BUCKET: u64 = 50;
/// The last bucket begins above one minute.
const BUCKETS: usize = 42;

/// The counts of the last intervals.
#[derive(Debug, Default)]
pub(crate) struct Rates(VecDeque<Interval>);

#[derive(Debug)]
struct Interval {
    /// The number of intervals since the Unix epoch.
    number: i64,
    /// The number of requests with each outcome. The few outcomes are found faster here than in a map.
    outcomes: Vec<(RequestOutcome, u64)>,
    upstream: [u32; BUCKETS],
}

/// The counts of one interval.
#[derive(Debug, Serialize)]
pub(crate) struct Rate {
    /// The start of the interval.
    time: Timestamp,
    seconds: i64,
    outcomes: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<Latency>,
}

/// The time from the start of forwarding to the response, in milliseconds. Each value is the
/// upper limit of its bucket.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

impl Rates {
    /// Counts a record.
    pub(crate) fn count(&mut self, facts: &Facts) {
        let number = facts.time.0.secs().div_euclid(INTERVAL);
        let Some(interval) = self.interval(number) else {
            return;
        };
        let outcomes = &mut interval.outcomes;
        match outcomes
            .iter_mut()
            .find(|(outcome, _)| *outcome == facts.outcome)
        {
            Some((_, count)) => *count += 1,
            None => outcomes.push((facts.outcome, 1)),
        }
        if let Some(took) = facts.upstream_us {
            interval.upstream[bucket(took)] += 1;
        }
    }

    /// Returns the interval `number`, or `None` if it is too old.
    fn interval(&mut self, number: i64) -> Option<&mut Interval> {
        // A request counts when it arrived, so a slow one can belong to an earlier interval.
        let index = self
            .0
            .iter()
            .rposition(|interval| interval.number <= number);
        match index {
            Some(index) if self.0[index].number == number => return self.0.get_mut(index),
            None if self.0.len() == MAX_INTERVALS => return None,
            _ => {}
        }
        let index = index.map_or(0, |index| index + 1);
        let interval = Interval {
            number,
            outcomes: Vec::new(),
            upstream: [0; BUCKETS],
        };
        self.0.insert(index, interval);
        match self.0.len() > MAX_INTERVALS {
            true => {
                self.0.pop_front();
                self.0.get_mut(index.checked_sub(1)?)
            }
            false => self.0.get_mut(index),
        }
    }

    /// Returns the intervals with requests that began at `now` or up to a quarter of an hour
    /// earlier, the oldest first.
    pub(crate) fn report(&self, now: UnixTime) -> Vec<Rate> {
        let oldest = now.secs().div_euclid(INTERVAL) - MAX_INTERVALS as i64;
        let recent = self.0.iter().filter(|interval| interval.number > oldest);
        recent
            .map(|interval| Rate {
                time: Timestamp(UnixTime::from_secs(interval.number * INTERVAL)),
                seconds: INTERVAL,
                outcomes: interval
                    .outcomes
                    .iter()
                    .map(|(outcome, count)| (outcome.label(), *count))
                    .collect(),
                upstream_ms: latency(&interval.upstream),
            })
            .collect()
    }
}

fn bucket(microseconds: u64) -> usize {
    // Two steps double the limit, so one step doubles its square. A logarithm of whole numbers
    // costs a tenth of one of floating-point numbers.
    let square = microseconds.min(1 << 31).pow(2);
    let quotient = square.div_ceil(FIRST_BUCKET.pow(2)).max(1);
    let steps = u64::BITS - (quotient - 1).leading_zeros();
    (steps as usize).min(BUCKETS - 1)
}

/// Returns the upper limit of a bucket, in microseconds.
fn limit(bucket: usize) -> f64 {
    FIRST_BUCKET as f64 * 2f64.powf(bucket as f64 / 2.0)
}

fn latency(buckets: &[u32; BUCKETS]) -> Option<Latency> {
    let total: u64 = buckets.iter().map(|count| u64::from(*count)).sum();
    if total == 0 {
        return None;
    }
    let quantile = |quantile: f64| {
        let rank = (total as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        let bucket = buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        let limit = limit(bucket.unwrap_or(BUCKETS - 1));
        (limit / 10.0).round() / 100.0
    };
    Some(Latency {
        p50: quantile(0.5),
        p99: quantile(0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(secs: i64, outcome: RequestOutcome, upstream_us: Option<u64>) -> Facts {
        Facts {
            time: Timestamp(UnixTime::from_secs(secs)),
            outcome,
            upstream_us,
            ..Facts::default()
        }
    }

    #[test]
    fn requests_count_in_the_interval_of_their_arrival() {
        let mut rates = Rates::default();
        for secs in [1000, 1009, 1020, 1001] {
            rates.count(&record(secs, RequestOutcome::Forwarded, None));
        }
        rates.count(&record(1020, RequestOutcome::Refused, None));
        let report = rates.report(UnixTime::from_secs(1025));
        let counts: Vec<_> = report
            .iter()
            .map(|rate| (rate.time.0.secs(), rate.outcomes.get("forwarded").copied()))
            .collect();
        assert_eq!(counts, [(1000, Some(3)), (1020, Some(1))]);
        assert_eq!(report[1].outcomes.get("refused"), Some(&1));
        assert!(rates.report(UnixTime::from_secs(1000 + 2000)).is_empty());
    }

    #[test]
    fn the_number_of_intervals_is_bounded() {
        let mut rates = Rates::default();
        for secs in (0..100_000).step_by(7) {
            rates.count(&record(secs, RequestOutcome::Forwarded, None));
        }
        assert_eq!(rates.0.len(), MAX_INTERVALS);
        rates.count(&record(5, RequestOutcome::Forwarded, None));
        assert_eq!(rates.0.len(), MAX_INTERVALS);
    }

    #[test]
    fn each_bucket_has_the_values_up_to_its_limit() {
        for index in 0..BUCKETS - 1 {
            let last = limit(index).floor() as u64;
            assert_eq!(bucket(last), index, "{last}");
            assert_eq!(bucket(last + 1), index + 1, "{last}");
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_the_limits_of_their_buckets() {
        let mut rates = Rates::default();
        for took in std::iter::repeat_n(1000, 98).chain([50_000, 50_000]) {
            rates.count(&record(1000, RequestOutcome::Forwarded, Some(took)));
        }
        let report = rates.report(UnixTime::from_secs(1000));
        let latency = report[0].upstream_ms.as_ref().unwrap();
        assert!((1.0..=1.5).contains(&latency.p50), "{latency:?}");
        assert!((50.0..=75.0).contains(&latency.p99), "{latency:?}");
    }
}
