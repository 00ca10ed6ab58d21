//! The segments of one partition.
//!
//! Owns: which segments there are, the active one's index, writing batches at its end, rolling.
//! Does not own: syncing (checkpoints do), reading beyond finding a place.
//! Invariants: a segment is named by its first offset and holds verbatim v2 batches without gaps; only the log writer
//! changes the active one and begins another; closed ones are removed by `log_start` and replaced by `compaction`.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use base::Offset;
use storage::layout;

use super::index::Index;
use super::partition::PartitionState;
use super::retention::SegmentFacts;
use crate::batch::check::{CheckedBatch, Facts};

/// Bytes of a partition that are synced ahead of the next checkpoint.
const SYNC_BYTES: u64 = 2 << 20;
/// Positions in an index are 32 bits.
const SEGMENT_BYTES_LIMIT: u64 = i32::MAX as u64;

/// A segment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// First offset; its name.
    pub base: Offset,
    /// Bytes.
    pub len: u64,
    /// Largest timestamp and the last offset of its batch; none when it has not been asked for yet.
    pub largest: Option<(i64, Offset)>,
    /// When its first and its last batch were appended, by this machine's clock, ms.
    pub begun_ms: i64,
    pub written_ms: i64,
    /// Compaction has put it here, and its file still has another name.
    pub swapped: bool,
}

/// All segments of a partition, in order of offsets.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// The last one is active.
    pub list: Vec<Segment>,
    /// Index of the active one.
    pub index: Index,
    /// Next offset: one past the last batch.
    pub end: Offset,
    /// Segments with bytes that were not synced since the last checkpoint.
    pub dirty: Vec<Offset>,
    /// Whether there are names in the directory that were not synced.
    pub new_names: bool,
    /// Bytes written since the disk was last asked to take them, see [`PartitionState::write`].
    pub unsynced: u64,
}

/// Where to begin to read.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub base: Offset,
    pub len: u64,
    /// First offset of the next segment; none when this is the active one.
    pub next_base: Option<Offset>,
    /// See [`Segment::swapped`].
    pub swapped: bool,
    /// Entry of the index to begin at: relative last offset of a batch, its position.
    pub entry: Option<(u32, u32)>,
}

impl Segment {
    /// A segment that begins now.
    pub(crate) fn empty(base: Offset, now_ms: i64) -> Self {
        Self { base, len: 0, largest: None, begun_ms: now_ms, written_ms: now_ms, swapped: false }
    }
}

impl Segments {
    /// The segment that holds `offset`, with the index entry before it when that is in memory.
    pub(crate) fn locate(&self, offset: Offset) -> Option<Place> {
        let number = self.list.partition_point(|s| s.base <= offset).checked_sub(1)?;
        let segment = &self.list[number];
        let next_base = self.list.get(number + 1).map(|s| s.base);
        let entry = match next_base {
            Some(_) => None,
            None => u32::try_from(offset - segment.base).ok().and_then(|r| self.index.floor(r)),
        };
        Some(Place { base: segment.base, len: segment.len, next_base, swapped: segment.swapped, entry })
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.list.iter().map(|s| s.len).sum()
    }

    fn mark_dirty(&mut self, base: Offset) {
        if self.dirty.last() != Some(&base) {
            self.dirty.push(base);
        }
    }
}

impl PartitionState {
    pub(crate) fn segment_file(&self, base: Offset, extension: &str) -> PathBuf {
        layout::segment_file(&self.dir, base, extension)
    }

    /// All segments as retention sees them.
    pub(crate) fn segment_facts(&self) -> Vec<SegmentFacts> {
        let segments = self.segments.lock();
        let facts = |s: &Segment| SegmentFacts {
            base: s.base,
            len: s.len,
            begun_ms: s.begun_ms,
            written_ms: s.written_ms,
        };
        segments.list.iter().map(facts).collect()
    }

    /// Whether a segment is (still) there.
    pub(crate) fn has_segment(&self, base: Offset) -> bool {
        self.segments.lock().list.iter().any(|s| s.base == base)
    }

    /// Closes the active segment although it is not full; it needs no room. Call it on the log writer only.
    pub(crate) fn close_active(&self, now_ms: i64) {
        let mut segments = self.segments.lock();
        if segments.list.last().is_some_and(|active| active.len > 0) {
            let end = segments.end;
            self.begin_segment(&mut segments, end, now_ms);
        }
    }

    /// Closes the active segment, if there is one, and begins another.
    fn begin_segment(&self, segments: &mut Segments, base: Offset, now_ms: i64) {
        // Its index files end here: they are synced with it.
        if let Some(closed) = segments.list.last().map(|s| s.base) {
            segments.mark_dirty(closed);
        }
        segments.index.seal();
        if let Err(error) = self.write_index(segments, true)
            && let Some(closed) = segments.list.last().map(|s| s.base)
        {
            // It can be built again from the segment, as long as no half of it is left.
            tracing::warn!(topic = %self.name, partition = self.index, %error, "cannot write an index");
            for extension in ["index", "timeindex"] {
                let _ = self.files.disk().remove_file(&self.segment_file(closed, extension));
            }
        }
        if let Some((time, relative)) = segments.index.largest
            && let Some(active) = segments.list.last_mut()
        {
            active.largest = Some((time, active.base + i64::from(relative)));
        }
        segments.index = Index::default();
        segments.list.push(Segment::empty(base, now_ms));
    }

    /// Writes batches behind the last one, without syncing. They become readable with the durable mark. Gives the segment
    /// of which enough has come together to be synced now: a checkpoint that had to sync it all at once would hold up
    /// the syncs of the write-ahead log.
    pub(crate) fn write(
        &self,
        batches: &[(&CheckedBatch, Facts)],
        now_ms: i64,
    ) -> io::Result<Option<Offset>> {
        let mut rest = batches;
        while let Some((first, facts)) = rest.first() {
            let (base, position) = self.writable(facts.base_offset, first.size() as u64, now_ms);
            let room = self.segment_limit().saturating_sub(position);
            let mut size = 0;
            let fitting = rest
                .iter()
                .take_while(|(batch, facts)| {
                    size += batch.size() as u64;
                    size <= room && fits(base, facts)
                })
                .count()
                .max(1);
            let (now, later) = rest.split_at(fitting);
            let slices: Vec<IoSlice<'_>> = now
                .iter()
                .flat_map(|(batch, _)| [IoSlice::new(batch.header()), IoSlice::new(batch.body())])
                .collect();
            self.files.create(&self.segment_file(base, "log"))?.write_vectored_at(position, &slices)?;
            self.note_written(base, position, now, now_ms);
            rest = later;
        }
        let segments = self.segments.lock();
        Ok(segments.list.last().filter(|_| segments.unsynced >= SYNC_BYTES).map(|active| active.base))
    }

    /// What was written so far is being synced.
    pub(crate) fn note_syncing(&self) {
        self.segments.lock().unsynced = 0;
    }

    pub(crate) fn segment_limit(&self) -> u64 {
        self.segment_bytes.load(Ordering::Relaxed).min(SEGMENT_BYTES_LIMIT)
    }

    /// The segment and position for a batch of `size` bytes at `offset`; closes the active segment when it is full.
    fn writable(&self, offset: Offset, size: u64, now_ms: i64) -> (Offset, u64) {
        let mut segments = self.segments.lock();
        let full = segments.list.last().is_none_or(|active| {
            let too_long = active.len > 0 && active.len.saturating_add(size) > self.segment_limit();
            too_long || offset - active.base > i64::from(i32::MAX) / 2
        });
        if full {
            self.begin_segment(&mut segments, offset, now_ms);
        }
        segments.list.last().map_or((offset, 0), |s| (s.base, s.len))
    }

    fn note_written(&self, base: Offset, position: u64, batches: &[(&CheckedBatch, Facts)], now_ms: i64) {
        let mut segments = self.segments.lock();
        let mut at = position;
        for (batch, facts) in batches {
            segments.index.note(base, at, batch.size(), facts, self.index_interval_bytes);
            at += batch.size() as u64;
            segments.end = facts.last_offset + 1;
        }
        segments.mark_dirty(base);
        segments.unsynced += at - position;
        let mut began = false;
        if let Some(active) = segments.list.last_mut() {
            if active.len == 0 {
                active.begun_ms = now_ms;
                began = true;
            }
            active.len = at;
            active.written_ms = now_ms;
        }
        // Its file has had a name since now only, whenever it was put on the list.
        segments.new_names |= began;
    }

    /// Brings the active segment's index files up to date; a closed segment has both, empty or not. Those of a closed
    /// segment are synced with the next checkpoint, those of the active one are counted there.
    pub(crate) fn write_index(&self, segments: &mut Segments, closed: bool) -> io::Result<()> {
        let Some(base) = segments.list.last().map(|s| s.base) else { return Ok(()) };
        let index = &mut segments.index;
        let (offsets, times) = index.written;
        if closed || offsets < index.offsets.len() {
            let file =
                self.files.disk().open(&self.segment_file(base, "index"), storage::OpenMode::Create)?;
            file.write_at((offsets * super::index::OFFSET_ENTRY) as u64, &index.offset_bytes(offsets))?;
        }
        if closed || times < index.times.len() {
            let path = self.segment_file(base, "timeindex");
            let file = self.files.disk().open(&path, storage::OpenMode::Create)?;
            file.write_at((times * super::index::TIME_ENTRY) as u64, &index.time_bytes(times))?;
        }
        index.written = (index.offsets.len(), index.times.len());
        Ok(())
    }
}

fn fits(base: Offset, facts: &Facts) -> bool {
    facts.base_offset - base <= i64::from(i32::MAX) / 2
}
