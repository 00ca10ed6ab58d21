//! Which offsets the next commit covers: a pure function of progress, marks, cut and schema switches.
//!
//! Owns: ranges, and what is skipped because the log no longer has it.
//! Does not own: reading or committing them.
//! Invariants: a range never begins beyond the recorded progress, never ends beyond the cut, and never crosses the
//! offset where a later schema starts.

use base::{Offset, PartitionId};

/// What is known of one partition when a commit is planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartitionFacts {
    pub(crate) partition: PartitionId,
    /// Next offset by the table's progress; none when the table has nothing of this partition.
    pub(crate) recorded: Option<Offset>,
    pub(crate) log_start: Offset,
    /// Where the table begins (`frazil.table.backfill=false`); not beyond any cut. 0: where the log does.
    pub(crate) begin: Offset,
    /// Stable mark in the cut.
    pub(crate) stable: Offset,
}

/// What one commit covers of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) partition: PartitionId,
    /// Where the table stands: `Advance::from`.
    pub(crate) from: Offset,
    /// First offset that is read; `[from, read_from)` is gone, or not wanted.
    pub(crate) read_from: Offset,
    /// It is not wanted.
    pub(crate) not_wanted: bool,
    pub(crate) end: Offset,
}

impl Range {
    /// The range of `facts`; `starts` are the offsets where schemas start in this partition, in any order.
    pub(crate) fn of(facts: PartitionFacts, starts: impl Iterator<Item = Offset>) -> Option<Self> {
        let from = facts.recorded.unwrap_or(facts.log_start);
        let begin = facts.begin.min(facts.stable);
        let read_from = from.max(facts.log_start).max(begin);
        let boundary = starts.filter(|start| *start > read_from).min().unwrap_or(Offset::MAX);
        let end = facts.stable.min(boundary).max(read_from);
        (end > from).then_some(Self {
            partition: facts.partition,
            from,
            read_from,
            not_wanted: begin > from,
            end,
        })
    }

    /// Offsets that the table does not get.
    pub(crate) fn skipped(&self) -> Option<(Offset, Offset)> {
        (self.read_from > self.from).then_some((self.from, self.read_from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(recorded: Option<i64>, log_start: i64, stable: i64, starts: &[i64]) -> Option<(i64, i64, i64)> {
        let facts = PartitionFacts { partition: 0, recorded, log_start, begin: 0, stable };
        Range::of(facts, starts.iter().copied()).map(|r| (r.from, r.read_from, r.end))
    }

    #[test]
    fn ranges_follow_progress_log_start_cut_and_switches() {
        assert_eq!(range(None, 0, 0, &[0]), None);
        assert_eq!(range(None, 0, 5, &[0]), Some((0, 0, 5)));
        assert_eq!(range(None, 3, 5, &[]), Some((3, 3, 5)), "a new incarnation begins at the log start");
        assert_eq!(range(Some(5), 0, 5, &[0]), None);
        assert_eq!(range(Some(2), 4, 9, &[]), Some((2, 4, 9)), "the log lost [2, 4)");
        assert_eq!(
            range(Some(2), 9, 9, &[]),
            Some((2, 9, 9)),
            "all of it is gone: only the loss is recorded"
        );
        assert_eq!(range(Some(2), 12, 9, &[]), Some((2, 12, 12)), "a cut older than the log start");
        assert_eq!(range(Some(2), 0, 9, &[0, 5, 7]), Some((2, 2, 5)), "stops before the next schema");
        assert_eq!(range(Some(5), 0, 9, &[0, 5, 7]), Some((5, 5, 7)));
        assert_eq!(range(Some(7), 0, 9, &[0, 5, 7]), Some((7, 7, 9)));
    }
    #[test]
    fn a_table_without_backfill_begins_where_it_was_switched_on() {
        let range = |recorded, begin, stable| {
            let facts = PartitionFacts { partition: 0, recorded, log_start: 2, begin, stable };
            let range = Range::of(facts, std::iter::empty()).expect("a range");
            (range.from, range.read_from, range.end, range.not_wanted)
        };
        assert_eq!(range(None, 5, 9), (2, 5, 9, true));
        assert_eq!(
            range(None, 5, 5),
            (2, 5, 5, true),
            "what is left out is recorded even if nothing has come since"
        );
        assert_eq!(range(Some(3), 0, 9), (3, 3, 9, false));
    }
}
