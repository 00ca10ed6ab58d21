//! Reading a partition.
//!
//! Owns: finding batches by offset and by time, reading whole batches.
//! Does not own: who may see what (callers cap reads at a mark; nothing beyond `durable` is ever read).
//! Invariants: an index only shortens the way: what it says is compared with the batch it points to; a segment's file is
//! opened under the lock of the list, so that its length and its bytes belong together whatever compaction does; offsets
//! that compaction removed are passed over.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::Offset;
use bytes::Bytes;
use storage::disk::{read_file, write_file_atomically};
use storage::{DiskFile, OpenMode};

use super::compaction::SWAP;
use super::index::{Index, OFFSET_ENTRY, offset_entry, times_of};
use super::partition::PartitionState;
use super::segments::{Place, Segment};
use super::walk::Walk;
use crate::batch::BatchView;
use crate::batch::check::Facts;
use crate::error::ReadError;
use crate::log::ReadBatches;

/// Read at once when looking for one batch.
const LOOK_BYTES: usize = 16 << 10;
/// Read at once when walking over a whole segment.
const WALK_BYTES: usize = 1 << 20;
/// Looks at the list of segments before a search by time gives up.
const ATTEMPTS: usize = 16;

/// The first batch from `walk` on that reaches `offset`.
fn first_from(mut walk: Walk, offset: Offset) -> Result<Option<(BatchView, Walk)>, ReadError> {
    while let Some(batch) = walk.next(false)? {
        if batch.last_offset() >= offset {
            return Ok(Some((batch, walk)));
        }
    }
    Ok(None)
}

impl PartitionState {
    fn unknown(&self) -> ReadError {
        ReadError::UnknownPartition { topic: self.name.to_string(), partition: self.index }
    }

    /// See [`crate::Partition::read`].
    pub(crate) fn read(&self, from: Offset, end: Offset, max_bytes: usize) -> Result<ReadBatches, ReadError> {
        if self.is_deleted() {
            return Err(self.unknown());
        }
        let marks = self.marks();
        if from < marks.log_start || from > marks.appended {
            return Err(ReadError::OutOfRange {
                offset: from,
                log_start: marks.log_start,
                end: marks.durable,
            });
        }
        let end = end.min(marks.durable);
        let mut read = ReadBatches { bytes: Bytes::new(), next: from, marks, aborted: Vec::new() };
        if from >= end {
            return Ok(read);
        }
        let found = self.find(from, max_bytes.saturating_add(LOOK_BYTES))?;
        let Some((first, mut walk)) = found.filter(|(first, _)| first.base_offset() < end) else {
            // Compaction left nothing of what was asked for.
            read.next = end;
            return Ok(read);
        };
        read.next = first.last_offset() + 1;
        // What follows in the same piece is contiguous with the first batch, so that all is handed out without a copy.
        let mut length = first.size();
        read.bytes = first.bytes().clone();
        while read.next < end && length < max_bytes {
            match walk.next(true)? {
                Some(batch) if length + batch.size() <= max_bytes && batch.base_offset() < end => {
                    length += batch.size();
                    read.next = batch.last_offset() + 1;
                    read.bytes = walk.walked(length);
                }
                _ => break,
            }
        }
        // What is in reach of readers of committed records was settled before they could see it.
        read.aborted = self.settled.lock().aborted.overlapping(first.base_offset(), read.next);
        Ok(read)
    }

    /// The batch that holds `offset`, or the first one behind it when compaction removed that, and the walk that goes on
    /// behind it. None when there is nothing up to the end of the log.
    fn find(&self, offset: Offset, piece_bytes: usize) -> Result<Option<(BatchView, Walk)>, ReadError> {
        let mut at = offset;
        loop {
            let Some((place, file)) = self.open_at(at)? else { return Ok(None) };
            if let Some(found) = self.find_in(&place, &file, offset, piece_bytes)? {
                return Ok(Some(found));
            }
            match place.next_base {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
    }

    /// The segment of `offset` with its file; none when it is empty.
    fn open_at(&self, offset: Offset) -> Result<Option<(Place, Arc<dyn DiskFile>)>, ReadError> {
        let segments = self.segments.lock();
        let Some(place) = segments.locate(offset) else {
            let (log_start, end) = (self.log_start(), self.durable());
            drop(segments);
            return match self.is_deleted() {
                true => Err(self.unknown()),
                // It was there a moment ago.
                false => Err(ReadError::OutOfRange { offset, log_start, end }),
            };
        };
        if place.len == 0 {
            return Ok(None);
        }
        match self.files.get(&self.log_file(&place)) {
            Ok(file) => Ok(Some((place, file))),
            Err(_) if self.is_deleted() => Err(self.unknown()),
            Err(error) => Err(error.into()),
        }
    }

    fn log_file(&self, place: &Place) -> PathBuf {
        let suffix = if place.swapped { SWAP } else { "" };
        self.segment_file(place.base, &format!("log{suffix}"))
    }

    /// A walk over a whole closed segment.
    pub(crate) fn walk_closed(&self, base: Offset) -> Result<Walk, ReadError> {
        match self.open_at(base)? {
            Some((place, file)) if place.base == base && place.next_base.is_some() => {
                Ok(self.walk(&place, &file, 0, Some(base), WALK_BYTES))
            }
            _ => Err(std::io::Error::other(format!("segment {base} has gone")).into()),
        }
    }

    fn find_in(
        &self,
        place: &Place,
        file: &Arc<dyn DiskFile>,
        offset: Offset,
        piece_bytes: usize,
    ) -> Result<Option<(BatchView, Walk)>, ReadError> {
        let walk_from = |position, expected| self.walk(place, file, position, expected, piece_bytes);
        let entry = match place.next_base {
            None => place.entry,
            Some(_) => self.look_up(place, file, offset)?,
        };
        if let Some((relative, position)) = entry {
            let mut walk = walk_from(u64::from(position), None);
            // The index is no evidence: the batch must be the one that the entry names.
            if let Ok(Some(batch)) = walk.next(false)
                && batch.last_offset() == place.base + i64::from(relative)
            {
                if batch.last_offset() >= offset {
                    return Ok(Some((batch, walk)));
                }
                return first_from(walk, offset);
            }
            tracing::warn!(topic = %self.name, partition = self.index, segment = place.base, "index does not fit");
        }
        first_from(walk_from(0, Some(place.base)), offset)
    }

    fn walk(
        &self,
        place: &Place,
        file: &Arc<dyn DiskFile>,
        position: u64,
        expected: Option<Offset>,
        piece_bytes: usize,
    ) -> Walk {
        let path = self.log_file(place);
        Walk::new(Arc::clone(file), path, place.len, position, expected, piece_bytes)
            .with_gaps(place.next_base.is_some())
    }

    /// Looks an offset up in the index file of a closed segment; builds the file again when it is missing or broken.
    fn look_up(
        &self,
        place: &Place,
        log: &Arc<dyn DiskFile>,
        offset: Offset,
    ) -> Result<Option<(u32, u32)>, ReadError> {
        let Ok(relative) = u32::try_from(offset - place.base) else { return Ok(None) };
        let path = self.segment_file(place.base, "index");
        let Ok(file) = self.files.disk().open(&path, OpenMode::Read) else {
            return Ok(self.rebuild_index(place, log)?.floor(relative));
        };
        let len = file.len()?;
        if len % OFFSET_ENTRY as u64 != 0 {
            return Ok(self.rebuild_index(place, log)?.floor(relative));
        }
        let (mut low, mut high) = (0, len / OFFSET_ENTRY as u64);
        let mut found = None;
        let mut bytes = [0; OFFSET_ENTRY];
        while low < high {
            let middle = low + (high - low) / 2;
            file.read_at(middle * OFFSET_ENTRY as u64, &mut bytes)?;
            match offset_entry(&bytes) {
                Some(entry) if entry.0 <= relative => {
                    found = Some(entry);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        Ok(found)
    }

    /// Builds both index files of a closed segment from its batches.
    fn rebuild_index(&self, place: &Place, log: &Arc<dyn DiskFile>) -> Result<Index, ReadError> {
        let mut walk = self.walk(place, log, 0, Some(place.base), WALK_BYTES);
        let mut index = Index::default();
        loop {
            let position = walk.position();
            let Some(batch) = walk.next(false)? else { break };
            let facts = Facts::of(batch.bytes());
            index.note(place.base, position, batch.size(), &facts, self.index_interval_bytes);
        }
        index.seal();
        // Whole or not at all: half a time index would be believed.
        let write = |extension: &str, bytes: Vec<u8>| {
            write_file_atomically(&**self.files.disk(), &self.segment_file(place.base, extension), &bytes)
        };
        let segments = self.segments.lock();
        if !segments.list.iter().any(|s| (s.base, s.len) == (place.base, place.len)) {
            return Ok(index);
        }
        // Without the files it only takes longer the next time.
        if let Err(error) =
            write("index", index.offset_bytes(0)).and_then(|()| write("timeindex", index.time_bytes(0)))
        {
            tracing::warn!(topic = %self.name, partition = self.index, %error, "cannot write an index");
        }
        Ok(index)
    }

    /// The time index of a segment; none when the segment is not there any more.
    fn times(&self, place: &Place) -> Result<Option<Vec<(i64, u32)>>, ReadError> {
        if place.next_base.is_none() {
            let segments = self.segments.lock();
            // It may have been closed meanwhile; its file is complete then.
            if segments.list.last().is_some_and(|active| active.base == place.base) {
                let mut index = segments.index.clone();
                index.seal();
                return Ok(Some(index.times));
            }
        }
        let bytes = read_file(&**self.files.disk(), &self.segment_file(place.base, "timeindex"));
        match bytes.ok().as_deref().and_then(times_of) {
            Some(times) if !times.is_empty() => Ok(Some(times)),
            _ => {
                let Ok(Some((now, log))) = self.open_at(place.base) else { return Ok(None) };
                if now.base != place.base {
                    return Ok(None);
                }
                Ok(Some(self.rebuild_index(&now, &log)?.times))
            }
        }
    }

    /// The segments in order, each with its largest timestamp and the last offset of the batch that has it. None when
    /// one of them went meanwhile.
    fn places_by_time(&self) -> Result<Option<Vec<(Place, (i64, Offset))>>, ReadError> {
        let places: Vec<(Place, Option<(i64, Offset)>)> = {
            let segments = self.segments.lock();
            let bases = segments.list.iter().filter(|s| s.len > 0);
            bases.filter_map(|s| Some((segments.locate(s.base)?, s.largest))).collect()
        };
        let mut found = Vec::with_capacity(places.len());
        for (place, known) in places {
            let largest = match known {
                Some(largest) if place.next_base.is_some() => largest,
                _ => {
                    let Some(times) = self.times(&place)? else { return Ok(None) };
                    let Some((time, relative)) = times.last() else { continue };
                    let largest = (*time, place.base + i64::from(*relative));
                    if place.next_base.is_some() {
                        let mut segments = self.segments.lock();
                        let same = |s: &&mut Segment| (s.base, s.len) == (place.base, place.len);
                        if let Some(s) = segments.list.iter_mut().find(same) {
                            s.largest = Some(largest);
                        }
                    }
                    largest
                }
            };
            found.push((place, largest));
        }
        Ok(Some(found))
    }

    /// Asks again when segments went between two looks, as they do now and then.
    fn settled<T>(&self, ask: impl Fn() -> Result<Option<T>, ReadError>) -> Result<T, ReadError> {
        for _ in 0..ATTEMPTS {
            if self.is_deleted() {
                return Err(self.unknown());
            }
            match ask() {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) | Err(ReadError::OutOfRange { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::Error::other("segments go faster than they are looked at").into())
    }

    /// See [`crate::Partition::offset_for_timestamp`].
    pub(crate) fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<(Offset, i64)>, ReadError> {
        self.settled(|| self.look_for_timestamp(timestamp_ms))
    }

    fn look_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<Option<(Offset, i64)>>, ReadError> {
        let Some(places) = self.places_by_time()? else { return Ok(None) };
        for (place, (largest, _)) in places {
            if largest < timestamp_ms {
                continue;
            }
            // Everything up to the last entry below the asked time is older.
            let Some(times) = self.times(&place)? else { return Ok(None) };
            let older = times.partition_point(|(time, _)| *time < timestamp_ms);
            let from = match older.checked_sub(1) {
                Some(last) => place.base + i64::from(times[last].1) + 1,
                None => place.base,
            };
            let from = from.max(self.log_start());
            if let Some(found) = self.first_record(&place, from, |time| time >= timestamp_ms)? {
                return Ok(Some(Some(found)));
            }
        }
        Ok(Some(None))
    }

    /// See [`crate::Partition::max_timestamp`].
    pub(crate) fn max_timestamp(&self) -> Result<Option<(Offset, i64)>, ReadError> {
        self.settled(|| self.look_for_max_timestamp())
    }

    fn look_for_max_timestamp(&self) -> Result<Option<Option<(Offset, i64)>>, ReadError> {
        let Some(places) = self.places_by_time()? else { return Ok(None) };
        let log_start = self.log_start();
        let mut best: Option<(Place, (i64, Offset))> = None;
        for (place, mut largest) in places {
            if largest.1 < log_start {
                // The batch is deleted, the segment is there because of later ones.
                let Some(kept) = self.largest_from(&place, log_start)? else { continue };
                largest = kept;
            }
            if best.as_ref().is_none_or(|(_, (time, _))| largest.0 > *time) {
                best = Some((place, largest));
            }
        }
        let Some((place, (time, last_offset))) = best else { return Ok(Some(None)) };
        let Some((batch, _)) = self.find(last_offset, LOOK_BYTES)? else { return Ok(None) };
        let from = batch.base_offset().max(log_start);
        self.first_record(&place, from, |t| t >= time).map(Some)
    }

    /// The largest timestamp of a segment's batches from `from` on, with the last offset of its batch.
    fn largest_from(&self, place: &Place, from: Offset) -> Result<Option<(i64, Offset)>, ReadError> {
        let Some((first, mut walk)) = self.find(from, WALK_BYTES)? else { return Ok(None) };
        let (mut next, mut largest) = (Some(first), None::<(i64, Offset)>);
        while let Some(batch) = next {
            if place.next_base.is_some_and(|end| batch.base_offset() >= end) {
                break;
            }
            let facts = Facts::of(batch.bytes());
            if largest.is_none_or(|(time, _)| facts.max_timestamp_ms > time) {
                largest = Some((facts.max_timestamp_ms, facts.last_offset));
            }
            next = walk.next(false)?;
        }
        Ok(largest)
    }

    /// The first durable record of a segment from `from` on whose time is `wanted`: (offset, timestamp).
    fn first_record(
        &self,
        place: &Place,
        from: Offset,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(Offset, i64)>, ReadError> {
        let durable = self.durable();
        if from >= durable || place.next_base.is_some_and(|next| from >= next) {
            return Ok(None);
        }
        let Some((first, mut walk)) = self.find(from, WALK_BYTES)? else { return Ok(None) };
        let mut next = Some(first);
        while let Some(batch) = next {
            if batch.base_offset() >= durable {
                return Ok(None);
            }
            // Markers count, as in Kafka: they have a time too.
            if wanted(batch.max_timestamp_ms()) {
                let damaged = |e: crate::batch::BatchError| walk.damaged(e.to_string());
                let records = batch.records(self.decompressed_bytes_max).map_err(damaged)?;
                for record in &records {
                    let record = record.map_err(damaged)?;
                    if record.offset >= from && wanted(record.timestamp_ms) {
                        return Ok(Some((record.offset, record.timestamp_ms)));
                    }
                }
            }
            next = walk.next(false)?;
        }
        Ok(None)
    }

    /// See [`crate::Partition::batch_hash`].
    pub(crate) fn batch_hash(&self, offset: Offset) -> Result<Option<u64>, ReadError> {
        if self.is_deleted() {
            return Err(self.unknown());
        }
        if offset < self.log_start() || offset >= self.durable() {
            return Ok(None);
        }
        let found = match self.find(offset, LOOK_BYTES) {
            Err(ReadError::OutOfRange { .. }) => None,
            found => found?,
        };
        // What compaction has removed or rewritten proves nothing any more.
        let holds = found.map(|(batch, _)| batch).filter(|b| b.base_offset() <= offset && !b.is_compacted());
        Ok(holds.map(|batch| batch.content_hash()))
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        if self.deleted.load(Ordering::Acquire) { 0 } else { self.segments.lock().size_bytes() }
    }
}
