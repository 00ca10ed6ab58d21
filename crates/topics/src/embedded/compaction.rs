//! Key compaction: of each key, the last record stays.
//!
//! Owns: which partitions are worth it, how far a pass goes, grouping segments, the order of a pass.
//! Does not own: the keys of a pass (`keys`), which records of a batch stay (`verdict`), files and their swap (`swap`).
//! Invariants: only closed segments are touched that no recovery reads (below the active one of the last checkpoint),
//! below the stable mark and below what the topic's tables have read; offsets never change; older segments are
//! replaced, durably, before newer ones, so that a tombstone never goes before what it deletes; memory is bounded: a
//! pass that meets too many keys ends early and the next goes on.
//!
//! Follows Kafka's LogCleaner and Cleaner: a pass notes the last offset of every key in the dirty section, then
//! rewrites all segments up to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::Offset;

use self::keys::Keys;
use self::swap::Cleaned;
use self::verdict::{Verdicts, is_aborted};
use super::log_start::is_full;
use super::partition::PartitionState;
use super::retention::{Policy, SegmentFacts};
use super::shared::Shared;
use crate::error::ReadError;

mod keys;
mod swap;
mod verdict;

pub(crate) use swap::SWAP;

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Partitions of which something was rewritten.
    pub partitions: usize,
    /// Bytes of the segments that were rewritten, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Aborted transactions of which nothing but their markers is left.
    pub forgotten: usize,
}

/// What a pass may cover.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Section {
    /// First offset that no pass has covered.
    dirty: Offset,
    /// Where the pass ends at the latest.
    end: Offset,
    /// Share of the bytes below `end` that are dirty.
    ratio: f64,
    /// A dirty record is older than `max.compaction.lag.ms`.
    overdue: bool,
}

/// The section of a partition that may be compacted below `limit`.
fn section(
    segments: &[SegmentFacts],
    cleaned: Offset,
    limit: Offset,
    policy: &Policy,
    now_ms: i64,
) -> Option<Section> {
    let first = segments.first()?.base;
    let (dirty, lag_ms) = (cleaned.max(first), policy.min_compaction_lag_ms);
    let (mut end, mut clean_bytes, mut dirty_bytes, mut overdue) = (first, 0, 0, false);
    for pair in segments.windows(2) {
        let (segment, next) = (&pair[0], pair[1].base);
        let age = |since_ms: i64| now_ms.saturating_sub(since_ms);
        let is_dirty = next > dirty;
        if next > limit || (is_dirty && lag_ms > 0 && age(segment.written_ms) < lag_ms) {
            break;
        }
        end = next;
        if is_dirty {
            dirty_bytes += segment.len;
            overdue |= age(segment.begun_ms) > policy.max_compaction_lag_ms;
        } else {
            clean_bytes += segment.len;
        }
    }
    let ratio = dirty_bytes as f64 / ((clean_bytes + dirty_bytes) as f64).max(1.0);
    (end > dirty && dirty_bytes > 0).then_some(Section { dirty, end, ratio, overdue })
}

impl Section {
    fn is_due(&self, policy: &Policy) -> bool {
        self.overdue || self.ratio > policy.min_cleanable_ratio
    }
}

/// What is due in a partition, below `limit` and the marks.
fn due(partition: &PartitionState, policy: &Policy, now_ms: i64, limit: Offset) -> Option<Section> {
    if !policy.compact || partition.uncleanable.load(Ordering::Relaxed) || partition.is_deleted() {
        return None;
    }
    let marks = partition.marks();
    let limit = limit.min(marks.stable).min(marks.materialized);
    let cleaned = partition.cleaned.load(Ordering::Acquire);
    section(&partition.segment_facts(), cleaned, limit, policy, now_ms).filter(|s| s.is_due(policy))
}

fn checkpointed(partition: &PartitionState) -> Offset {
    partition.checkpoint_base.load(Ordering::Acquire)
}

/// Whether a checkpoint would bring something within reach.
pub(crate) fn wants_checkpoint(shared: &Shared) -> bool {
    let now_ms = shared.clock.now_ms();
    shared.all_topics().iter().any(|topic| {
        let policy = Policy::of(&topic.info.config);
        topic.partitions.iter().any(|partition| {
            let reach = checkpointed(partition);
            due(partition, &policy, now_ms, Offset::MAX).is_some_and(|section| section.end > reach)
        })
    })
}

/// Compacts what is due, the dirtiest first.
pub(crate) fn run(shared: &Shared) -> Compacted {
    let now_ms = shared.clock.now_ms();
    let mut found: Vec<(Section, Policy, Arc<PartitionState>)> = Vec::new();
    for topic in shared.all_topics() {
        let policy = Policy::of(&topic.info.config);
        for partition in &topic.partitions {
            if let Some(section) = due(partition, &policy, now_ms, checkpointed(partition)) {
                found.push((section, policy, Arc::clone(partition)));
            }
        }
    }
    found.sort_by(|a, b| {
        (b.0.overdue, b.0.ratio).partial_cmp(&(a.0.overdue, a.0.ratio)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut done = Compacted::default();
    for (section, policy, partition) in found {
        if shared.ending.load(Ordering::Acquire) || shared.offline().is_some() {
            break;
        }
        let _cleaning = partition.cleaning.lock();
        let pass = Pass { shared, partition: &partition, policy, now_ms };
        match pass.run(section, &mut done) {
            Ok(()) => {}
            Err(_) if partition.is_deleted() => {}
            Err(ReadError::Io(error)) if is_full(&error) => {
                tracing::warn!(topic = %partition.name, partition = partition.index, "no room to compact");
            }
            Err(error) => {
                // Until the next start: what does not read now will not read in a moment.
                partition.uncleanable.store(true, Ordering::Relaxed);
                tracing::error!(topic = %partition.name, partition = partition.index, %error, "cannot compact");
            }
        }
    }
    done
}

/// A pass over one partition.
struct Pass<'a> {
    shared: &'a Shared,
    partition: &'a PartitionState,
    policy: Policy,
    now_ms: i64,
}

impl Pass<'_> {
    fn run(&self, section: Section, done: &mut Compacted) -> Result<(), ReadError> {
        let mut keys = Keys::new(self.shared.settings.cleaner_keys_max);
        let end = self.note_keys(section, &mut keys)?;
        let segments = self.partition.segment_facts();
        let covered = segments.partition_point(|s| s.base < end);
        let mut verdicts =
            Verdicts::new(&keys, end, self.now_ms, self.policy.delete_retention_ms, self.partition);
        let mut rewritten = 0;
        for group in groups(&segments[..covered], self.partition.segment_limit()) {
            if self.is_stopped() {
                return Ok(());
            }
            // The cleaned segment needs room before the old ones go.
            let size: u64 = group.iter().map(|s| s.len).sum();
            if self.shared.space.would_be_short(size) {
                return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
            }
            let Some(after) = self.clean_group(group, &mut verdicts)? else { continue };
            rewritten += 1;
            done.bytes_before += size;
            done.bytes_after += after;
        }
        if self.is_stopped() {
            return Ok(());
        }
        self.partition.cleaned.fetch_max(end, Ordering::AcqRel);
        done.forgotten += verdicts.recordless.len();
        self.partition.settled.lock().aborted.forget(&verdicts.recordless);
        if rewritten > 0 {
            self.partition.restore_txn_indexes(end);
        }
        done.partitions += usize::from(rewritten > 0);
        tracing::debug!(topic = %self.partition.name, partition = self.partition.index, end, rewritten, "compacted");
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.shared.ending.load(Ordering::Acquire) || self.partition.is_deleted()
    }

    /// Notes the last offset of each key of the dirty section; returns the end of what was noted.
    fn note_keys(&self, section: Section, keys: &mut Keys) -> Result<Offset, ReadError> {
        let aborted = self.partition.settled.lock().aborted.overlapping(section.dirty, section.end);
        for segment in self.partition.segment_facts() {
            if segment.base >= section.end {
                break;
            }
            let mut walk = self.partition.walk_closed(segment.base)?;
            while let Some(batch) = walk.next(false)? {
                if batch.last_offset() < section.dirty {
                    continue;
                }
                if batch.base_offset() >= section.end || self.is_stopped() {
                    break;
                }
                if batch.is_control() || is_aborted(&batch, &aborted) {
                    continue;
                }
                let records = batch
                    .records(self.partition.decompressed_bytes_max)
                    .map_err(|e| walk.damaged(e.to_string()))?;
                if !keys.has_room(batch.count()) {
                    return Ok(batch.base_offset().max(section.dirty));
                }
                for record in &records {
                    let record = record.map_err(|e| walk.damaged(e.to_string()))?;
                    if let Some(key) = record.key {
                        keys.note(key, record.offset);
                    }
                }
            }
        }
        Ok(section.end)
    }

    /// Rewrites neighbouring segments as one; none when nothing of them changes. Returns the new size.
    fn clean_group(
        &self,
        group: &[SegmentFacts],
        verdicts: &mut Verdicts<'_>,
    ) -> Result<Option<u64>, ReadError> {
        let Some((first, last)) = group.first().zip(group.last()) else { return Ok(None) };
        let mut cleaned = Cleaned::begin(self.partition, first.base)?;
        let mut changed = group.len() > 1;
        for segment in group {
            let mut walk = self.partition.walk_closed(segment.base)?;
            while let Some(batch) = walk.next(false)? {
                if self.is_stopped() {
                    cleaned.discard();
                    return Ok(None);
                }
                // The last batch tells how far the segment goes.
                let is_last = segment.base == last.base && walk.position() >= segment.len;
                match verdicts.judge(&batch, is_last).map_err(|e| walk.damaged(e.to_string()))? {
                    verdict::Kept::Whole => cleaned.push(batch.bytes())?,
                    verdict::Kept::Rebuilt(bytes) => {
                        changed = true;
                        cleaned.push(&bytes)?;
                    }
                    verdict::Kept::Nothing => changed = true,
                }
            }
        }
        if !changed {
            cleaned.discard();
            return Ok(None);
        }
        cleaned.replace(self.shared, group)
    }
}

/// Neighbours that fit into one segment of `limit` bytes.
fn groups(segments: &[SegmentFacts], limit: u64) -> impl Iterator<Item = &[SegmentFacts]> {
    let mut rest = segments;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut size = 0;
        let fitting = rest
            .iter()
            .take_while(|segment| {
                size += segment.len;
                size <= limit && segment.base - first.base <= i64::from(i32::MAX) / 2
            })
            .count()
            .max(1);
        let (group, later) = rest.split_at(fitting);
        rest = later;
        Some(group)
    })
}

#[cfg(test)]
#[path = "compaction/tests.rs"]
mod tests;
