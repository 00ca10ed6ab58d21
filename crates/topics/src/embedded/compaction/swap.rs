//! A cleaned segment, from its first byte to its place among the others.
//!
//! Owns: the files of a cleaned segment, replacing old segments by it, completing or undoing that after a crash.
//! Does not own: what is in it.
//! Invariants: at any crash the log has the old segments or the new one, never both and never a mix.
//!
//! The steps are Kafka's. Names end with `.cleaned` while they are written. Once the records are synced, they are
//! renamed to `.swap`: from when that is durable, a start completes what follows. The old segments that the new one
//! covers besides its own name are removed, durably; then the new one takes its name. Readers find the new one in the
//! list as soon as `.swap` is durable, wherever its file is just then.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base::Offset;
use storage::{DiskFile, OpenMode};

use crate::batch::check::Facts;
use crate::embedded::index::Index;
use crate::embedded::log_start::EXTENSIONS;
use crate::embedded::partition::PartitionState;
use crate::embedded::retention::SegmentFacts;
use crate::embedded::segments::Segment;
use crate::embedded::shared::Shared;
use crate::embedded::walk::Walk;
use crate::error::ReadError;

pub(crate) const CLEANED: &str = ".cleaned";
pub(crate) const SWAP: &str = ".swap";
/// Written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A segment that is being written beside the ones that it will replace.
#[derive(Debug)]
pub(super) struct Cleaned<'a> {
    partition: &'a PartitionState,
    base: Offset,
    file: Arc<dyn DiskFile>,
    /// Bytes that are in the file, and those that wait.
    written: u64,
    waiting: Vec<u8>,
    index: Index,
}

impl<'a> Cleaned<'a> {
    pub(super) fn begin(partition: &'a PartitionState, base: Offset) -> io::Result<Self> {
        let file = partition.files.disk().open(&named(partition, base, "log", CLEANED), OpenMode::Create)?;
        file.set_len(0)?;
        Ok(Self { partition, base, file, written: 0, waiting: Vec::new(), index: Index::default() })
    }

    fn len(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    /// Adds a batch.
    pub(super) fn push(&mut self, batch: &[u8]) -> io::Result<()> {
        let facts = Facts::of(batch);
        let position = self.len();
        self.index.note(self.base, position, batch.len(), &facts, self.partition.index_interval_bytes);
        self.waiting.extend_from_slice(batch);
        if self.waiting.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_at(self.written, &self.waiting);
        if written.is_err() {
            self.remove(CLEANED);
        }
        written?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Leaves everything as it was.
    pub(super) fn discard(&self) {
        self.remove(CLEANED);
    }

    fn remove(&self, suffix: &str) {
        for extension in EXTENSIONS {
            // What stays is removed at the next start, or written over by the next pass.
            let _ =
                self.partition.files.disk().remove_file(&named(self.partition, self.base, extension, suffix));
        }
    }

    /// Puts it in the place of `group`, whose first segment has its name; none when the list has changed meanwhile.
    /// Returns its size.
    pub(super) fn replace(
        mut self,
        shared: &Shared,
        group: &[SegmentFacts],
    ) -> Result<Option<u64>, ReadError> {
        self.flush()?;
        self.index.seal();
        // Deleting records by request waits for this, and the other way round.
        let _one = shared.log_starts.lock();
        if !self.partition.still_has(group) {
            self.discard();
            return Ok(None);
        }
        match self.swap(group) {
            Ok(()) => Ok(Some(self.written)),
            Err(_) if self.partition.is_deleted() => Ok(None),
            Err(error) => {
                // Nobody knows what the directory holds now: the next start finds out.
                shared.go_offline(&format!("cannot replace a segment: {error}"));
                Err(error.into())
            }
        }
    }

    fn swap(&self, group: &[SegmentFacts]) -> io::Result<()> {
        let (partition, disk) = (self.partition, self.partition.files.disk());
        self.file.sync_data()?;
        for (extension, bytes) in
            [("index", self.index.offset_bytes(0)), ("timeindex", self.index.time_bytes(0))]
        {
            let file = disk.open(&named(partition, self.base, extension, CLEANED), OpenMode::Create)?;
            file.set_len(0)?;
            file.write_at(0, &bytes)?;
            disk.rename(
                &named(partition, self.base, extension, CLEANED),
                &named(partition, self.base, extension, SWAP),
            )?;
        }
        disk.rename(&named(partition, self.base, "log", CLEANED), &named(partition, self.base, "log", SWAP))?;
        disk.sync_dir(&partition.dir)?;
        partition.put_swapped(group, self.written, &self.index);
        for old in group.get(1..).unwrap_or_default() {
            partition.remove_files(old.base)?;
        }
        if group.len() > 1 {
            disk.sync_dir(&partition.dir)?;
        }
        partition.take_name(self.base)?;
        disk.sync_dir(&partition.dir)
    }
}

fn named(partition: &PartitionState, base: Offset, extension: &str, suffix: &str) -> PathBuf {
    partition.segment_file(base, &format!("{extension}{suffix}"))
}

impl PartitionState {
    fn still_has(&self, group: &[SegmentFacts]) -> bool {
        let segments = self.segments.lock();
        let first = group.first().map_or(0, |s| s.base);
        let start = segments.list.partition_point(|s| s.base < first);
        let there = segments.list.get(start..start + group.len()).unwrap_or_default();
        // The active one is not among them.
        there.len() == group.len()
            && start + group.len() < segments.list.len()
            && there.iter().zip(group).all(|(have, want)| (have.base, have.len) == (want.base, want.len))
    }

    /// Puts the swapped segment on the list instead of `group`.
    fn put_swapped(&self, group: &[SegmentFacts], len: u64, index: &Index) {
        let Some((first, last)) = group.first().zip(group.last()) else { return };
        let mut segments = self.segments.lock();
        let start = segments.list.partition_point(|s| s.base < first.base);
        let largest = index.largest.map(|(time, relative)| (time, first.base + i64::from(relative)));
        let segment = Segment {
            base: first.base,
            len,
            largest,
            begun_ms: first.begun_ms,
            written_ms: group.iter().map(|s| s.written_ms).max().unwrap_or(last.written_ms),
            swapped: true,
        };
        segments.list.splice(start..start + group.len(), [segment]);
        for old in group {
            self.forget_files(old.base);
        }
    }

    /// Gives a swapped segment its name.
    fn take_name(&self, base: Offset) -> io::Result<()> {
        let mut segments = self.segments.lock();
        let disk = self.files.disk();
        for extension in EXTENSIONS {
            let swapped = named(self, base, extension, SWAP);
            if disk.exists(&swapped) {
                disk.rename(&swapped, &self.segment_file(base, extension))?;
            }
        }
        self.files.forget(&named(self, base, "log", SWAP));
        self.forget_files(base);
        if let Some(segment) = segments.list.iter_mut().find(|s| s.base == base) {
            segment.swapped = false;
        }
        Ok(())
    }

    /// After a crash: removes what was only being written, completes what was being swapped.
    pub(crate) fn complete_swaps(&self) -> Result<(), ReadError> {
        let disk = Arc::clone(self.files.disk());
        let entries = disk.read_dir(&self.dir)?;
        let mut changed = false;
        for entry in entries.iter().filter(|e| e.name.ends_with(CLEANED)) {
            disk.remove_file(&self.dir.join(&entry.name))?;
            changed = true;
        }
        let log_swap = format!(".log{SWAP}");
        for entry in &entries {
            let Some(base) = entry.name.strip_suffix(&log_swap).and_then(|b| b.parse::<Offset>().ok()) else {
                continue;
            };
            let end = self.end_of_swapped(base, entry.len)?;
            let covered: Vec<Offset> = super::super::checkpoint::segment_bases(&entries)
                .into_iter()
                .map(|(other, _)| other)
                .filter(|other| *other > base && *other < end)
                .collect();
            covered.iter().try_for_each(|other| self.remove_files(*other))?;
            disk.sync_dir(&self.dir)?;
            self.take_name(base)?;
            changed = true;
        }
        // Indexes that lost their segment in the middle of a swap are built again when they are asked for.
        for entry in disk.read_dir(&self.dir)?.iter().filter(|e| e.name.ends_with(SWAP)) {
            disk.remove_file(&self.dir.join(&entry.name))?;
            changed = true;
        }
        if changed {
            disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// One past the last offset of a swapped segment; it was synced, so it reads.
    fn end_of_swapped(&self, base: Offset, len: u64) -> Result<Offset, ReadError> {
        let path = named(self, base, "log", SWAP);
        let file = self.files.disk().open(&path, OpenMode::Read)?;
        let mut walk = Walk::new(file, path, len, 0, Some(base), WRITE_BYTES).with_gaps(true);
        let mut end = base;
        while let Some(batch) = walk.next(false)? {
            end = batch.last_offset().saturating_add(1);
        }
        Ok(end)
    }
}
