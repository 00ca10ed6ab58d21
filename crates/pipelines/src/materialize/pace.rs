//! When the next commit is due: pure.
//!
//! Owns: age and size, whichever comes first; the distance between commits.
//! Does not own: waiting, committing.
//! Invariants: a record never waits longer than its topic's lag while the catalog is quick; a slow catalog is busy at most
//! a fifth of the time, as long as the longest distance allows it; size alone never makes commits more often than
//! the shortest distance.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Settings;

/// The catalog rests so many times as long as it worked.
const RESTS: u32 = 4;

/// What is known when it is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) now: Instant,
    /// Since when.
    pub(crate) since: Instant,
    /// Bytes of log.
    pub(crate) bytes: u64,
    /// `redpanda.iceberg.target.lag.ms`.
    pub(crate) lag: Duration,
}

/// The pace of one table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// When the last commit ended, and how long the catalog took for it.
    last: Option<(Instant, Duration)>,
}

impl Pace {
    pub(crate) fn committed(&mut self, at: Instant, took: Duration) {
        self.last = Some((at, took));
    }

    /// When what waits is to be committed.
    pub(crate) fn due(&self, waiting: Waiting, settings: &Settings) -> Instant {
        let Waiting { now, since, bytes, lag } = waiting;
        let most = settings.commit_interval_max;
        let not_before = |least: Duration| {
            let (ended, took) = self.last?;
            Some(ended + took.saturating_mul(RESTS).min(most).max(least))
        };
        let by_age = not_before(Duration::ZERO).map_or(since + lag, |rested| rested.max(since + lag));
        if bytes < settings.commit_bytes {
            return by_age;
        }
        not_before(settings.commit_interval_min).map_or(now, |rested| rested.max(now)).min(by_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Milliseconds from now until a commit is due, when the last one ended 100 ms ago and took `took`.
    fn due(took: Option<u64>, waited: u64, bytes: u64, lag: u64) -> u128 {
        let settings = Settings {
            commit_bytes: 1_000,
            commit_interval_min: MS(1_000),
            commit_interval_max: MS(30_000),
            ..Settings::default()
        };
        let now = Instant::now() + MS(1_000_000);
        let mut pace = Pace::default();
        if let Some(took) = took {
            pace.committed(now - MS(100), MS(took));
        }
        let waiting = Waiting { now, since: now - MS(waited), bytes, lag: MS(lag) };
        pace.due(waiting, &settings).saturating_duration_since(now).as_millis()
    }

    #[test]
    fn age_or_size_whichever_comes_first() {
        assert_eq!(due(None, 200, 10, 10_000), 9_800);
        assert_eq!(due(None, 200, 1_000, 10_000), 0, "enough bytes wait");
        assert_eq!(due(None, 10_000, 10, 10_000), 0);
    }

    #[test]
    fn size_keeps_a_distance_and_age_does_not_while_the_catalog_is_quick() {
        assert_eq!(due(Some(5), 50, 1 << 40, 10_000), 900, "under load commits grow");
        assert_eq!(due(Some(5), 50, 1 << 40, 60), 10, "a short lag is wanted");
        assert_eq!(due(Some(5), 50, 10, 10), 0);
    }

    #[test]
    fn a_slow_catalog_is_asked_less_often() {
        assert_eq!(due(Some(2_000), 10_000, 10, 1_000), 7_900);
        assert_eq!(due(Some(2_000), 10_000, 1 << 40, 1_000), 7_900);
        assert_eq!(due(Some(60_000), 10_000, 10, 1_000), 29_900, "up to a limit");
        assert_eq!(due(Some(2_000), 0, 10, 60_000), 60_000, "who can wait longer waits for its age");
    }
}
