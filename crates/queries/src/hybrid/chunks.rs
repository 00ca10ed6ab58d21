//! Decoded pieces of the log, kept for the next statement.
//!
//! Owns: chunks of Arrow rows by topic, partition and offset, under one budget for the node; decoding again what is
//! not kept.
//! Does not own: decoding itself (`rows`).
//! Invariants: a chunk covers `[from, next)` entirely; chunks of a partition do not overlap; what is kept never
//! exceeds the budget; dropping a chunk only costs time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use base::{Offset, PartitionId, TopicId};
use parking_lot::Mutex;

use crate::error::SqlError;
use crate::read_view::TailKind;
use crate::rows::TopicRows;

/// Log bytes decoded at once.
const DECODE_BYTES: usize = 4 << 20;
/// A chunk smaller than this takes up its successor, so that many small reads do not leave many small chunks.
const SMALL_BYTES: usize = 1 << 20;

/// Which decoding of which partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ChunkKey {
    topic: TopicId,
    partition: PartitionId,
    /// [`TopicRows::identity`].
    decoding: u64,
    kind: TailKind,
}

impl ChunkKey {
    fn of(rows: &TopicRows, kind: TailKind, partition: PartitionId) -> Self {
        Self { topic: rows.topic().id, partition, decoding: rows.identity(), kind }
    }
}

#[derive(Debug, Clone)]
struct Chunk {
    next: Offset,
    batches: Arc<Vec<RecordBatch>>,
    bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct Kept {
    chunks: HashMap<ChunkKey, BTreeMap<Offset, Chunk>>,
    bytes: usize,
    clock: u64,
}

/// The chunks of a node.
#[derive(Debug)]
pub(crate) struct TailChunks {
    budget: usize,
    kept: Mutex<Kept>,
}

/// Rows of `[asked, next)`.
#[derive(Debug)]
pub(crate) struct TailRows {
    pub batches: Vec<RecordBatch>,
    pub next: Offset,
}

impl TailChunks {
    pub(crate) fn new(budget: u64) -> Self {
        Self { budget: usize::try_from(budget).unwrap_or(usize::MAX), kept: Mutex::default() }
    }

    /// Rows from `from` on, up to `end` at most and for as far as one chunk goes. Blocking when it has to decode.
    pub(crate) fn read(
        &self,
        rows: &TopicRows,
        kind: TailKind,
        partition: PartitionId,
        from: Offset,
        end: Offset,
    ) -> Result<TailRows, SqlError> {
        let key = ChunkKey::of(rows, kind, partition);
        let stop = match self.kept.lock().find(&key, from) {
            Found::Chunk(chunk) => return slice(&chunk.batches, from, chunk.next.min(end), chunk.next),
            Found::Gap(next) => next.map_or(end, |n| n.min(end)),
        };
        let decoded = rows.decode_known(partition, from, stop, DECODE_BYTES)?;
        if decoded.next <= from && !decoded.unseen.is_empty() {
            // Which columns a schema brings is not decided before it is stored: what it is in is read after that.
            return Ok(TailRows { batches: Vec::new(), next: end });
        }
        if decoded.next <= from {
            return Err(SqlError::new(
                "58030",
                format!(
                    "cannot read {}-{partition} at offset {from}: the log has moved on",
                    rows.topic().name
                ),
            )
            .with_hint("run the statement again"));
        }
        let batches = match kind {
            TailKind::Rows => decoded.batches,
            TailKind::DeadLetters if decoded.rejected.is_empty() => Vec::new(),
            TailKind::DeadLetters => vec![TopicRows::dead_letter_rows(&decoded.rejected)],
        };
        let batches: Vec<RecordBatch> = batches.into_iter().filter(|b| b.num_rows() > 0).collect();
        let next = decoded.next.min(stop);
        let chunk = Chunk { next, bytes: size_of(&batches), batches: Arc::new(batches), used: 0 };
        let rows = chunk.batches.as_ref().clone();
        self.kept.lock().keep(key, from, chunk, self.budget);
        Ok(TailRows { batches: rows, next })
    }

    /// Whether everything of a range is kept, and if so how many rows it has.
    pub(crate) fn row_count(
        &self,
        rows: &TopicRows,
        kind: TailKind,
        partition: PartitionId,
        from: Offset,
        end: Offset,
    ) -> Option<usize> {
        let key = ChunkKey::of(rows, kind, partition);
        let kept = self.kept.lock();
        let chunks = kept.chunks.get(&key)?;
        let (mut at, mut count) = (from, 0);
        while at < end {
            let (_, chunk) = chunks.range(..=at).next_back().filter(|(_, c)| c.next > at)?;
            let part = slice(&chunk.batches, at, chunk.next.min(end), chunk.next).ok()?;
            count += part.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            at = chunk.next;
        }
        Some(count)
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }
}

enum Found {
    Chunk(Chunk),
    /// Nothing at the offset; where the next chunk begins.
    Gap(Option<Offset>),
}

impl Kept {
    fn find(&mut self, key: &ChunkKey, offset: Offset) -> Found {
        self.clock += 1;
        let clock = self.clock;
        let Some(chunks) = self.chunks.get_mut(key) else { return Found::Gap(None) };
        if let Some((_, chunk)) = chunks.range_mut(..=offset).next_back()
            && chunk.next > offset
        {
            chunk.used = clock;
            return Found::Chunk(chunk.clone());
        }
        Found::Gap(chunks.range(offset..).next().map(|(from, _)| *from))
    }

    fn keep(&mut self, key: ChunkKey, from: Offset, mut chunk: Chunk, budget: usize) {
        self.clock += 1;
        chunk.used = self.clock;
        let chunks = self.chunks.entry(key).or_default();
        // Somebody else may have decoded the same meanwhile.
        let overlaps = chunks.range(..chunk.next).next_back().is_some_and(|(_, c)| c.next > from);
        if overlaps || chunk.bytes > budget {
            return;
        }
        let before =
            chunks.range(..from).next_back().filter(|(_, c)| c.next == from && c.bytes < SMALL_BYTES);
        let mut start = from;
        if let Some((&at, small)) = before
            && let Some(merged) = merge(small, &chunk)
        {
            self.bytes -= small.bytes;
            start = at;
            chunk = Chunk { used: chunk.used, ..merged };
        }
        self.bytes += chunk.bytes;
        chunks.insert(start, chunk);
        while self.bytes > budget && self.drop_oldest() {}
    }

    fn drop_oldest(&mut self) -> bool {
        let all = self
            .chunks
            .iter()
            .flat_map(|(key, chunks)| chunks.iter().map(move |(at, c)| (c.used, *key, *at)));
        let Some((_, key, at)) = all.min_by_key(|(used, ..)| *used) else { return false };
        if let Some(chunks) = self.chunks.get_mut(&key) {
            if let Some(chunk) = chunks.remove(&at) {
                self.bytes -= chunk.bytes;
            }
            if chunks.is_empty() {
                self.chunks.remove(&key);
            }
        }
        true
    }
}

/// Two neighbours as one; none when their rows do not fit together.
fn merge(first: &Chunk, second: &Chunk) -> Option<Chunk> {
    let mut batches: Vec<RecordBatch> = first.batches.iter().chain(second.batches.iter()).cloned().collect();
    if let Some(schema) = batches.first().map(RecordBatch::schema)
        && batches.len() > 4
    {
        batches = vec![concat_batches(&schema, &batches).ok()?];
    }
    let bytes = size_of(&batches);
    Some(Chunk { next: second.next, batches: Arc::new(batches), bytes, used: 0 })
}

fn size_of(batches: &[RecordBatch]) -> usize {
    // A chunk without rows still costs its entry.
    64 + batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>()
}

/// The rows of `[from, end)` by their `redpanda.offset`; `next` is where the chunk ends.
fn slice(batches: &[RecordBatch], from: Offset, end: Offset, next: Offset) -> Result<TailRows, SqlError> {
    let mut parts = Vec::with_capacity(batches.len());
    for batch in batches {
        let offsets = offsets_of(batch)?;
        let low = offsets.partition_point(|o| *o < from);
        let high = offsets.partition_point(|o| *o < end);
        if low < high {
            parts.push(batch.slice(low, high - low));
        }
    }
    Ok(TailRows { batches: parts, next: next.min(end) })
}

/// `redpanda.offset` of each row: ascending, as rows are in offset order.
fn offsets_of(batch: &RecordBatch) -> Result<&[i64], SqlError> {
    batch
        .column_by_name("redpanda")
        .and_then(|c| c.as_struct_opt())
        .and_then(|s| s.column_by_name("offset"))
        .filter(|c| c.null_count() == 0)
        .and_then(|c| c.as_primitive_opt::<Int64Type>())
        .map(|c| c.values().as_ref())
        .ok_or_else(|| SqlError::internal("decoded rows have no redpanda.offset"))
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
