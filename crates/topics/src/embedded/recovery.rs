//! Recovery: from what the disk holds to an open log.
//!
//! Owns: loading the checkpoint, cutting segments back to it, replaying the write-ahead log, orphans, leader epochs.
//! Does not own: running.
//! Invariants: nothing is changed before the whole write-ahead log was checked; after it, segments hold exactly what
//! the checkpoint and the write-ahead log say; damage is refused with file and position; running recovery again
//! after a crash within it gives the same log.
//!
//! Bytes behind a checkpoint's end are thrown away and written again from the write-ahead log: what of them survived
//! a power cut is unknown, and the write-ahead log has all of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{Offset, TopicId};
use storage::disk::sync_names;
use storage::wal::{RecoveredWal, Wal, WalError};
use storage::{OpenMode, layout};

use self::refuse::{refuse_log_without_checkpoint, refuse_missing_segments};
use super::checkpoint::{self, Checkpoint, PartitionPoint};
use super::cuts::Held;
use super::files::Files;
use super::index::{Index, OFFSET_ENTRY, TIME_ENTRY};
use super::log_start::{EXTENSIONS, LogStarts};
use super::partition::PartitionState;
use super::record::{self, Decoded};
use super::segments::Segment;
use super::shared::{Shared, TopicMap, Writers, topic_state};
use super::walk::Walk;
use super::writer::settle;
use crate::batch::check::{CheckedBatch, Facts};
use crate::error::{OpenError, ReadError};
use crate::log::WriterId;
use crate::settings::Settings;
use crate::topic::TopicInfo;

mod refuse;

/// Read at once.
const WALK_BYTES: usize = 256 << 10;
/// Keys of topics in the control store.
pub(crate) const TOPIC_KEYS: &str = "topic/";
/// Keys of topics that were deleted since the last start.
const DELETED_KEYS: &str = "deleted-topic/";

/// Where the deletion of a topic is noted until its directory is surely gone.
pub(crate) fn deleted_key(topic: TopicId) -> String {
    format!("{DELETED_KEYS}{topic}")
}

fn io_error(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> OpenError {
    let context = context.into();
    move |source| OpenError::Io { context, source }
}

impl From<WalError> for OpenError {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Damaged { file, position, reason } => Self::Damaged { file, position, reason },
            WalError::Io(source) => Self::Io { context: "write-ahead log".into(), source },
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { file, position, reason } => Self::Damaged { file, position, reason },
            ReadError::Io(source) => Self::Io { context: "segments".into(), source },
            other => Self::Io { context: "segments".into(), source: std::io::Error::other(other) },
        }
    }
}

/// Recovers the log; the result takes appends once its threads run.
pub(crate) fn recover(settings: Settings, deps: super::Deps) -> Result<(Shared, Wal), OpenError> {
    let disk = Arc::clone(deps.directory.disk());
    let data_dir = deps.directory.path().to_owned();
    let checkpoint_path = layout::checkpoint_file(&data_dir);
    let topics_dir = checkpoint::topics_dir(&data_dir);
    let found = Checkpoint::load(&*disk, &checkpoint_path)
        .map_err(io_error(checkpoint_path.display().to_string()))?
        .map_err(|reason| damaged(&checkpoint_path, 0, reason))?;
    refuse_missing_segments(&*disk, &topics_dir, found.as_ref())?;
    disk.create_dir_all(&topics_dir)
        // Without a checkpoint an earlier start may have been killed before it synced these names.
        .and_then(|()| found.as_ref().map_or_else(|| sync_names(&*disk, &data_dir, &topics_dir), |_| Ok(())))
        .map_err(io_error("making the log's directories"))?;
    // First: without a checkpoint it is not known which write-ahead files there should be.
    if found.is_none() {
        refuse_log_without_checkpoint(&*disk, &topics_dir, &checkpoint_path)?;
    }
    let wal = Wal::recover(&disk, &layout::wal_dir(&data_dir), found.as_ref().map_or(0, |c| c.wal_first))?;
    // The first start is clean too: there is nothing that could have been lost.
    let is_first = found.is_none() && wal.is_new();
    let found = found.unwrap_or_default();
    let leader_epoch = if found.clean || is_first { found.leader_epoch } else { found.leader_epoch + 1 };

    let starts_path = layout::log_start_file(&data_dir);
    let starts = LogStarts::load(&*disk, &starts_path)
        .map_err(io_error(starts_path.display().to_string()))?
        .map_err(|reason| damaged(&starts_path, 0, reason))?;
    let files = Arc::new(Files::new(Arc::clone(&disk), settings.open_files_max));
    let topics = load_topics(&settings, &deps, &files)?;
    remove_orphans(&*disk, &topics_dir, &topics, &deps.control)?;
    let mut writers = restored_writers(&found).map_err(|reason| damaged(&checkpoint_path, 0, reason))?;
    let now_ms = deps.clock.now_ms();
    let mut alarms = Vec::new();
    for topic in topics.by_name.values() {
        let points = found.partitions.get(&topic.info.id);
        for partition in &topic.partitions {
            let point = points.and_then(|p| p.get(&partition.index)).cloned();
            if point.is_none() && disk.exists(&partition.dir) {
                sync_names(&*disk, &topics_dir, &partition.dir)
                    .map_err(io_error(partition.dir.display().to_string()))?;
            }
            let mut point = point.unwrap_or_default();
            point.log_start = point.log_start.max(starts.of(partition.topic, partition.index));
            alarms.extend(restore(partition, point, now_ms)?);
        }
    }
    let mut held = Held::default();
    for span in found.held {
        held.restore(span, |topic, index| topics.partition(topic, index));
    }
    replay(&wal, &topics, &mut writers, &mut held, (now_ms, settings.producers_max))?;
    let all: Vec<_> = topics.by_name.values().flat_map(|t| &t.partitions).cloned().collect();
    held.update(&all);
    all.iter().for_each(|partition| partition.restore_txn_indexes(Offset::MAX));
    for partition in topics.by_name.values().flat_map(|t| &t.partitions) {
        let mut appending = partition.appending.lock();
        let end = appending.next;
        appending.epochs.assign(leader_epoch, end);
        #[cfg(feature = "sabotage")]
        crate::sabotage::after_recovery(&mut appending.producers, &mut partition.settled.lock().producers);
    }
    let wal = wal.start(settings.wal_file_bytes).map_err(io_error("beginning a write-ahead file"))?;
    let shared = Shared::new(settings, deps, leader_epoch, files, topics, writers, held, alarms);
    // From here on the end is not clean, and what was replayed need not be replayed again.
    checkpoint::take(&shared, wal.current_file(), false)
        .and_then(|pending| pending.complete(&shared))
        .map_err(io_error("storing a checkpoint"))?;
    shared.space.refresh(0);
    Ok((shared, wal))
}

/// The named writers as the checkpoint saw them.
fn restored_writers(found: &Checkpoint) -> Result<Writers, String> {
    let mut writers = Writers::default();
    for (name, point) in &found.writers {
        writers.apply(&WriterId::new(name), point.epoch, point.bytes()?.as_ref());
    }
    Ok(writers)
}

fn damaged(path: &Path, position: u64, reason: impl Into<String>) -> OpenError {
    OpenError::Damaged { file: path.display().to_string(), position, reason: reason.into() }
}

fn load_topics(settings: &Settings, deps: &super::Deps, files: &Arc<Files>) -> Result<TopicMap, OpenError> {
    let mut topics = TopicMap::default();
    for (_, info) in deps.control.scan_json::<TopicInfo>(layout::TOPICS, TOPIC_KEYS)? {
        let state = topic_state(settings, &deps.directory, files, Arc::new(info), &[]);
        topics.by_id.insert(state.info.id, state.info.name.clone());
        topics.by_name.insert(state.info.name.clone(), Arc::new(state));
    }
    Ok(topics)
}

/// Removes directories of topics that are no more: their making or their deletion was interrupted. Records of a topic
/// that the control store neither has nor deleted are another copy's: they are never thrown away.
fn remove_orphans(
    disk: &dyn storage::Disk,
    topics_dir: &Path,
    topics: &TopicMap,
    control: &storage::Control,
) -> Result<(), OpenError> {
    let deleted: Vec<String> =
        control.scan(layout::TOPICS, DELETED_KEYS)?.into_iter().map(|(key, _)| key).collect();
    let list = |path: &Path| disk.read_dir(path).map_err(io_error(path.display().to_string()));
    let mut orphans = Vec::new();
    for entry in list(topics_dir)? {
        let Ok(id) = entry.name.parse().map(TopicId) else { continue };
        if !entry.is_dir || topics.by_id.contains_key(&id) {
            continue;
        }
        let path = topics_dir.join(&entry.name);
        if !deleted.contains(&deleted_key(id)) {
            for partition in list(&path)?.iter().filter(|e| e.is_dir) {
                if !list(&path.join(&partition.name))?.is_empty() {
                    return Err(OpenError::UnknownTopic { directory: path.display().to_string() });
                }
            }
        }
        orphans.push(path);
    }
    for path in &orphans {
        disk.remove_dir_all(path).map_err(io_error(path.display().to_string()))?;
    }
    if !orphans.is_empty() {
        disk.sync_dir(topics_dir).map_err(io_error(topics_dir.display().to_string()))?;
    }
    if !deleted.is_empty() {
        control
            .transact(|tx| deleted.iter().try_for_each(|key| tx.delete(layout::TOPICS, key).map(|_| ())))?;
    }
    Ok(())
}

/// Brings a partition to where the checkpoint saw it; gives what an operator should know.
fn restore(
    partition: &PartitionState,
    mut point: PartitionPoint,
    now_ms: i64,
) -> Result<Option<String>, OpenError> {
    let disk = partition.files.disk();
    let shown = partition.dir.display().to_string();
    {
        let mut settled = partition.settled.lock();
        settled.aborted.restore(point.aborted());
        settled.producers.restore(point.producers.clone());
    }
    {
        let mut appending = partition.appending.lock();
        appending.producers.restore(std::mem::take(&mut point.producers));
        appending.epochs.0 = std::mem::take(&mut point.epochs);
    }
    if !disk.exists(&partition.dir) {
        // An operator may move a damaged partition away: it goes on behind its last offset.
        disk.create_dir_all(&partition.dir).map_err(io_error(shown))?;
        partition.segments.lock().end = point.end;
        let had_records = point.log_start < point.end;
        partition.restore(point.log_start.max(point.end), point.end);
        return Ok(had_records.then(|| missing(partition, point.log_start, point.end)));
    }
    partition.complete_swaps()?;
    partition.cleaned.store(point.cleaned, Ordering::Release);
    let entries = disk.read_dir(&partition.dir).map_err(io_error(shown.clone()))?;
    // When records were deleted up to here since the checkpoint, nothing of what it knew is left.
    let active = point.segment.filter(|_| point.log_start < point.end || point.end == 0);
    let mut list = kept_segments(partition, &entries, active.map(|(base, _)| base), &point, now_ms);
    let removed = remove_others(partition, &entries, &list)?;
    if let Some((base, len)) = active {
        restore_active(partition, &mut list, (base, len, point.index), point.end, now_ms)?;
    }
    // Retention on a full disk leaves no other trace than the names that are left.
    let log_start = list.first().map_or(point.log_start, |first| point.log_start.max(first.base));
    let mut segments = partition.segments.lock();
    segments.new_names |= removed;
    segments.end = point.end;
    segments.list = list;
    drop(segments);
    partition.restore(log_start, point.end);
    Ok(None)
}

fn missing(partition: &PartitionState, log_start: Offset, end: Offset) -> String {
    let alarm = format!(
        "{}-{}: the directory {} was gone at the start, and with it the records from offset {log_start} to {end}",
        partition.name,
        partition.index,
        partition.dir.display()
    );
    tracing::error!("{alarm}");
    alarm
}

/// The segments up to the active one of the checkpoint that do not lie below the log start.
fn kept_segments(
    partition: &PartitionState,
    entries: &[storage::disk::Entry],
    active: Option<Offset>,
    point: &PartitionPoint,
    now_ms: i64,
) -> Vec<Segment> {
    let Some(active) = active else { return Vec::new() };
    let mut bases = checkpoint::segment_bases(entries);
    bases.retain(|(base, _)| *base <= active);
    let below = bases.windows(2).take_while(|pair| pair[1].0 <= point.log_start).count();
    let segment = |(base, len)| {
        let times = point.times.iter().find(|(at, _, _)| *at == base);
        let (_, begun_ms, written_ms) = times.copied().unwrap_or((base, now_ms, now_ms));
        Segment { len, begun_ms, written_ms, ..Segment::empty(base, now_ms) }
    };
    let kept: Vec<Segment> = bases.drain(below..).map(segment).collect();
    if below > 0 {
        tracing::debug!(topic = %partition.name, partition = partition.index, below, "segments below the log start");
    }
    kept
}

/// Removes the files that belong to no kept segment: the write-ahead log has their records, or they were deleted.
fn remove_others(
    partition: &PartitionState,
    entries: &[storage::disk::Entry],
    kept: &[Segment],
) -> Result<bool, OpenError> {
    let mut removed = false;
    for entry in entries.iter().filter(|e| !e.is_dir) {
        let Some((base, extension)) = entry.name.split_once('.') else { continue };
        let Ok(base) = base.parse::<Offset>() else { continue };
        let known = EXTENSIONS.contains(&extension);
        if known && !kept.iter().any(|segment| segment.base == base) {
            let path = partition.dir.join(&entry.name);
            let disk = partition.files.disk();
            disk.remove_file(&path).map_err(io_error(path.display().to_string()))?;
            removed = true;
        }
    }
    Ok(removed)
}

/// Cuts the active segment back to its checkpoint and loads its index.
fn restore_active(
    partition: &PartitionState,
    list: &mut Vec<Segment>,
    (base, len, entries): (Offset, u64, Option<(usize, usize)>),
    end: Offset,
    now_ms: i64,
) -> Result<(), OpenError> {
    let path = partition.segment_file(base, "log");
    let fail = |source| OpenError::Io { context: path.display().to_string(), source };
    if len == 0 && list.last().is_none_or(|last| last.base < base) {
        // It has a file from its first batch on.
        list.push(Segment::empty(base, now_ms));
        return Ok(());
    }
    let Some(active) = list.last_mut().filter(|s| s.base == base) else {
        return Err(damaged(&path, 0, "the segment is missing"));
    };
    if active.len < len {
        return Err(damaged(&path, active.len, format!("the file ends here, {len} bytes were synced")));
    }
    let file = partition.files.get(&path).map_err(fail)?;
    if active.len > len {
        file.set_len(len).map_err(fail)?;
        active.len = len;
        partition.segments.lock().dirty.push(base);
    }
    let mut index = load_index(partition, base, len, entries);
    let mut begin = index.offsets.last().copied();
    loop {
        // The walk checks the batches behind the last entry; an entry that does not fit makes it start at the front.
        let (position, expected) = begin.map_or((0, Some(base)), |(_, p)| (u64::from(p), None));
        let mut walk = Walk::new(Arc::clone(&file), path.clone(), len, position, expected, WALK_BYTES);
        match walk_tail(partition, &mut walk, base, &mut index, begin) {
            Ok(found) if found == end => break,
            Err(error) if begin.is_none() => return Err(error.into()),
            Ok(found) if begin.is_none() => {
                return Err(damaged(
                    &path,
                    len,
                    format!("the segment ends at offset {found}, expected {end}"),
                ));
            }
            _ => {
                begin = None;
                index = Index::default();
            }
        }
    }
    trim_index_files(partition, base, &index).map_err(fail)?;
    partition.segments.lock().index = index;
    Ok(())
}

fn walk_tail(
    partition: &PartitionState,
    walk: &mut Walk,
    base: Offset,
    index: &mut Index,
    begin: Option<(u32, u32)>,
) -> Result<Offset, ReadError> {
    let mut end = base;
    let mut first = begin;
    loop {
        let position = walk.position();
        let Some(batch) = walk.next(false)? else { return Ok(end) };
        if let Some((relative, _)) = first.take()
            && batch.last_offset() != base + i64::from(relative)
        {
            return Err(walk.damaged("the index does not fit"));
        }
        let facts = Facts::of(batch.bytes());
        index.note(base, position, batch.size(), &facts, partition.index_interval_bytes);
        end = batch.last_offset().saturating_add(1);
    }
}

/// The index as its files have it, if they have as many entries as the checkpoint saw: they are not synced.
fn load_index(partition: &PartitionState, base: Offset, len: u64, entries: Option<(usize, usize)>) -> Index {
    let read = |extension| {
        storage::disk::read_file(&**partition.files.disk(), &partition.segment_file(base, extension)).ok()
    };
    let parsed = read("index").zip(read("timeindex")).and_then(|(o, t)| Index::parse(&o, &t, len));
    let whole = |index: &Index| entries.is_none_or(|e| e == (index.offsets.len(), index.times.len()));
    let mut index = parsed.filter(whole).unwrap_or_default();
    index.written = (index.offsets.len(), index.times.len());
    index
}

/// Entries of bytes that were cut off must not stay in the files.
fn trim_index_files(partition: &PartitionState, base: Offset, index: &Index) -> std::io::Result<()> {
    for (extension, size) in
        [("index", index.written.0 * OFFSET_ENTRY), ("timeindex", index.written.1 * TIME_ENTRY)]
    {
        let path = partition.segment_file(base, extension);
        if let Ok(file) = partition.files.disk().open(&path, OpenMode::ReadWrite)
            && file.len()? != size as u64
        {
            file.set_len(size as u64)?;
        }
    }
    Ok(())
}

fn replay(
    wal: &RecoveredWal,
    topics: &TopicMap,
    writers: &mut Writers,
    held: &mut Held,
    (now_ms, producers_max): (i64, usize),
) -> Result<(), OpenError> {
    #[cfg(feature = "sabotage")]
    let left_out = crate::sabotage::left_out(wal)?;
    wal.replay::<OpenError>(&mut |found| {
        #[cfg(feature = "sabotage")]
        if left_out == Some((found.file, found.position)) {
            return Ok(());
        }
        let file = storage::wal::file_name(found.file);
        let broken = |reason| OpenError::Damaged { file: file.clone(), position: found.position, reason };
        let Decoded { writer, batches } = record::decode(found.bytes).map_err(broken)?;
        if let Some(step) = writer {
            writers.apply(&step.id, step.epoch, step.value.as_ref());
        }
        let mut replayed = Vec::with_capacity(batches.len());
        for (topic, index, view) in batches {
            // A topic that was deleted later takes its batches with it.
            let Some(partition) = topics.partition(topic, index) else { continue };
            let facts = Facts::of(view.bytes());
            let mut appending = partition.appending.lock();
            if facts.base_offset < appending.next {
                continue;
            }
            if facts.base_offset > appending.next {
                return Err(broken(format!(
                    "offset {} of {}-{index} is missing",
                    appending.next, partition.name
                )));
            }
            if facts.last_offset < partition.log_start() {
                // Deleted since; only what it said about producers and epochs counts.
                partition.segments.lock().end = facts.last_offset + 1;
            } else {
                partition
                    .write(&[(&CheckedBatch::stored(&view), facts)], now_ms)
                    .map_err(io_error(partition.dir.display().to_string()))?;
            }
            partition.note_appended(&mut appending, &facts, now_ms, producers_max);
            drop(appending);
            replayed.push((partition, facts));
        }
        settle(held, replayed.iter().map(|(partition, facts)| (partition, facts)), now_ms, producers_max);
        for (partition, facts) in &replayed {
            partition.move_stable(facts.last_offset + 1);
            partition.publish(facts.last_offset + 1);
        }
        Ok(())
    })
}
