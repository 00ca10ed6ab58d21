//! Checkpoints: what need not be replayed.
//!
//! Owns: the checkpoint file, the thread that syncs dirty segments and then releases write-ahead files.
//! Does not own: replaying.
//! Invariants: a checkpoint names only what is synced, names included; a write-ahead file goes only after the
//! checkpoint that makes it superfluous is durable; a checkpoint is taken where a write-ahead file begins.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base::{Offset, PartitionId, TopicId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::disk::{read_file, write_file_atomically};
use storage::reserve::is_full;
use storage::{Disk, OpenMode, layout, wal};

use super::cuts::SpanPoint;
use super::partition::PartitionState;
use super::producers::Producer;
use super::shared::Shared;
use crate::log::AbortedTransaction;

/// 2: open and aborted transactions; a program that knows 1 would forget them.
const FORMAT: u32 = 2;
/// How often free space is looked at when no checkpoint comes.
const SPACE_EVERY: Duration = Duration::from_secs(2);

/// What a checkpoint says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub format: u32,
    /// The log was closed after this; nothing was appended since.
    pub clean: bool,
    pub leader_epoch: i32,
    /// The first write-ahead file that is still needed.
    pub wal_first: u64,
    pub partitions: BTreeMap<TopicId, BTreeMap<PartitionId, PartitionPoint>>,
    pub writers: BTreeMap<String, WriterPoint>,
    /// What cuts must not split yet.
    #[serde(default)]
    pub held: Vec<SpanPoint>,
}

/// A partition at a checkpoint: everything before is synced.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PartitionPoint {
    pub log_start: Offset,
    pub end: Offset,
    /// The active segment and its length; none when there was none.
    pub segment: Option<(Offset, u64)>,
    /// Entries of its offset index and of its time index.
    #[serde(default)]
    pub index: Option<(usize, usize)>,
    pub epochs: Vec<(i32, Offset)>,
    pub producers: Vec<(i64, Producer)>,
    /// Aborted transactions by marker: producer id, first offset, last offset, stable mark.
    #[serde(default)]
    pub aborted: Vec<(i64, Offset, Offset, Offset)>,
    /// Per segment: base, first and last append by this machine's clock.
    #[serde(default)]
    pub times: Vec<(Offset, i64, i64)>,
    /// Below it, compaction has been.
    #[serde(default)]
    pub cleaned: Offset,
}

impl PartitionPoint {
    /// The aborted transactions.
    pub(crate) fn aborted(&self) -> Vec<AbortedTransaction> {
        let whole = |&(producer_id, first_offset, last_offset, stable): &(i64, Offset, Offset, Offset)| {
            AbortedTransaction { producer_id, first_offset, last_offset, stable }
        };
        self.aborted.iter().map(whole).collect()
    }
}

/// A named writer at a checkpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct WriterPoint {
    pub epoch: i64,
    /// Hexadecimal.
    pub value: Option<String>,
}

impl WriterPoint {
    pub(crate) fn new(epoch: i64, value: Option<&[u8]>) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |d: u8| char::from(DIGITS[usize::from(d & 15)]);
        let hex = |bytes: &[u8]| bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]).collect();
        Self { epoch, value: value.map(hex) }
    }

    /// The value; the error is a value that is not hexadecimal.
    pub(crate) fn bytes(&self) -> Result<Option<Bytes>, String> {
        let Some(hex) = &self.value else { return Ok(None) };
        let digit = |c: &u8| char::from(*c).to_digit(16).map(|d| d as u8);
        let pairs = hex.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect();
        bytes.map(|b| Some(b.into())).ok_or_else(|| "a progress value is not hexadecimal".to_owned())
    }
}

/// First line of the file: the checksum of the rest.
#[derive(Serialize, Deserialize)]
struct Seal {
    crc32c: u32,
}

impl Checkpoint {
    /// Reads the file; none when there is none. The inner error is damage.
    pub(crate) fn load(disk: &dyn Disk, path: &std::path::Path) -> io::Result<Result<Option<Self>, String>> {
        let body = match load_sealed(disk, path)? {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(Ok(None)),
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(match serde_json::from_slice::<Self>(&body) {
            Ok(checkpoint) if checkpoint.format > FORMAT => {
                Err(format!("format {} is newer than this program's {FORMAT}", checkpoint.format))
            }
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(error) => Err(error.to_string()),
        })
    }

    fn store(&self, disk: &dyn Disk, path: &std::path::Path) -> io::Result<()> {
        store_sealed(disk, path, &serde_json::to_vec(self)?)
    }
}

/// Reads a file that begins with a line of its checksum; none when there is none. The inner error is damage.
pub(crate) fn load_sealed(
    disk: &dyn Disk,
    path: &std::path::Path,
) -> io::Result<Result<Option<Vec<u8>>, String>> {
    if !disk.exists(path) {
        return Ok(Ok(None));
    }
    let mut bytes = read_file(disk, path)?;
    let Some(line) = bytes.iter().position(|b| *b == b'\n') else {
        return Ok(Err("the checksum line is missing".into()));
    };
    let body = bytes.split_off(line + 1);
    let fits =
        serde_json::from_slice::<Seal>(&bytes[..line]).is_ok_and(|s| s.crc32c == crc32c::crc32c(&body));
    Ok(if fits { Ok(Some(body)) } else { Err("the checksum does not fit".into()) })
}

/// Replaces such a file; durable on return.
pub(crate) fn store_sealed(disk: &dyn Disk, path: &std::path::Path, body: &[u8]) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(&Seal { crc32c: crc32c::crc32c(body) })?;
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    write_file_atomically(disk, path, &bytes)
}

/// A checkpoint that waits for the segments it names.
#[derive(Debug)]
pub(crate) struct Pending {
    checkpoint: Checkpoint,
    dirty: Vec<Dirty>,
    /// Active segments that it names.
    active: Vec<(Arc<PartitionState>, Offset)>,
    /// Told once it is stored; dropped when it is not.
    pub done: Option<mpsc::SyncSender<()>>,
}

/// Work of the thread that syncs.
#[derive(Debug)]
pub(crate) enum Task {
    Checkpoint(Pending),
    /// A segment of which much was written: what is synced now need not be synced by the checkpoint.
    Sync(Arc<PartitionState>, Offset),
}

/// What of a partition is to be synced.
#[derive(Debug)]
struct Dirty {
    partition: Arc<PartitionState>,
    bases: Vec<Offset>,
    /// The segment that is still written to; the index files of all others are complete.
    active: Option<Offset>,
    /// The directory has new names.
    names: bool,
}

impl Dirty {
    fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        for base in &self.bases {
            let file = self.partition.files.get(&self.partition.segment_file(*base, "log"));
            match file.and_then(|file| file.sync_data()) {
                // Retention was faster.
                Err(_) if !self.partition.has_segment(*base) => continue,
                outcome => outcome?,
            }
            if self.active != Some(*base) {
                // An index that was removed is built again.
                for extension in ["index", "timeindex"] {
                    match disk.open(&self.partition.segment_file(*base, extension), OpenMode::ReadWrite) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        file => file?.sync_data()?,
                    }
                }
            }
        }
        if self.names { disk.sync_dir(&self.partition.dir) } else { Ok(()) }
    }
}

/// Notes the state of the log between two groups. `wal_first` is the write-ahead file that has just begun. Call it on
/// the log writer only: nothing is being written meanwhile.
pub(crate) fn take(shared: &Shared, wal_first: u64, clean: bool) -> io::Result<Pending> {
    let mut checkpoint = Checkpoint {
        format: FORMAT,
        clean,
        leader_epoch: shared.leader_epoch,
        wal_first,
        ..Checkpoint::default()
    };
    let (mut dirty, mut active) = (Vec::new(), Vec::new());
    let expired_ms = shared.clock.now_ms().saturating_sub(shared.settings.producer_expiry.as_millis() as i64);
    for partition in shared.partitions() {
        let durable = partition.durable();
        let mut point =
            PartitionPoint { log_start: partition.log_start(), end: durable, ..Default::default() };
        point.cleaned = partition.cleaned.load(Ordering::Acquire);
        {
            let mut segments = partition.segments.lock();
            partition.write_index(&mut segments, false)?;
            point.segment = segments.list.last().map(|active| (active.base, active.len));
            point.times = segments.list.iter().map(|s| (s.base, s.begun_ms, s.written_ms)).collect();
            active.push((Arc::clone(&partition), point.segment.map_or(durable, |(base, _)| base)));
            point.index = point.segment.map(|_| segments.index.written);
            let bases = std::mem::take(&mut segments.dirty);
            let names = std::mem::take(&mut segments.new_names);
            if !bases.is_empty() || names {
                let active = point.segment.map(|(base, _)| base);
                dirty.push(Dirty { partition: Arc::clone(&partition), bases, active, names });
            }
        }
        {
            let mut settled = partition.settled.lock();
            settled.producers.expire(expired_ms);
            settled.aborted.forget_before(point.log_start);
            point.producers = settled.producers.known();
            let short = |a: &AbortedTransaction| (a.producer_id, a.first_offset, a.last_offset, a.stable);
            point.aborted = settled.aborted.all().iter().map(short).collect();
        }
        {
            let mut appending = partition.appending.lock();
            appending.producers.expire(expired_ms);
            point.epochs = appending.epochs.0.clone();
            // An epoch whose first batch is not durable yet comes back with that batch, or never was.
            point.epochs.retain(|(_, start)| *start <= durable);
        }
        checkpoint.partitions.entry(partition.topic).or_default().insert(partition.index, point);
    }
    for (writer, progress) in shared.writers.lock().durable() {
        let value = progress.value.as_deref();
        checkpoint.writers.insert(writer.0.to_string(), WriterPoint::new(progress.epoch, value));
    }
    checkpoint.held = shared.publishing.lock().points();
    Ok(Pending { checkpoint, dirty, active, done: None })
}

impl Pending {
    /// Syncs what the checkpoint names, stores it, and releases what is superfluous now.
    pub(crate) fn complete(self, shared: &Shared) -> io::Result<()> {
        self.sync(shared)?;
        self.store(shared)
    }

    fn sync(&self, shared: &Shared) -> io::Result<()> {
        let disk = &**shared.directory.disk();
        for dirty in &self.dirty {
            match dirty.sync(disk) {
                Err(_) if dirty.partition.is_deleted() => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn store(self, shared: &Shared) -> io::Result<()> {
        let (disk, data_dir) = (&**shared.directory.disk(), shared.directory.path());
        self.checkpoint.store(disk, &layout::checkpoint_file(data_dir))?;
        for (partition, base) in &self.active {
            partition.checkpoint_base.store(*base, Ordering::Release);
        }
        match self.checkpoint.wal_first {
            0 => {}
            first => wal::release(disk, &layout::wal_dir(data_dir), first - 1)?,
        }
        if let Some(done) = self.done {
            // Who does not wait any more does not mind.
            let _ = done.send(());
        }
        Ok(())
    }
}

/// Syncs one segment, for which no checkpoint waits yet.
fn sync_ahead(shared: &Shared, partition: &PartitionState, base: Offset) {
    let file = partition.files.get(&partition.segment_file(base, "log"));
    if let Err(error) = file.and_then(|file| file.sync_data())
        && partition.has_segment(base)
        && !partition.is_deleted()
    {
        // The kernel tells a failed write once: whoever syncs next would not hear of it.
        shared.go_offline(&format!("a sync failed: {error}"));
    }
}

/// Completes checkpoints one after the other until their sender is gone; looks at the disk's free space meanwhile.
pub(crate) fn run(shared: &Shared, tasks: &mpsc::Receiver<Task>) {
    loop {
        match tasks.recv_timeout(SPACE_EVERY) {
            Ok(_) if shared.offline().is_some() => {}
            Ok(Task::Sync(partition, base)) => sync_ahead(shared, &partition, base),
            Ok(Task::Checkpoint(next)) => match next.sync(shared).map(|()| next.store(shared)) {
                Ok(Ok(())) => {}
                // The last one still holds: there is only more to replay.
                Ok(Err(error)) if is_full(&error) => {
                    tracing::error!(%error, "no space for a checkpoint");
                }
                Ok(Err(error)) | Err(error) => {
                    shared.go_offline(&format!("a checkpoint failed: {error}"));
                }
            },
            Err(mpsc::RecvTimeoutError::Timeout) => shared.space.refresh(shared.queue.waiting_bytes()),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Segment files of a partition that are on the disk: base offsets in order.
pub(crate) fn segment_bases(entries: &[storage::disk::Entry]) -> Vec<(Offset, u64)> {
    let mut bases: Vec<(Offset, u64)> = entries
        .iter()
        .filter_map(|entry| Some((entry.name.strip_suffix(".log")?.parse().ok()?, entry.len)))
        .collect();
    bases.sort_unstable();
    bases
}

/// Directories of topics that are on the disk.
pub(crate) fn topics_dir(data_dir: &std::path::Path) -> PathBuf {
    layout::topic_dir(data_dir, TopicId(uuid::Uuid::nil())).parent().map_or_else(PathBuf::new, PathBuf::from)
}
