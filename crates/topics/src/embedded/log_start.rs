//! Where partitions begin, beyond what checkpoints say.
//!
//! Owns: the file of log starts, moving a log start, DeleteRecords, removing segments that lie below it.
//! Does not own: why a log start moves (`retention`).
//! Invariants: a log start is durable before anybody sees it, so that a record that was reported as removed never
//! comes back; the files go afterwards, and what a crash leaves of them goes at the next start.
//!
//! The file holds every log start that is not 0; it is replaced whole. When there is no room for it, segments that
//! no recovery needs are removed one by one, oldest first: then the first name that is left in the directory is the
//! log start.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{Offset, PartitionId, TopicId};
use serde::{Deserialize, Serialize};
use storage::{Disk, layout};

use super::checkpoint::{load_sealed, store_sealed};
use super::partition::PartitionState;
use super::retention::{self, Policy};
use super::shared::Shared;
use crate::error::DeleteRecordsError;

const FORMAT: u32 = 1;
/// Files of a segment; the records go last, so that no index is left alone.
pub(crate) const EXTENSIONS: [&str; 4] = ["index", "timeindex", "txnindex", "log"];

/// First offsets that are kept, by topic and partition.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct LogStarts {
    format: u32,
    partitions: BTreeMap<TopicId, BTreeMap<PartitionId, Offset>>,
}

impl LogStarts {
    /// Reads the file; empty when there is none. The inner error is damage.
    pub(crate) fn load(disk: &dyn Disk, path: &Path) -> io::Result<Result<Self, String>> {
        let body = match load_sealed(disk, path)? {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(Ok(Self::default())),
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(match serde_json::from_slice::<Self>(&body) {
            Ok(starts) if starts.format > FORMAT => {
                Err(format!("format {} is newer than this program's {FORMAT}", starts.format))
            }
            Ok(starts) => Ok(starts),
            Err(error) => Err(error.to_string()),
        })
    }

    pub(crate) fn of(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.partitions.get(&topic).and_then(|p| p.get(&partition)).copied().unwrap_or(0)
    }

    fn store(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        store_sealed(disk, path, &serde_json::to_vec(self)?)
    }
}

/// Whether a write failed for lack of room, and only for that.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Moves log starts, none of them beyond its durable mark, and removes what lies below them. Blocks for some fsyncs.
/// An error other than a full disk takes the log offline.
pub(crate) fn advance(shared: &Shared, moves: &[(Arc<PartitionState>, Offset)]) -> io::Result<()> {
    let _one = shared.log_starts.lock();
    let mut starts = LogStarts { format: FORMAT, ..LogStarts::default() };
    for partition in shared.partitions().iter().filter(|p| p.log_start() > 0) {
        starts.partitions.entry(partition.topic).or_default().insert(partition.index, partition.log_start());
    }
    for (partition, to) in moves {
        let known = starts.partitions.entry(partition.topic).or_default().entry(partition.index).or_default();
        *known = (*known).max(*to);
    }
    let path = layout::log_start_file(shared.directory.path());
    match starts.store(&**shared.directory.disk(), &path) {
        Ok(()) => {
            for (partition, to) in moves {
                partition.advance_log_start(*to);
                partition.remove_below_log_start();
            }
            Ok(())
        }
        Err(error) if is_full(&error) => {
            tracing::warn!(%error, "no room to store log starts: segments are removed one by one");
            let removed: Result<Vec<bool>, io::Error> =
                moves.iter().map(|(partition, to)| partition.remove_unneeded(*to)).collect();
            match removed {
                Ok(removed) if removed.iter().any(|r| *r) => Ok(()),
                Ok(_) => Err(error),
                Err(failed) => offline(shared, failed),
            }
        }
        Err(error) => offline(shared, error),
    }
}

fn offline(shared: &Shared, error: io::Error) -> io::Result<()> {
    shared.go_offline(&format!("cannot store log starts: {error}"));
    Err(error)
}

/// See [`super::Topics::delete_records`].
pub(crate) fn delete_records(
    shared: &Shared,
    topic: &str,
    partition: PartitionId,
    before: Option<Offset>,
) -> Result<Offset, DeleteRecordsError> {
    if let Some(reason) = shared.offline() {
        return Err(DeleteRecordsError::Offline(reason));
    }
    let unknown = || DeleteRecordsError::UnknownPartition { topic: topic.to_owned(), partition };
    let state = shared.topic(topic).ok_or_else(unknown)?;
    let found = state.partition(partition).ok_or_else(unknown)?;
    let policy = Policy::of(&state.info.config);
    if state.info.is_internal() {
        return Err(DeleteRecordsError::Internal { topic: topic.to_owned() });
    }
    if !policy.delete {
        return Err(DeleteRecordsError::Compacted { topic: topic.to_owned() });
    }
    let marks = found.marks();
    let before = before.unwrap_or(marks.durable);
    if before < 0 || before > marks.durable {
        return Err(DeleteRecordsError::OutOfRange {
            offset: before,
            log_start: marks.log_start,
            end: marks.durable,
        });
    }
    if before > marks.log_start {
        let allowed =
            retention::allowed(&found.segment_facts(), before, marks.materialized, policy.hold_bytes);
        if allowed.log_start < before {
            return Err(DeleteRecordsError::TableBehind {
                topic: topic.to_owned(),
                partition,
                materialized: marks.materialized,
                offset: before,
            });
        }
        advance(shared, &[(Arc::clone(found), before)])?;
    }
    if found.is_deleted() {
        return Err(unknown());
    }
    Ok(found.log_start())
}

impl PartitionState {
    /// Takes closed segments below `start` off the list: nobody finds them any more.
    fn take_below(&self, start: Offset, most: usize) -> Vec<Offset> {
        let mut segments = self.segments.lock();
        let below = segments.list.windows(2).take_while(|pair| pair[1].base <= start).count().min(most);
        let gone: Vec<Offset> = segments.list.drain(..below).map(|s| s.base).collect();
        segments.dirty.retain(|base| !gone.contains(base));
        for base in &gone {
            self.forget_files(*base);
        }
        gone
    }

    /// Removes segments that lie wholly below the log start, which is durable.
    pub(crate) fn remove_below_log_start(&self) {
        for base in self.take_below(self.log_start(), usize::MAX) {
            // What stays is removed at the next start.
            if let Err(error) = self.remove_files(base) {
                tracing::warn!(topic = %self.name, partition = self.index, segment = base, %error, "cannot remove a segment");
            }
        }
    }

    /// Removes segments below `to` that no recovery asks for; each is durably gone before the log start moves behind
    /// it and before the next goes. Whether any was removed.
    fn remove_unneeded(&self, to: Offset) -> io::Result<bool> {
        let limit = to.min(self.checkpoint_base.load(Ordering::Acquire));
        let mut removed = false;
        while let Some(base) = self.take_below(limit, 1).first().copied() {
            self.remove_files(base)?;
            self.files.disk().sync_dir(&self.dir)?;
            let first = self.segments.lock().list.first().map(|s| s.base);
            self.advance_log_start(first.unwrap_or(limit));
            removed = true;
        }
        Ok(removed)
    }

    /// Closes the cached handles of a segment.
    pub(crate) fn forget_files(&self, base: Offset) {
        for extension in EXTENSIONS {
            self.files.forget(&self.segment_file(base, extension));
        }
    }

    /// Removes the files of a segment that is not on the list any more.
    pub(crate) fn remove_files(&self, base: Offset) -> io::Result<()> {
        EXTENSIONS.iter().try_for_each(|extension| {
            match self.files.disk().remove_file(&self.segment_file(base, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        })
    }
}
