//! The log writer: one thread that makes appends durable in groups.
//!
//! Owns: the write-ahead log while it runs, the order write-ahead log → fdatasync → segments → marks → acknowledgement.
//! Does not own: giving out offsets (appends do, before they queue).
//! Invariants: nothing becomes readable, or is acknowledged as durable, before its group's fdatasync returned, nor
//! acknowledged as written before the kernel has it; one fdatasync per group, however many partitions it touches;
//! after an error of a write or an fsync nothing is tried again.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;

use base::{Offset, PartitionId, TopicId};
use storage::wal::Wal;
use tokio::sync::oneshot;

use super::checkpoint::{self, Task};
use super::cuts::{Held, Span};
use super::partition::PartitionState;
use super::producers::Ended;
use super::queue::{Ack, Record, Work};
use super::record;
use super::shared::Shared;
use super::transactions;
use crate::batch::check::{CheckedBatch, Facts};
use crate::error::AppendError;
use crate::topic::{CONSUMER_OFFSETS, is_internal};

/// The checkpoint thread as the writer sees it.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    pub sender: SyncSender<Task>,
    pub thread: JoinHandle<()>,
}

impl Checkpoints {
    /// Has segments synced soon; not now when the thread is busy.
    fn sync_ahead(&self, wanted: Vec<(Arc<PartitionState>, Offset)>) {
        for (partition, base) in wanted {
            match self.sender.try_send(Task::Sync(Arc::clone(&partition), base)) {
                Ok(()) => partition.note_syncing(),
                // A checkpoint does without; an ended thread is noticed by the next checkpoint.
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return,
            }
        }
    }

    /// Waits until all checkpoints that were sent are stored.
    fn finish(self) {
        drop(self.sender);
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.join();
    }
}

/// Runs until the queue stops or the log is closed.
pub(crate) fn run(shared: &Shared, mut wal: Wal, checkpoints: Checkpoints) {
    while let Some((work, bytes)) = shared.queue.take() {
        let mut group = Group::default();
        let mut after = Vec::new();
        for item in work {
            match item {
                Work::Record { record, ack } => {
                    group.records.push(record);
                    group.acks.push(ack);
                }
                Work::Barrier { ack } => group.acks.push(ack),
                other => after.push(other),
            }
        }
        checkpoints.sync_ahead(group.commit(shared, &mut wal));
        shared.queue.finish(bytes);
        let mut checkpoint_wanted = None;
        for item in after {
            match item {
                Work::Remove { dir, done } => {
                    let _ = done.send(remove(shared, &dir));
                }
                Work::Checkpoint { done } => checkpoint_wanted = Some(done),
                Work::CloseSegments { partitions, done } => {
                    let now_ms = shared.clock.now_ms();
                    partitions.iter().filter(|p| !p.is_deleted()).for_each(|p| p.close_active(now_ms));
                    let _ = done.send(());
                }
                Work::Close { done } => {
                    // An older checkpoint must not replace the last one.
                    checkpoints.finish();
                    return close(shared, wal, done);
                }
                Work::Record { .. } | Work::Barrier { .. } => {}
            }
        }
        if (wal.is_full() || checkpoint_wanted.is_some())
            && shared.offline().is_none()
            && let Err(error) = roll(shared, &mut wal, &checkpoints, checkpoint_wanted)
        {
            shared.go_offline(&format!("cannot begin a write-ahead file: {error}"));
        }
    }
    checkpoints.finish();
}

#[derive(Debug, Default)]
struct Group {
    records: Vec<Record>,
    acks: Vec<Ack>,
}

impl Group {
    /// Gives the segments that should be synced.
    fn commit(mut self, shared: &Shared, wal: &mut Wal) -> Vec<(Arc<PartitionState>, Offset)> {
        #[cfg(feature = "sabotage")]
        crate::sabotage::before_write(&mut self.acks);
        let mut to_sync = Vec::new();
        if shared.offline().is_none()
            && let Err(error) = self.persist(shared, wal, &mut to_sync)
        {
            shared.go_offline(&format!("a write failed: {error}"));
        }
        if let Some(reason) = shared.offline() {
            for ack in self.acks.drain(..) {
                ack.send(Err(AppendError::Offline(reason.clone())));
            }
            return Vec::new();
        }
        self.publish(shared);
        for ack in self.acks {
            ack.send(Ok(()));
        }
        to_sync
    }

    fn persist(
        &mut self,
        shared: &Shared,
        wal: &mut Wal,
        to_sync: &mut Vec<(Arc<PartitionState>, Offset)>,
    ) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        for record in &self.records {
            wal.queue(record::encode(record))?;
        }
        wal.write()?;
        self.acks.iter_mut().for_each(Ack::written);
        #[cfg(feature = "sabotage")]
        crate::sabotage::before_sync(&mut self.acks);
        if syncs() {
            wal.sync()?;
        }
        let now_ms = shared.clock.now_ms();
        for (partition, batches) in self.by_partition() {
            if !partition.is_deleted()
                && let Some(base) = partition.write(&batches, now_ms)?
            {
                to_sync.push((Arc::clone(partition), base));
            }
        }
        Ok(())
    }

    fn by_partition(&self) -> Vec<(&Arc<PartitionState>, Vec<(&CheckedBatch, Facts)>)> {
        let mut numbers: HashMap<(TopicId, PartitionId), usize> = HashMap::new();
        let mut lists: Vec<(&Arc<PartitionState>, Vec<(&CheckedBatch, Facts)>)> = Vec::new();
        for placed in self.records.iter().flat_map(|r| &r.batches) {
            let number =
                *numbers.entry((placed.partition.topic, placed.partition.index)).or_insert(lists.len());
            if number == lists.len() {
                lists.push((&placed.partition, Vec::new()));
            }
            lists[number].1.push((&placed.batch, placed.facts));
        }
        lists
    }

    /// Moves the marks of the whole group at once: a cut sees all of an atomic append or nothing.
    fn publish(&self, shared: &Shared) {
        let ends: Vec<(&Arc<PartitionState>, Offset)> = self
            .by_partition()
            .into_iter()
            .filter_map(|(partition, batches)| Some((partition, batches.last()?.1.last_offset + 1)))
            .collect();
        let now_ms = shared.clock.now_ms();
        let mut ended = Vec::new();
        {
            let mut held = shared.publishing.lock();
            let mut writers = None;
            for record in &self.records {
                if let Some(step) = &record.writer {
                    let writers = writers.get_or_insert_with(|| shared.writers.lock());
                    writers.apply(&step.id, step.epoch, step.value.as_ref());
                }
                let batches = record.batches.iter().map(|placed| (&placed.partition, &placed.facts));
                ended.extend(settle(&mut held, batches, now_ms, shared.settings.producers_max));
            }
            drop(writers);
            ends.iter().for_each(|(partition, end)| partition.move_stable(*end));
            let moved: Vec<_> = ends.iter().map(|(partition, _)| Arc::clone(partition)).collect();
            let waiting = held.update(&moved);
            ends.iter().for_each(|(partition, end)| partition.publish(*end));
            waiting.iter().for_each(|partition| partition.wake());
        }
        for (partition, ended) in &ended {
            partition.index_aborted(ended);
        }
        self.tell_transactions_ended(shared);
    }

    /// Tells who keeps offsets that were stored in transactions how these ended, before anybody hears of it.
    fn tell_transactions_ended(&self, shared: &Shared) {
        for placed in self.records.iter().flat_map(|r| &r.batches) {
            if let Some(marker) = placed.facts.marker
                && placed.partition.name.as_str() == CONSUMER_OFFSETS
            {
                transactions::ended_with_offsets(shared, placed.facts.producer_id, marker.committed);
            }
        }
    }
}

/// Notes the batches of one record as durable; gives the transactions that they end. What the record made visible in
/// several partitions becomes a span that no cut splits.
pub(crate) fn settle<'a>(
    held: &mut Held,
    batches: impl ExactSizeIterator<Item = (&'a Arc<PartitionState>, &'a Facts)>,
    now_ms: i64,
    producers_max: usize,
) -> Vec<(Arc<PartitionState>, Ended)> {
    let (mut span, mut all) = (Span::default(), Vec::new());
    let several = batches.len() > 1;
    for (partition, facts) in batches {
        let ended = partition.settle(facts, now_ms, producers_max);
        // Offsets and states inside the log are nobody's rows: they need not wait for one another.
        if several && !is_internal(partition.name.as_str()) {
            match &ended {
                Some(ended) if ended.committed => span.add(partition, ended.first, ended.last),
                None if facts.marker.is_none() => span.add(partition, facts.base_offset, facts.last_offset),
                _ => {}
            }
        }
        all.extend(ended.map(|ended| (Arc::clone(partition), ended)));
    }
    held.note(span);
    all
}

/// Always, but for a planted fault.
fn syncs() -> bool {
    #[cfg(feature = "sabotage")]
    return !crate::sabotage::NO_FSYNC.load(std::sync::atomic::Ordering::SeqCst);
    #[cfg(not(feature = "sabotage"))]
    true
}

fn roll(
    shared: &Shared,
    wal: &mut Wal,
    checkpoints: &Checkpoints,
    done: Option<SyncSender<()>>,
) -> io::Result<()> {
    wal.roll()?;
    let mut pending = checkpoint::take(shared, wal.current_file(), false)?;
    pending.done = done;
    // Waits when checkpoints lag behind: write-ahead files must not pile up without end.
    checkpoints
        .sender
        .send(Task::Checkpoint(pending))
        .map_err(|_| io::Error::other("the checkpoint thread has ended"))
}

fn remove(shared: &Shared, dir: &Path) -> io::Result<()> {
    shared.files.forget(dir);
    let disk = shared.directory.disk();
    if disk.exists(dir) {
        disk.remove_dir_all(dir)?;
        dir.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))?;
    }
    Ok(())
}

fn close(shared: &Shared, mut wal: Wal, done: oneshot::Sender<io::Result<()>>) {
    let outcome = match shared.offline() {
        Some(reason) => Err(io::Error::other(reason)),
        None => wal
            .roll()
            .and_then(|()| checkpoint::take(shared, wal.current_file(), true))
            .and_then(|pending| pending.complete(shared)),
    };
    if let Err(error) = &outcome {
        shared.go_offline(&format!("the log did not close cleanly: {error}"));
    }
    let _ = done.send(outcome);
}
