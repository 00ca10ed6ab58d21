//! Reading a partition.
//!
//! Owns: finding batches by offset and by time, reading whole batches.
//! Does not own: who may see what (callers cap reads at a mark; nothing beyond `durable` is ever read).
//! Invariants: an index only shortens the way: what it says is compared with the batch it points to.

use std::sync::atomic::Ordering;

use base::Offset;
use bytes::Bytes;
use storage::OpenMode;
use storage::disk::read_file;

use super::index::{Index, OFFSET_ENTRY, offset_entry, times_of};
use super::partition::PartitionState;
use super::segments::Place;
use super::walk::Walk;
use crate::batch::BatchView;
use crate::batch::check::Facts;
use crate::error::ReadError;
use crate::log::ReadBatches;

/// Read at once when looking for one batch.
const LOOK_BYTES: usize = 16 << 10;
/// Read at once when walking over a whole segment.
const WALK_BYTES: usize = 1 << 20;

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
        let (first, mut walk) = self.find(from, max_bytes.saturating_add(LOOK_BYTES))?;
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

    /// The batch that holds `offset`, and the walk that goes on behind it.
    fn find(&self, offset: Offset, piece_bytes: usize) -> Result<(BatchView, Walk), ReadError> {
        let place = self.segments.lock().locate(offset).ok_or_else(|| self.unknown())?;
        let entry = match place.next_base {
            None => place.entry,
            Some(_) => self.look_up(&place, offset)?,
        };
        if let Some((relative, position)) = entry {
            let mut walk = self.walk(&place, u64::from(position), None, piece_bytes)?;
            // The index is no evidence: the batch must be the one that the entry names.
            if let Ok(Some(batch)) = walk.next(false)
                && batch.last_offset() == place.base + i64::from(relative)
            {
                if batch.last_offset() >= offset && batch.base_offset() <= offset {
                    return Ok((batch, walk));
                }
                return self.find_from(walk, &place, offset);
            }
            tracing::warn!(topic = %self.name, partition = self.index, segment = place.base, "index does not fit");
        }
        let walk = self.walk(&place, 0, Some(place.base), piece_bytes)?;
        self.find_from(walk, &place, offset)
    }

    fn find_from(
        &self,
        mut walk: Walk,
        place: &Place,
        offset: Offset,
    ) -> Result<(BatchView, Walk), ReadError> {
        while let Some(batch) = walk.next(false)? {
            if batch.last_offset() >= offset {
                return Ok((batch, walk));
            }
        }
        let until = place.next_base.map_or_else(|| "end".to_owned(), |next| next.to_string());
        Err(walk.damaged(format!("offset {offset} is missing, the next segment begins at {until}")))
    }

    fn walk(
        &self,
        place: &Place,
        position: u64,
        expected: Option<Offset>,
        piece_bytes: usize,
    ) -> Result<Walk, ReadError> {
        let path = self.segment_file(place.base, "log");
        let file = match self.files.get(&path) {
            Ok(file) => file,
            Err(_) if self.is_deleted() => return Err(self.unknown()),
            Err(error) => return Err(error.into()),
        };
        Ok(Walk::new(file, path, place.len, position, expected, piece_bytes))
    }

    /// Looks an offset up in the index file of a closed segment; builds the file again when it is missing or broken.
    fn look_up(&self, place: &Place, offset: Offset) -> Result<Option<(u32, u32)>, ReadError> {
        let Ok(relative) = u32::try_from(offset - place.base) else { return Ok(None) };
        let path = self.segment_file(place.base, "index");
        let Ok(file) = self.files.disk().open(&path, OpenMode::Read) else {
            return Ok(self.rebuild_index(place)?.floor(relative));
        };
        let len = file.len()?;
        if len % OFFSET_ENTRY as u64 != 0 {
            return Ok(self.rebuild_index(place)?.floor(relative));
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
    fn rebuild_index(&self, place: &Place) -> Result<Index, ReadError> {
        let mut walk = self.walk(place, 0, Some(place.base), WALK_BYTES)?;
        let mut index = Index::default();
        loop {
            let position = walk.position();
            let Some(batch) = walk.next(false)? else { break };
            let facts = Facts::of(batch.bytes());
            index.note(place.base, position, batch.size(), &facts, self.index_interval_bytes);
        }
        index.seal();
        let write = |extension: &str, bytes: Vec<u8>| -> std::io::Result<()> {
            let file = self.files.disk().open(&self.segment_file(place.base, extension), OpenMode::Create)?;
            file.set_len(bytes.len() as u64)?;
            file.write_at(0, &bytes)
        };
        // Without the files it only takes longer the next time.
        if let Err(error) =
            write("index", index.offset_bytes(0)).and_then(|()| write("timeindex", index.time_bytes(0)))
        {
            tracing::warn!(topic = %self.name, partition = self.index, %error, "cannot write an index");
        }
        Ok(index)
    }

    /// The time index of a segment.
    fn times(&self, place: &Place) -> Result<Vec<(i64, u32)>, ReadError> {
        if place.next_base.is_none() {
            let segments = self.segments.lock();
            // It may have been closed meanwhile; its file is complete then.
            if segments.list.last().is_some_and(|active| active.base == place.base) {
                let mut index = segments.index.clone();
                index.seal();
                return Ok(index.times);
            }
        }
        let bytes = read_file(&**self.files.disk(), &self.segment_file(place.base, "timeindex"));
        match bytes.ok().as_deref().and_then(times_of) {
            Some(times) if !times.is_empty() => Ok(times),
            _ => Ok(self.rebuild_index(place)?.times),
        }
    }

    /// The segments in order, each with its largest timestamp and the last offset of the batch that has it.
    fn places_by_time(&self) -> Result<Vec<(Place, (i64, Offset))>, ReadError> {
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
                    let times = self.times(&place)?;
                    let Some((time, relative)) = times.last() else { continue };
                    let largest = (*time, place.base + i64::from(*relative));
                    if place.next_base.is_some() {
                        let mut segments = self.segments.lock();
                        if let Some(s) = segments.list.iter_mut().find(|s| s.base == place.base) {
                            s.largest = Some(largest);
                        }
                    }
                    largest
                }
            };
            found.push((place, largest));
        }
        Ok(found)
    }

    /// See [`crate::Partition::offset_for_timestamp`].
    pub(crate) fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<(Offset, i64)>, ReadError> {
        if self.is_deleted() {
            return Err(self.unknown());
        }
        for (place, (largest, _)) in self.places_by_time()? {
            if largest < timestamp_ms {
                continue;
            }
            // Everything up to the last entry below the asked time is older.
            let times = self.times(&place)?;
            let older = times.partition_point(|(time, _)| *time < timestamp_ms);
            let from = match older.checked_sub(1) {
                Some(last) => place.base + i64::from(times[last].1) + 1,
                None => place.base,
            };
            let from = from.max(self.log_start());
            if let Some(found) = self.first_record(&place, from, |time| time >= timestamp_ms)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// See [`crate::Partition::max_timestamp`].
    pub(crate) fn max_timestamp(&self) -> Result<Option<(Offset, i64)>, ReadError> {
        if self.is_deleted() {
            return Err(self.unknown());
        }
        let mut best: Option<(Place, (i64, Offset))> = None;
        for (place, largest) in self.places_by_time()? {
            if best.as_ref().is_none_or(|(_, (time, _))| largest.0 > *time) {
                best = Some((place, largest));
            }
        }
        let Some((place, (time, last_offset))) = best else { return Ok(None) };
        let (batch, _) = self.find(last_offset, LOOK_BYTES)?;
        self.first_record(&place, batch.base_offset(), |t| t >= time)
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
        let (first, mut walk) = self.find(from, WALK_BYTES)?;
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
        Ok(Some(self.find(offset, LOOK_BYTES)?.0.content_hash()))
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        if self.deleted.load(Ordering::Acquire) { 0 } else { self.segments.lock().size_bytes() }
    }
}
