//! What a snapshot's summary says about records that are no rows, so that every offset can be accounted for.
//!
//! Owns: the `frazil.*` summary keys of materialize.
//! Does not own: progress (tables).

use std::collections::BTreeMap;

use base::{Offset, PartitionId};

/// Records dropped by this commit, as a number.
pub const DROPPED: &str = "frazil.dropped";
/// Their offsets: `{"<partition>":[[from,to),…]}`; left out when they are too many to list.
pub const DROPPED_OFFSETS: &str = "frazil.dropped-offsets";
/// Records of this commit's ranges that lie in the dead-letter table, as a number.
pub const DEAD_LETTERS: &str = "frazil.dead-letters";
/// Offsets that the log had lost before this commit, or that were not wanted, in the form of [`DROPPED_OFFSETS`].
pub const SKIPPED: &str = "frazil.skipped";

/// `false`: what this commit skips was there before the topic became a table, and not wanted.
pub const BACKFILL: &str = "frazil.backfill";

/// Half-open offset ranges per partition.
type Ranges = BTreeMap<PartitionId, Vec<(Offset, Offset)>>;

/// Counts of one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accounting {
    pub(crate) dropped: u64,
    dropped_offsets: Ranges,
    listed: usize,
    pub(crate) dead_letters: u64,
    skipped: Ranges,
    /// Some of them the log has lost.
    lost: bool,
}

impl Accounting {
    /// A record that was dropped; offsets of a partition come in order.
    pub(crate) fn drop_record(&mut self, partition: PartitionId, offset: Offset) {
        self.dropped += 1;
        let ranges = self.dropped_offsets.entry(partition).or_default();
        match ranges.last_mut() {
            Some((_, end)) if *end == offset => *end += 1,
            _ => {
                ranges.push((offset, offset + 1));
                self.listed += 1;
            }
        }
    }

    pub(crate) fn skip(&mut self, partition: PartitionId, (from, to): (Offset, Offset), wanted: bool) {
        self.skipped.entry(partition).or_default().push((from, to));
        self.lost |= wanted;
    }

    /// Whether records are missing that the table was to have.
    pub(crate) fn lost_any(&self) -> bool {
        self.lost
    }

    /// The snapshot's extra properties.
    pub(crate) fn summary(&self, ranges_listed_max: usize) -> BTreeMap<String, String> {
        let mut summary = BTreeMap::new();
        if self.dropped > 0 {
            summary.insert(DROPPED.to_owned(), self.dropped.to_string());
            if self.listed <= ranges_listed_max {
                summary.insert(DROPPED_OFFSETS.to_owned(), show(&self.dropped_offsets));
            }
        }
        if self.dead_letters > 0 {
            summary.insert(DEAD_LETTERS.to_owned(), self.dead_letters.to_string());
        }
        if !self.skipped.is_empty() {
            summary.insert(SKIPPED.to_owned(), show(&self.skipped));
            if !self.lost {
                summary.insert(BACKFILL.to_owned(), "false".to_owned());
            }
        }
        summary
    }
}

fn show(ranges: &Ranges) -> String {
    serde_json::to_string(ranges).expect("integers have a JSON form")
}

/// Offsets that a summary's [`SKIPPED`] or [`DROPPED_OFFSETS`] names; 0 for what does not parse.
pub(crate) fn offsets_in(text: &str) -> u64 {
    let ranges: Ranges = serde_json::from_str(text).unwrap_or_default();
    ranges.values().flatten().map(|(from, to)| to.saturating_sub(*from).max(0).unsigned_abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range() {
        let mut accounting = Accounting::default();
        assert!(accounting.summary(10).is_empty());
        for offset in [3, 4, 9] {
            accounting.drop_record(1, offset);
        }
        accounting.dead_letters = 2;
        accounting.skip(0, (5, 8), false);
        assert_eq!(accounting.summary(10)[BACKFILL], "false");
        accounting.skip(1, (0, 0), true);
        assert!(accounting.lost_any() && !accounting.summary(10).contains_key(BACKFILL));
        let summary = accounting.summary(10);
        assert_eq!(summary[DROPPED], "3");
        assert_eq!(summary[DROPPED_OFFSETS], r#"{"1":[[3,5],[9,10]]}"#);
        assert_eq!(summary[DEAD_LETTERS], "2");
        assert_eq!(summary[SKIPPED], r#"{"0":[[5,8]],"1":[[0,0]]}"#);
        assert_eq!((offsets_in(&summary[SKIPPED]), offsets_in(&summary[DROPPED_OFFSETS])), (3, 3));
        assert_eq!((offsets_in("x"), offsets_in(r#"{"0":[[8,5]]}"#)), (0, 0));
        assert!(!accounting.summary(1).contains_key(DROPPED_OFFSETS), "too many to list");
    }
}
