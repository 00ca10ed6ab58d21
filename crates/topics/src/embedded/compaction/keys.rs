//! The keys of one pass.
//!
//! Owns: the last offset of every key, by hash, within a bound.
//! Invariants: never holds more keys than it may, except those of one batch; the hash has a seed of its own in every
//! pass, so that nobody who writes keys can make two of them meet.

use std::collections::HashMap;

use base::Offset;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Last offsets by the hash of the key.
#[derive(Debug)]
pub(super) struct Keys {
    seed: u64,
    max: usize,
    offsets: HashMap<[u8; 16], Offset>,
}

impl Keys {
    pub(super) fn new(max: usize) -> Self {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { seed, max: max.max(1), offsets: HashMap::new() }
    }

    /// Whether so many more keys may be noted; the first batch always may.
    pub(super) fn has_room(&self, more: i32) -> bool {
        let more = usize::try_from(more).unwrap_or(0);
        self.offsets.is_empty() || self.offsets.len().saturating_add(more) <= self.max
    }

    /// Notes that `key` has a record at `offset`, behind all that were noted before.
    pub(super) fn note(&mut self, key: &[u8], offset: Offset) {
        self.offsets.insert(self.hash(key), offset);
    }

    /// Whether no later record of `key` is known.
    pub(super) fn is_last(&self, key: &[u8], offset: Offset) -> bool {
        self.offsets.get(&self.hash(key)).is_none_or(|last| offset >= *last)
    }

    fn hash(&self, key: &[u8]) -> [u8; 16] {
        xxh3_128_with_seed(key, self.seed).to_le_bytes()
    }
}
