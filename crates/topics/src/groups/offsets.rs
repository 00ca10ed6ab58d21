//! The offsets that one group stores (Kafka's OffsetMetadataManager, for one group).
//!
//! Owns: which offset of a partition counts, those of transactions that have not ended, expiry.
//! Does not own: the records in the log, who may store (the group's machine).
//! Invariants: an offset is shown only once its record is durable; of two, the one whose record comes later in the log
//! counts, whichever way it came; offsets of a transaction count from its commit on.

use std::collections::{BTreeMap, HashMap};

use base::Offset;

use super::records::OffsetValue;

/// A partition of a topic, by name.
pub(crate) type At = (String, i32);

/// An offset with the place of its record in `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub at: Offset,
    pub value: OffsetValue,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GroupOffsets {
    /// In log order: the last durable one, then those that wait for the disk.
    stored: BTreeMap<At, Vec<Stored>>,
    /// By producer id: what its open transaction will store.
    pending: HashMap<i64, BTreeMap<At, Stored>>,
}

impl GroupOffsets {
    /// Takes an offset whose record is at `stored.at`; below `durable` everything is on disk.
    pub(crate) fn put(&mut self, at: At, stored: Stored, durable: Offset) {
        let versions = self.stored.entry(at).or_default();
        let place = versions.partition_point(|one| one.at < stored.at);
        versions.insert(place, stored);
        // Of the durable ones only the last will ever be asked for.
        let last = versions.iter().rposition(|one| one.at < durable).unwrap_or(0);
        versions.drain(..last);
    }

    /// Takes what the open transaction of a producer will store.
    pub(crate) fn put_pending(&mut self, producer_id: i64, at: At, stored: Stored) {
        self.pending.entry(producer_id).or_default().insert(at, stored);
    }

    /// Whether the open transaction of this producer stores offsets here.
    pub(crate) fn has_pending_of(&self, producer_id: i64) -> bool {
        self.pending.contains_key(&producer_id)
    }

    /// The transaction of a producer has ended; its markers are durable.
    pub(crate) fn transaction_ended(&mut self, producer_id: i64, committed: bool, durable: Offset) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if committed {
            for (at, stored) in pending {
                self.put(at, stored, durable);
            }
        }
    }

    /// The offset that counts, none when there is none.
    pub(crate) fn get(&self, topic: &str, partition: i32, durable: Offset) -> Option<&OffsetValue> {
        // A key of borrowed parts would be another type; these are short.
        let versions = self.stored.get(&(topic.to_owned(), partition))?;
        versions.iter().rev().find(|one| one.at < durable).map(|one| &one.value)
    }

    /// Whether a transaction that has not ended stores an offset of the partition.
    pub(crate) fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        self.pending.values().any(|offsets| offsets.contains_key(&(topic.to_owned(), partition)))
    }

    /// All partitions with an offset, those of open transactions included, in order.
    pub(crate) fn partitions(&self) -> Vec<At> {
        let mut all: Vec<At> = self.stored.keys().cloned().collect();
        all.extend(self.pending.values().flat_map(BTreeMap::keys).cloned());
        all.sort();
        all.dedup();
        all
    }

    /// Whether something is stored, or will be by an open transaction, for the partition.
    pub(crate) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.stored.contains_key(&(topic.to_owned(), partition)) || self.is_unstable(topic, partition)
    }

    /// Forgets the offset of a partition, that of open transactions too.
    pub(crate) fn remove(&mut self, at: &At) {
        self.stored.remove(at);
        for offsets in self.pending.values_mut() {
            offsets.remove(at);
        }
        self.pending.retain(|_, offsets| !offsets.is_empty());
    }

    /// Partitions with an offset, those of open transactions counted once more.
    pub(crate) fn len(&self) -> usize {
        self.stored.len() + self.pending.values().map(BTreeMap::len).sum::<usize>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.pending.is_empty()
    }

    /// Producers with open transactions here.
    pub(crate) fn producers(&self) -> impl Iterator<Item = i64> {
        self.pending.keys().copied()
    }

    /// The partitions whose offsets have expired: none heard of since `kept_since_ms`, the later of the commit and
    /// `deserted_ms`, when the group lost its last member. What an open transaction stores does not expire.
    pub(crate) fn expired(&self, now_ms: i64, kept_since_ms: i64, deserted_ms: Option<i64>) -> Vec<At> {
        let is_old = |value: &OffsetValue| match value.expire_ms {
            Some(at) => at <= now_ms,
            None => deserted_ms.map_or(value.commit_ms, |ms| ms.max(value.commit_ms)) <= kept_since_ms,
        };
        let old = self.stored.iter().filter(|((topic, partition), versions)| {
            versions.iter().all(|one| is_old(&one.value)) && !self.is_unstable(topic, *partition)
        });
        old.map(|(at, _)| at.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(at: Offset, offset: i64) -> Stored {
        let value = OffsetValue {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            commit_ms: 100,
            expire_ms: None,
        };
        Stored { at, value }
    }

    fn t(partition: i32) -> At {
        ("t".into(), partition)
    }

    fn shown(offsets: &GroupOffsets, durable: Offset) -> Option<i64> {
        offsets.get("t", 0, durable).map(|value| value.offset)
    }

    #[test]
    fn only_durable_offsets_are_shown() {
        let mut offsets = GroupOffsets::default();
        offsets.put(t(0), stored(5, 50), 5);
        assert_eq!(shown(&offsets, 5), None);
        assert_eq!(shown(&offsets, 6), Some(50));
        offsets.put(t(0), stored(6, 60), 6);
        offsets.put(t(0), stored(9, 90), 6);
        assert_eq!([6, 7, 9, 10].map(|durable| shown(&offsets, durable)), [50, 60, 60, 90].map(Some));
        // What is superseded by something durable is let go.
        offsets.put(t(0), stored(10, 100), 10);
        assert_eq!(offsets.stored[&t(0)].iter().map(|s| s.at).collect::<Vec<_>>(), [9, 10]);
    }

    #[test]
    fn transactions_count_by_the_place_of_their_records() {
        let mut offsets = GroupOffsets::default();
        offsets.put_pending(7, t(0), stored(1, 10));
        assert!(offsets.is_unstable("t", 0) && !offsets.is_unstable("t", 1));
        assert_eq!(shown(&offsets, 100), None);
        offsets.put(t(0), stored(2, 20), 3);
        offsets.transaction_ended(7, true, 100);
        assert_eq!(shown(&offsets, 100), Some(20), "the later record counts");
        offsets.put_pending(7, t(0), stored(3, 30));
        offsets.transaction_ended(7, true, 100);
        assert_eq!(shown(&offsets, 100), Some(30));
        offsets.put_pending(7, t(0), stored(4, 40));
        offsets.transaction_ended(7, false, 100);
        assert_eq!(shown(&offsets, 100), Some(30));
        assert!(!offsets.is_unstable("t", 0));
    }

    #[test]
    fn offsets_expire_by_commit_desertion_and_wish() {
        let mut offsets = GroupOffsets::default();
        offsets.put(t(0), stored(1, 10), 2);
        assert_eq!(offsets.expired(1_000, 99, None), vec![]);
        assert_eq!(offsets.expired(1_000, 100, None), vec![t(0)]);
        assert_eq!(offsets.expired(1_000, 100, Some(101)), vec![]);
        assert_eq!(offsets.expired(1_000, 101, Some(101)), vec![t(0)]);
        let mut own = stored(2, 20);
        own.value.expire_ms = Some(500);
        offsets.put(t(1), own, 3);
        assert_eq!(offsets.expired(499, 0, None), vec![]);
        assert_eq!(offsets.expired(500, 0, None), vec![t(1)]);
        offsets.put_pending(7, t(1), stored(3, 30));
        assert_eq!(offsets.expired(500, 0, None), vec![]);
    }
}
