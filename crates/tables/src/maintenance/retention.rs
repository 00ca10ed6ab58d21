//! Which snapshots of a table are kept: pure.
//!
//! Owns: the thinning, and the words of Iceberg that bound it.
//! Does not own: removing them (`expiry`).
//! Invariants: heads of branches and tags are kept; so is, for each of them, the nearest snapshot that carries progress;
//! which one of a stretch of time is kept does not change as time goes by.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};

use super::{DAY, HOUR, Limits, MINUTE};
use crate::progress::PROGRESS_KEY;

/// What retention depends on, of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) parent: Option<i64>,
    pub(crate) sequence: i64,
    pub(crate) timestamp_ms: i64,
    /// It carries progress.
    pub(crate) carrier: bool,
}

/// Everything that retention depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) snapshots: HashMap<i64, Kept>,
    pub(crate) refs: BTreeMap<String, SnapshotReference>,
    /// `history.expire.max-snapshot-age-ms`: older ones go.
    pub(crate) max_age_ms: Option<i64>,
    /// `history.expire.min-snapshots-to-keep` of main.
    pub(crate) keep_min: usize,
    /// `history.expire.max-ref-age-ms`.
    pub(crate) max_ref_age_ms: Option<i64>,
}

/// What goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Goes {
    pub(crate) snapshots: BTreeSet<i64>,
    pub(crate) refs: Vec<String>,
}

impl History {
    pub(crate) fn of(metadata: &TableMetadata, refs: BTreeMap<String, SnapshotReference>) -> Self {
        let number = |key: &str| metadata.properties().get(key).and_then(|v| v.trim().parse::<i64>().ok());
        let positive = |key: &str| number(key).filter(|n| *n > 0);
        let kept = |s: &iceberg::spec::SnapshotRef| {
            let carrier = s.summary().additional_properties.contains_key(PROGRESS_KEY);
            let (parent, sequence) = (s.parent_snapshot_id(), s.sequence_number());
            (s.snapshot_id(), Kept { parent, sequence, timestamp_ms: s.timestamp_ms(), carrier })
        };
        Self {
            snapshots: metadata.snapshots().map(kept).collect(),
            refs,
            max_age_ms: positive("history.expire.max-snapshot-age-ms"),
            keep_min: positive("history.expire.min-snapshots-to-keep").map_or(1, |n| n as usize),
            max_ref_age_ms: positive("history.expire.max-ref-age-ms"),
        }
    }

    /// `id` and its ancestors, newest first, as far as they are left.
    fn chain(&self, id: i64) -> impl Iterator<Item = (i64, &Kept)> {
        let look = |id: i64| self.snapshots.get(&id).map(|kept| (id, kept));
        // Sequence numbers fall along a chain; a ring of parents must not hold us for ever.
        std::iter::successors(look(id), move |(_, kept)| kept.parent.and_then(look))
            .take(self.snapshots.len())
    }

    /// The nearest snapshot at or before `head` that carries progress; beyond a gap in the chain, the newest older one.
    fn carrier_of(&self, head: i64) -> Option<i64> {
        let mut oldest = i64::MAX;
        for (id, kept) in self.chain(head) {
            if kept.carrier {
                return Some(id);
            }
            oldest = kept.sequence;
        }
        let older = self.snapshots.iter().filter(|(_, kept)| kept.carrier && kept.sequence < oldest);
        older.max_by_key(|(_, kept)| kept.sequence).map(|(id, _)| *id)
    }

    /// What goes at `now`.
    pub(crate) fn thin(&self, now: i64, limits: &Limits) -> Goes {
        let mut goes = Goes::default();
        let mut keep = self.by_time(now, limits);
        for (name, reference) in &self.refs {
            let (min, max_age, max_ref_age) = match reference.retention {
                SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
                    (min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms)
                }
                SnapshotRetention::Tag { max_ref_age_ms } => (None, None, max_ref_age_ms),
            };
            let age = self.snapshots.get(&reference.snapshot_id).map_or(0, |s| now - s.timestamp_ms);
            let main = name == MAIN_BRANCH;
            if !main && max_ref_age.or(self.max_ref_age_ms).is_some_and(|max| age > max) {
                goes.refs.push(name.clone());
                continue;
            }
            let default = if main { self.keep_min } else { 1 };
            let min = min.and_then(|min| usize::try_from(min).ok()).unwrap_or(default).max(1);
            for (at, (id, kept)) in self.chain(reference.snapshot_id).enumerate() {
                if at < min || max_age.is_some_and(|max| now - kept.timestamp_ms <= max) {
                    keep.insert(id);
                }
            }
            keep.extend(self.carrier_of(reference.snapshot_id));
        }
        goes.snapshots = self.snapshots.keys().filter(|id| !keep.contains(id)).copied().collect();
        goes
    }

    /// All of the last hour, then one per stretch that grows with age. A snapshot that carries progress stands for its
    /// stretch before one that does not: a table that is rolled back to it knows where it stands.
    fn by_time(&self, now: i64, limits: &Limits) -> BTreeSet<i64> {
        let mut keep = BTreeSet::new();
        let mut stretches: BTreeMap<(i64, i64), (bool, i64, i64)> = BTreeMap::new();
        let mut newest_first: Vec<(&i64, &Kept)> = self.snapshots.iter().collect();
        newest_first.sort_by_key(|(id, kept)| std::cmp::Reverse((kept.sequence, **id)));
        for (at, (id, kept)) in newest_first.into_iter().enumerate() {
            let age = now - kept.timestamp_ms;
            if self.max_age_ms.is_some_and(|max| age > max) {
                continue;
            }
            let stretch = match age {
                age if age <= limits.keep_all_ms && at < limits.recent_max => {
                    keep.insert(*id);
                    continue;
                }
                age if age <= limits.keep_all_ms => MINUTE,
                age if age <= limits.keep_ten_minutely_ms => 10 * MINUTE,
                age if age <= limits.keep_hourly_ms => HOUR,
                _ => DAY,
            };
            let rank = (kept.carrier, kept.sequence, *id);
            let chosen = stretches.entry((stretch, kept.timestamp_ms.div_euclid(stretch))).or_insert(rank);
            *chosen = rank.max(*chosen);
        }
        keep.extend(stretches.into_values().map(|(_, _, id)| id));
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain with one snapshot per `step`, ids from 1; carriers where `carrier` says.
    fn history(count: i64, step: i64, carrier: impl Fn(i64) -> bool) -> History {
        let snapshot = |id: i64| {
            let parent = (id > 1).then_some(id - 1);
            (id, Kept { parent, sequence: id, timestamp_ms: id * step, carrier: carrier(id) })
        };
        let main = SnapshotReference::new(count, SnapshotRetention::branch(None, None, None));
        History {
            snapshots: (1..=count).map(snapshot).collect(),
            refs: BTreeMap::from([(MAIN_BRANCH.to_owned(), main)]),
            keep_min: 1,
            ..History::default()
        }
    }

    fn left(history: &History, goes: &Goes) -> BTreeSet<i64> {
        history.snapshots.keys().filter(|id| !goes.snapshots.contains(id)).copied().collect()
    }

    #[test]
    fn a_month_is_thinned_and_stays_so() {
        let limits = Limits::default();
        let step = MINUTE;
        let history = history(31 * 24 * 60, step, |_| true);
        let now = 31 * DAY;
        let goes = history.thin(now, &limits);
        let kept = left(&history, &goes);
        // 61 of the last hour, 6 per hour for the day, 1 per hour for 6 days, 1 per day.
        assert!(
            (61 + 23 * 6 + 6 * 24 + 24..=61 + 23 * 6 + 6 * 24 + 24 + 4).contains(&kept.len()),
            "{}",
            kept.len()
        );
        assert!((now / step - 60..=now / step).all(|id| kept.contains(&id)));
        for day in 1..24 {
            assert_eq!(kept.iter().filter(|id| *id * step / DAY == day).count(), 1, "day {day}");
        }
    }

    #[test]
    fn what_is_kept_does_not_depend_on_how_often_one_looks() {
        let limits = Limits { keep_ten_minutely_ms: 6 * HOUR, keep_hourly_ms: DAY, ..Limits::default() };
        let step = 2 * MINUTE;
        let whole = history(3 * 24 * 30, step, |id| id % 3 != 0);
        let mut left_over = whole.clone();
        for id in (1..=3 * 24 * 30).step_by(31) {
            let mut then = left_over.clone();
            then.snapshots.retain(|known, _| *known <= id);
            then.refs.get_mut(MAIN_BRANCH).expect("main").snapshot_id = id;
            for gone in then.thin(id * step, &limits).snapshots {
                left_over.snapshots.remove(&gone);
            }
        }
        let now = 3 * DAY;
        let goes = left_over.thin(now, &limits);
        assert_eq!(left(&left_over, &goes), left(&whole, &whole.thin(now, &limits)));
    }

    #[test]
    fn heads_carriers_and_references_stay() {
        let limits = Limits::default();
        // Only the second snapshot carries progress; everything is years old.
        let mut history = history(10, 1, |id| id == 2);
        let tag = |id, max_ref_age_ms| SnapshotReference::new(id, SnapshotRetention::Tag { max_ref_age_ms });
        history.refs.insert("for-ever".into(), tag(5, None));
        history.refs.insert("for-a-day".into(), tag(6, Some(DAY)));
        history.refs.insert(
            "branch".into(),
            SnapshotReference::new(8, SnapshotRetention::branch(Some(2), None, None)),
        );
        history.max_age_ms = Some(DAY);
        let goes = history.thin(1000 * DAY, &limits);
        assert_eq!(left(&history, &goes), BTreeSet::from([2, 5, 7, 8, 10]));
        assert_eq!(goes.refs, ["for-a-day"]);
        // What was thinned out between head and carrier does not part them.
        let mut thinned = history.clone();
        thinned.snapshots.retain(|id, _| [2, 10].contains(id));
        thinned.refs.retain(|name, _| name == MAIN_BRANCH);
        assert_eq!(left(&thinned, &thinned.thin(1000 * DAY, &limits)), BTreeSet::from([2, 10]));
        history.keep_min = 4;
        let goes = history.thin(1000 * DAY, &limits);
        assert!(left(&history, &goes).is_superset(&BTreeSet::from([7, 8, 9, 10])));
    }

    #[test]
    fn a_carrier_stands_for_its_stretch() {
        let history = history(100, 1, |id| id == 40);
        let kept = left(&history, &history.thin(1000 * DAY, &Limits::default()));
        assert_eq!(kept, BTreeSet::from([40, 100]));
    }

    #[test]
    fn very_many_snapshots_of_an_hour_are_thinned_too() {
        let history = history(3_000, 1_000, |_| true);
        let kept = left(&history, &history.thin(3_000_000, &Limits::default()));
        assert!((2_000..2_030).contains(&kept.len()), "{}", kept.len());
    }
}
