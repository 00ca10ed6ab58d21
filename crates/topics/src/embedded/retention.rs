//! Which old segments go, and what waits for the topic's tables.
//!
//! Owns: the decision by age, size and the tables' progress; its run over all topics.
//! Does not own: moving log starts and removing files (`log_start`), when it runs (`upkeep`).
//! Invariants: whole segments go, oldest first, never the active one; nothing goes that a table has not read, unless
//! more than `frazil.retention.hold.bytes` would be kept for it.
//!
//! Age is judged by this machine's clock at the time of the segment's last append, never by what clients write into
//! records: there, a time in the future stops deletion for ever, and a time in the past deletes at once what has just
//! been written (redpanda#9820, #11922, #12991). Times of records that a log had before this was recorded count from
//! the first start that did.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::Offset;

use super::log_start;
use super::partition::PartitionState;
use super::shared::Shared;
use crate::topic::TopicConfig;

/// What a topic's properties say about old records.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Policy {
    pub delete: bool,
    pub compact: bool,
    /// None: any age.
    pub retention_ms: Option<i64>,
    /// None: any size.
    pub retention_bytes: Option<u64>,
    pub segment_ms: i64,
    /// None: everything is kept for the tables.
    pub hold_bytes: Option<u64>,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub min_cleanable_ratio: f64,
}

impl Policy {
    pub(crate) fn of(config: &TopicConfig) -> Self {
        let limit = |name: &str| Some(config.number(name, -1)).filter(|n| *n >= 0);
        let ratio = config.effective("min.cleanable.dirty.ratio").and_then(|v| v.trim().parse().ok());
        Self {
            delete: config.is_deleted(),
            compact: config.is_compacted(),
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes").map(i64::unsigned_abs),
            segment_ms: config.number("segment.ms", i64::MAX),
            hold_bytes: limit("frazil.retention.hold.bytes").map(i64::unsigned_abs),
            delete_retention_ms: config.number("delete.retention.ms", 0),
            min_compaction_lag_ms: config.number("min.compaction.lag.ms", 0),
            max_compaction_lag_ms: config.number("max.compaction.lag.ms", i64::MAX),
            min_cleanable_ratio: ratio.unwrap_or(0.5),
        }
    }

    /// Whether the active segment, begun and last written at these times, is to be closed.
    pub(crate) fn closes(&self, begun_ms: i64, written_ms: i64, now_ms: i64) -> bool {
        let older = |than_ms: i64, since_ms: i64| now_ms.saturating_sub(since_ms) > than_ms;
        older(self.segment_ms, begun_ms)
            || (self.delete && self.retention_ms.is_some_and(|ms| older(ms, written_ms)))
            || (self.compact && older(self.max_compaction_lag_ms, begun_ms))
    }
}

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub base: Offset,
    pub len: u64,
    pub begun_ms: i64,
    pub written_ms: i64,
}

/// Where the log would begin by age and size alone; `segments` are all of a partition, the active one last.
pub(crate) fn wanted(segments: &[SegmentFacts], log_start: Offset, policy: &Policy, now_ms: i64) -> Offset {
    let mut left: u64 = segments.iter().map(|s| s.len).sum();
    let mut start = log_start;
    for pair in segments.windows(2) {
        let without = left - pair[0].len;
        let old = policy.retention_ms.is_some_and(|ms| now_ms.saturating_sub(pair[0].written_ms) > ms);
        let much = policy.retention_bytes.is_some_and(|max| without >= max);
        if !old && !much {
            break;
        }
        (left, start) = (without, start.max(pair[1].base));
    }
    start
}

/// How far a log start may move towards what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub log_start: Offset,
    /// Bytes that stay for the tables alone.
    pub held: u64,
}

/// Lets a log start move to `wanted` as far as tables that have read up to `materialized` are through, and beyond
/// that once more than `hold_bytes` would be kept for them.
pub(crate) fn allowed(
    segments: &[SegmentFacts],
    wanted: Offset,
    materialized: Offset,
    hold_bytes: Option<u64>,
) -> Allowed {
    if wanted <= materialized {
        return Allowed { log_start: wanted, held: 0 };
    }
    let first = segments.partition_point(|s| s.base <= materialized).saturating_sub(1);
    let until = segments.partition_point(|s| s.base < wanted);
    let waiting = segments.get(first..until).unwrap_or_default();
    let mut held: u64 = waiting.iter().map(|s| s.len).sum();
    let mut log_start = materialized;
    for (number, segment) in waiting.iter().enumerate() {
        if hold_bytes.is_none_or(|most| held <= most) {
            break;
        }
        held -= segment.len;
        log_start = waiting.get(number + 1).map_or(wanted, |next| next.base);
    }
    Allowed { log_start, held }
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Partitions whose log start moved.
    pub partitions: usize,
    /// Bytes that were freed.
    pub bytes: u64,
}

/// Removes what is too old or too much, in all topics.
pub(crate) fn run(shared: &Shared) -> Removed {
    let now_ms = shared.clock.now_ms();
    let mut moves: Vec<(Arc<PartitionState>, Offset)> = Vec::new();
    for topic in shared.all_topics() {
        let policy = Policy::of(&topic.info.config);
        for partition in &topic.partitions {
            if let Some(to) = plan(partition, &policy, now_ms) {
                moves.push((Arc::clone(partition), to));
            }
        }
    }
    if moves.is_empty() {
        return Removed::default();
    }
    let before: u64 = moves.iter().map(|(p, _)| p.size_bytes()).sum();
    if let Err(error) = log_start::advance(shared, &moves) {
        tracing::error!(%error, "old segments cannot be removed");
    }
    let after: u64 = moves.iter().map(|(p, _)| p.size_bytes()).sum();
    let partitions = moves.iter().filter(|(p, to)| p.log_start() >= *to).count();
    Removed { partitions, bytes: before.saturating_sub(after) }
}

/// Where a partition's log start moves to, if it moves.
fn plan(partition: &PartitionState, policy: &Policy, now_ms: i64) -> Option<Offset> {
    if !policy.delete {
        partition.held.store(0, Ordering::Relaxed);
        return None;
    }
    let (segments, marks) = (partition.segment_facts(), partition.marks());
    let wanted = wanted(&segments, marks.log_start, policy, now_ms).min(marks.durable);
    let allowed = allowed(&segments, wanted, marks.materialized, policy.hold_bytes);
    // A log start inside a segment frees nothing: retention moves by whole ones.
    let whole = segments.iter().rev().find(|s| s.base <= allowed.log_start);
    let to = whole.map_or(marks.log_start, |s| s.base);
    partition.held.store(allowed.held, Ordering::Relaxed);
    if to <= marks.log_start {
        return None;
    }
    if to > marks.materialized {
        tracing::error!(
            topic = %partition.name, partition = partition.index, from = marks.materialized, to,
            "retention goes on without the topic's tables: more than frazil.retention.hold.bytes waits for them"
        );
    }
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        delete: true,
        compact: false,
        retention_ms: None,
        retention_bytes: None,
        segment_ms: i64::MAX,
        hold_bytes: None,
        delete_retention_ms: 0,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX,
        min_cleanable_ratio: 0.5,
    };

    /// Five segments of 100 bytes and 10 offsets, written at 1000, 2000, …
    fn segments() -> Vec<SegmentFacts> {
        let one =
            |n: i64| SegmentFacts { base: n * 10, len: 100, begun_ms: n * 1000, written_ms: (n + 1) * 1000 };
        (0..5).map(one).collect()
    }

    #[test]
    fn age_and_size_take_whole_segments_and_never_the_active_one() {
        let by_age = |ms, now| wanted(&segments(), 0, &Policy { retention_ms: Some(ms), ..POLICY }, now);
        assert_eq!(by_age(5_000, 6_000), 0, "not older than 5 s");
        assert_eq!(by_age(5_000, 6_001), 10);
        assert_eq!(by_age(5_000, 8_001), 30);
        assert_eq!(by_age(0, 1_000_000), 40, "the active one stays");
        assert_eq!(by_age(0, 0), 0, "a clock that was set back deletes nothing");
        let by_size = |max| wanted(&segments(), 0, &Policy { retention_bytes: Some(max), ..POLICY }, 0);
        assert_eq!((by_size(500), by_size(401), by_size(400), by_size(250), by_size(0)), (0, 0, 10, 20, 40));
        assert_eq!(wanted(&segments(), 7, &POLICY, 1 << 40), 7, "without limits nothing goes");
        assert_eq!(wanted(&[], 7, &Policy { retention_ms: Some(0), ..POLICY }, 1 << 40), 7);
    }

    #[test]
    fn tables_hold_up_to_a_limit() {
        let at = |wanted, materialized, hold| {
            let Allowed { log_start, held } = allowed(&segments(), wanted, materialized, hold);
            (log_start, held)
        };
        assert_eq!(at(30, 40, Some(0)), (30, 0), "tables are through");
        assert_eq!(at(30, 12, None), (12, 200), "the one with offset 12 and the next");
        assert_eq!(at(30, 12, Some(200)), (12, 200));
        assert_eq!(at(30, 12, Some(199)), (20, 100), "the oldest goes");
        assert_eq!(at(30, 12, Some(99)), (30, 0));
        assert_eq!(at(25, 0, Some(100)), (20, 100));
        assert_eq!(at(25, 0, Some(0)), (25, 0));
    }

    #[test]
    fn the_active_segment_closes_when_it_is_due() {
        let policy = Policy { segment_ms: 100, ..POLICY };
        assert!(!policy.closes(0, 90, 100) && policy.closes(0, 90, 101));
        let policy = Policy { retention_ms: Some(50), ..POLICY };
        assert!(!policy.closes(0, 90, 140) && policy.closes(0, 90, 141));
        let policy = Policy { compact: true, max_compaction_lag_ms: 10, ..POLICY };
        assert!(!policy.closes(0, 9, 10) && policy.closes(0, 9, 11));
    }
}
