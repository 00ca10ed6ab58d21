//! Which offsets were found, as runs.
//!
//! Owns: collecting offsets in any order in little memory; where they lie too often.
//! Does not own: which ones should be there.
//! Invariants: at most [`RUNS_MAX`] runs are kept.

use std::collections::BTreeMap;

use base::{Offset, PartitionId};

/// Most runs of neighbouring offsets: 64 MB.
const RUNS_MAX: usize = 4 << 20;

/// Offsets of each partition, with their repetitions.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    runs: BTreeMap<PartitionId, Vec<(Offset, Offset)>>,
    len: usize,
}

impl Coverage {
    /// Adds an offset; false when there are too many runs to go on.
    pub(super) fn add(&mut self, partition: PartitionId, offset: Offset) -> bool {
        let runs = self.runs.entry(partition).or_default();
        match runs.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            _ => {
                runs.push((offset, offset + 1));
                self.len += 1;
            }
        }
        self.len <= RUNS_MAX
    }

    /// Sorts the runs; call it once, after the last offset.
    pub(super) fn settle(&mut self) {
        self.runs.values_mut().for_each(|runs| runs.sort_unstable());
    }

    /// Sorted runs of a partition. They may overlap.
    pub(super) fn runs(&self, partition: PartitionId) -> &[(Offset, Offset)] {
        self.runs.get(&partition).map_or(&[], Vec::as_slice)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.runs.keys().copied()
    }

    /// How many offsets of a partition were found, repetitions counted.
    pub(super) fn count(&self, partition: PartitionId) -> u64 {
        self.runs(partition).iter().map(|(from, to)| to.abs_diff(*from)).sum()
    }
}

/// Where sorted `runs` lie deeper than `allowed` ones: ranges of offsets that are there too often.
pub(super) fn too_deep(runs: &[(Offset, Offset)], allowed: &[(Offset, Offset)]) -> Vec<(Offset, Offset)> {
    let mut steps: BTreeMap<Offset, i64> = BTreeMap::new();
    for (from, to) in runs {
        *steps.entry(*from).or_default() += 1;
        *steps.entry(*to).or_default() -= 1;
    }
    for (from, to) in allowed {
        *steps.entry(*from).or_default() -= 1;
        *steps.entry(*to).or_default() += 1;
    }
    let (mut depth, mut since, mut found) = (0, None, Vec::new());
    for (at, step) in steps {
        depth += step;
        match since {
            None if depth > 0 => since = Some(at),
            Some(from) if depth <= 0 => {
                found.push((from, at));
                since = None;
            }
            _ => {}
        }
    }
    found
}

/// Tells for rising offsets whether they are in sorted runs.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    runs: &'a [(Offset, Offset)],
    /// Furthest end of the runs that were passed.
    reach: Offset,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(runs: &'a [(Offset, Offset)]) -> Self {
        Self { runs, reach: Offset::MIN }
    }

    /// `offset` must not be below that of the call before.
    pub(super) fn holds(&mut self, offset: Offset) -> bool {
        while let Some(((from, to), rest)) = self.runs.split_first()
            && *from <= offset
        {
            self.reach = self.reach.max(*to);
            self.runs = rest;
        }
        offset < self.reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_runs_and_are_found_again() {
        let mut coverage = Coverage::default();
        for offset in [5, 6, 7, 1, 2, 6] {
            assert!(coverage.add(0, offset));
        }
        coverage.settle();
        assert_eq!(coverage.runs(0), [(1, 3), (5, 8), (6, 7)]);
        assert_eq!((coverage.count(0), coverage.count(1)), (6, 0));
        let mut cursor = Cursor::new(coverage.runs(0));
        let held: Vec<i64> = (0..10).filter(|offset| cursor.holds(*offset)).collect();
        assert_eq!(held, [1, 2, 5, 6, 7]);
    }

    #[test]
    fn what_is_there_too_often_is_told() {
        assert!(too_deep(&[(0, 5), (5, 9)], &[(0, 9)]).is_empty());
        assert_eq!(too_deep(&[(0, 5), (3, 9)], &[(0, 9)]), [(3, 5)]);
        assert_eq!(too_deep(&[(0, 5)], &[(2, 9)]), [(0, 2)], "nothing is owed below the first offset");
        assert!(too_deep(&[(0, 5), (0, 3)], &[(0, 5), (0, 3)]).is_empty(), "two incarnations");
        assert_eq!(too_deep(&[(0, 5), (0, 4)], &[(0, 5), (0, 3)]), [(3, 4)]);
    }
}
