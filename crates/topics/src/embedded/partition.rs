//! One partition while the log is open.
//!
//! Owns: its marks, the state that gives out offsets, who has consumed how far.
//! Does not own: its segments ([`super::segments`]), reading ([`super::read`]).
//! Invariants: offsets are given out under one lock, in the order in which the batches enter the queue; the durable
//! mark only grows, and only after the bytes below it are synced and in the segments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use base::{Offset, PartitionId, TopicId, TopicName};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::files::Files;
use super::producers::Producers;
use super::segments::Segments;
use super::settled::Settled;
use crate::batch::check::Facts;
use crate::log::Marks;

/// What an append changes, under one lock.
#[derive(Debug, Default)]
pub(crate) struct Appending {
    pub next: Offset,
    pub producers: Producers,
    pub epochs: Epochs,
}

/// Leader epochs and the offset where each begins, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs(pub Vec<(i32, Offset)>);

impl Epochs {
    /// Notes that `epoch` leads from `start` on, as Kafka's LeaderEpochFileCache.assign.
    pub(crate) fn assign(&mut self, epoch: i32, start: Offset) {
        if self.0.last().is_none_or(|(last, _)| epoch > *last) {
            self.0.retain(|(_, begun)| *begun < start);
            self.0.push((epoch, start));
        }
    }

    /// Forgets epochs that ended at or before `start`, where the log begins now: Kafka's truncateFromStart.
    pub(crate) fn begin_at(&mut self, start: Offset) {
        let ended = self.0.windows(2).take_while(|pair| pair[1].1 <= start).count();
        self.0.drain(..ended);
        if let Some((_, begun)) = self.0.first_mut() {
            *begun = (*begun).max(start);
        }
    }

    /// The largest epoch ≤ `epoch` and where it ended, `end` being the end of the log.
    pub(crate) fn end_of(&self, epoch: i32, end: Offset) -> Option<(i32, Offset)> {
        let last = self.0.last()?.0;
        if epoch < 0 || epoch > last {
            return None;
        }
        if epoch == last {
            return Some((epoch, end));
        }
        let next = self.0.iter().position(|(e, _)| *e > epoch)?;
        let ended = self.0[next].1;
        Some((next.checked_sub(1).map_or(epoch, |floor| self.0[floor].0), ended))
    }
}

/// One partition of one life of a topic.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub topic: TopicId,
    pub name: TopicName,
    pub index: PartitionId,
    pub dir: PathBuf,
    pub files: Arc<Files>,
    pub appending: Mutex<Appending>,
    pub segments: Mutex<Segments>,
    /// Taken with nothing of this partition held.
    pub settled: Mutex<Settled>,
    pub deleted: AtomicBool,
    /// Size at which a segment is closed.
    pub segment_bytes: AtomicU64,
    pub index_interval_bytes: u64,
    pub decompressed_bytes_max: usize,
    /// The topic is a table: until its task has said how far that is, nothing counts as materialized.
    pub awaits_table: AtomicBool,
    /// Base of the active segment in the last stored checkpoint: recovery needs no segment below it.
    pub checkpoint_base: AtomicI64,
    /// Bytes that retention would have removed and keeps for the tables.
    pub held: AtomicU64,
    /// Below it, compaction has been.
    pub cleaned: AtomicI64,
    /// Compaction met damage.
    pub uncleanable: AtomicBool,
    /// Held while compaction works on the partition; deleting it waits.
    pub cleaning: Mutex<()>,
    appended: AtomicI64,
    stable: AtomicI64,
    cut_mark: AtomicI64,
    durable: watch::Sender<Offset>,
    log_start: AtomicI64,
    consumed: Mutex<BTreeMap<String, Offset>>,
}

/// What a partition is made of.
#[derive(Debug)]
pub(crate) struct PartitionParts {
    pub topic: TopicId,
    pub name: TopicName,
    pub index: PartitionId,
    pub dir: PathBuf,
    pub files: Arc<Files>,
    pub segment_bytes: u64,
    pub index_interval_bytes: u64,
    pub decompressed_bytes_max: usize,
}

impl PartitionState {
    pub(crate) fn new(parts: PartitionParts) -> Self {
        Self {
            topic: parts.topic,
            name: parts.name,
            index: parts.index,
            dir: parts.dir,
            files: parts.files,
            appending: Mutex::default(),
            segments: Mutex::default(),
            settled: Mutex::default(),
            deleted: AtomicBool::new(false),
            segment_bytes: AtomicU64::new(parts.segment_bytes),
            index_interval_bytes: parts.index_interval_bytes,
            decompressed_bytes_max: parts.decompressed_bytes_max,
            awaits_table: AtomicBool::new(false),
            checkpoint_base: AtomicI64::new(0),
            held: AtomicU64::new(0),
            cleaned: AtomicI64::new(0),
            uncleanable: AtomicBool::new(false),
            cleaning: Mutex::default(),
            appended: AtomicI64::new(0),
            stable: AtomicI64::new(0),
            cut_mark: AtomicI64::new(0),
            durable: watch::Sender::new(0),
            log_start: AtomicI64::new(0),
            consumed: Mutex::default(),
        }
    }

    /// Sets the marks that recovery found.
    pub(crate) fn restore(&self, log_start: Offset, end: Offset) {
        self.appending.lock().next = end;
        self.appended.store(end, Ordering::Release);
        self.log_start.store(log_start, Ordering::Release);
        self.move_stable(end);
        self.durable.send_replace(end);
    }

    /// Notes that a batch was given its offsets.
    pub(crate) fn note_appended(
        &self,
        appending: &mut Appending,
        facts: &Facts,
        now_ms: i64,
        producers_max: usize,
    ) {
        appending.next = facts.last_offset + 1;
        appending.epochs.assign(facts.leader_epoch, facts.base_offset);
        appending.producers.note(facts, now_ms, producers_max);
        self.appended.store(appending.next, Ordering::Release);
    }

    /// Moves the stable mark to where the durable batches before `end` allow it. Comes before [`Self::publish`], so that
    /// whoever is woken sees it.
    pub(crate) fn move_stable(&self, end: Offset) {
        let first_open = self.settled.lock().producers.first_open();
        self.stable.fetch_max(first_open.map_or(end, |first| first.min(end)), Ordering::AcqRel);
    }

    /// Moves the mark of a cut; whether it grew.
    pub(crate) fn move_cut_mark(&self, mark: Offset) -> bool {
        self.cut_mark.fetch_max(mark, Ordering::AcqRel) < mark
    }

    /// Wakes who waits for the durable mark because another mark has moved.
    pub(crate) fn wake(&self) {
        self.durable.send_modify(|_| {});
    }

    /// Moves the durable mark, and wakes who waits for it.
    pub(crate) fn publish(&self, end: Offset) {
        self.durable.send_if_modified(|durable| {
            let grows = end > *durable;
            *durable = end.max(*durable);
            grows
        });
    }

    pub(crate) fn durable(&self) -> Offset {
        *self.durable.borrow()
    }
    pub(crate) fn watch_durable(&self) -> watch::Receiver<Offset> {
        self.durable.subscribe()
    }
    /// Below it, no transaction is open: Kafka's last stable offset.
    pub(crate) fn stable(&self) -> Offset {
        self.stable.load(Ordering::Acquire).max(self.log_start())
    }
    /// The stable mark of a cut: see [`super::cuts`].
    pub(crate) fn cut_mark(&self) -> Offset {
        self.cut_mark.load(Ordering::Acquire).max(self.log_start())
    }
    pub(crate) fn log_start(&self) -> Offset {
        self.log_start.load(Ordering::Acquire)
    }
    /// Moves the log start, which is durable where it goes; never back.
    pub(crate) fn advance_log_start(&self, to: Offset) {
        let before = self.log_start.fetch_max(to, Ordering::AcqRel);
        if to > before {
            self.appending.lock().epochs.begin_at(to);
        }
    }
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(crate) fn marks(&self) -> Marks {
        let log_start = self.log_start();
        let durable = self.durable();
        let stable = self.stable().min(durable.max(log_start));
        let consumed = self.consumed.lock().values().min().copied();
        let unread = if self.awaits_table.load(Ordering::Relaxed) { log_start } else { stable };
        Marks {
            log_start,
            materialized: consumed.unwrap_or(unread).clamp(log_start, stable.max(log_start)),
            stable,
            durable,
            appended: self.appended.load(Ordering::Acquire).max(durable),
        }
    }

    pub(crate) fn note_consumed(&self, group: &str, next: Offset) {
        let mut consumed = self.consumed.lock();
        match consumed.get_mut(group) {
            Some(known) => *known = next,
            None => {
                consumed.insert(group.to_owned(), next);
            }
        }
    }
    pub(crate) fn forget_consumer(&self, group: &str) {
        self.consumed.lock().remove(group);
    }
    pub(crate) fn consumers(&self) -> Vec<(String, Offset)> {
        self.consumed.lock().iter().map(|(group, next)| (group.clone(), *next)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_answer_as_kafka_does() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.end_of(0, 10), None);
        epochs.assign(2, 0);
        epochs.assign(5, 10);
        epochs.assign(5, 12);
        epochs.assign(7, 20);
        assert_eq!(epochs.0, [(2, 0), (5, 10), (7, 20)]);
        assert_eq!(epochs.end_of(7, 33), Some((7, 33)));
        assert_eq!(epochs.end_of(6, 33), Some((5, 20)));
        assert_eq!(epochs.end_of(5, 33), Some((5, 20)));
        assert_eq!(epochs.end_of(1, 33), Some((1, 0)));
        assert_eq!(epochs.end_of(8, 33), None);
        assert_eq!(epochs.end_of(-1, 33), None);
        epochs.begin_at(10);
        assert_eq!(epochs.0, [(5, 10), (7, 20)]);
        assert_eq!(epochs.end_of(5, 33), Some((5, 20)));
        epochs.begin_at(12);
        assert_eq!(epochs.0, [(5, 12), (7, 20)]);
        epochs.assign(2, 0);
        // An epoch that wrote nothing gives way to the next one that begins at the same offset.
        epochs.assign(8, 20);
        assert_eq!(epochs.0, [(5, 12), (8, 20)]);
        epochs.begin_at(40);
        assert_eq!(epochs.0, [(8, 40)]);
    }
}
