//! Staging one commit: log → rows → Parquet files.
//!
//! Owns: the lanes that decode while the writer encodes, and their bounds.
//! Does not own: deciding what to cover (`range`) or committing it.
//! Invariants: what `reached` says is exactly what was staged; memory is bounded by chunks, not by the backlog.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use base::{Offset, PartitionId};
use parking_lot::Mutex;
use queries::{DecodedRows, RejectedRecord, RowsError, TopicRows, Unseen};
use tables::{Fates, Position, StagedFiles, Table, TableWriter};
use tokio::sync::mpsc;

use crate::duties::Duties;
use crate::materialize::accounting::Accounting;
use crate::materialize::decided::{Decided, decided};
use crate::materialize::prepare::ensure_table;
use crate::materialize::range::Range;
use crate::materialize::standing::Standing;
use crate::materialize::trouble::Trouble;

/// What to stage.
struct Job<'a> {
    duties: &'a Duties,
    rows: &'a TopicRows,
    table: &'a Table,
    /// Where rejected records go; none: they are dropped.
    dead_letters: Option<&'a tables::TableIdent>,
    /// Records that are there already.
    decided: &'a Decided,
    ranges: &'a [Range],
}

/// What was staged.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) files: StagedFiles,
    /// Files of the dead-letter table; none when nothing new was rejected.
    pub(crate) dead_files: Option<StagedFiles>,
    pub(crate) reached: Reached,
    pub(crate) accounting: Accounting,
    /// Schemas that must be stored before staging goes on.
    pub(crate) unseen: Unseen,
}

/// How far each partition was staged, and what became of it on the way.
pub(crate) type Reached = BTreeMap<PartitionId, (Position, Fates)>;

type Chunk = Result<DecodedRows, RowsError>;

/// Stages the next commit of `ranges`.
pub(crate) async fn stage(
    duties: &Duties,
    standing: &Standing,
    ranges: &mut [Range],
) -> Result<Staged, Trouble> {
    let decided = decided(duties, standing, ranges).await?;
    let (rows, table, dead_letters) = (&standing.rows, &standing.table, standing.dead_letters());
    Job { duties, rows, table, dead_letters, decided: &decided, ranges }.stage().await
}

impl Job<'_> {
    /// Stages until the ranges or the limit of one commit are exhausted.
    async fn stage(self) -> Result<Staged, Trouble> {
        let (mut chunks, lanes) = self.start_lanes();
        let mut writers = Writers::new(&self);
        let mut bytes = 0;
        let mut unseen = Unseen::default();
        while let Some(chunk) = chunks.recv().await {
            let mut chunk = chunk?;
            bytes += chunk.bytes_read as u64;
            unseen = std::mem::take(&mut chunk.unseen);
            if chunk.next > chunk.from || unseen.is_empty() {
                writers.take(chunk).await?;
            }
            if !unseen.is_empty() {
                break;
            }
            let settings = &self.duties.settings;
            if bytes >= settings.backlog_bytes || writers.files() >= settings.commit_files_max {
                break;
            }
        }
        // Lanes end by themselves once nobody listens.
        drop(chunks);
        for lane in lanes {
            lane.await?;
        }
        Ok(Staged { unseen, ..writers.finish().await? })
    }

    fn start_lanes(&self) -> (mpsc::Receiver<Chunk>, Vec<tokio::task::JoinHandle<()>>) {
        let settings = &self.duties.settings;
        let (sender, receiver) = mpsc::channel(settings.chunks_ahead.max(1));
        let readable = self.ranges.iter().filter(|r| r.end > r.read_from).copied();
        let queue: Arc<Mutex<VecDeque<Range>>> = Arc::new(Mutex::new(readable.collect()));
        let lanes = settings.decode_lanes.clamp(1, self.ranges.len().max(1));
        let start = |_| {
            let (rows, queue, sender) = (self.rows.clone(), Arc::clone(&queue), sender.clone());
            let chunk_bytes = settings.chunk_bytes;
            self.duties.deps.compute.spawn_blocking(move || lane(&rows, &queue, &sender, chunk_bytes))
        };
        let handles = (0..lanes).map(start).collect();
        (receiver, handles)
    }
}

/// Decodes one partition after the other until none is left or nobody listens.
fn lane(rows: &TopicRows, queue: &Mutex<VecDeque<Range>>, sender: &mpsc::Sender<Chunk>, chunk_bytes: usize) {
    loop {
        let Some(range) = queue.lock().pop_front() else { return };
        let mut from = range.read_from;
        while from < range.end {
            let chunk = rows.decode(range.partition, from, range.end, chunk_bytes);
            let next = chunk.as_ref().ok().map(|rows| rows.next);
            if sender.blocking_send(chunk).is_err() {
                return;
            }
            match next {
                Some(next) if next > from => from = next,
                // The receiver reports an error and a standstill alike.
                _ => return,
            }
        }
    }
}

/// Both writers, and what they have taken.
struct Writers<'a> {
    job: &'a Job<'a>,
    rows: Option<TableWriter>,
    dead: Option<TableWriter>,
    reached: Reached,
    accounting: Accounting,
}

impl<'a> Writers<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        let mut accounting = Accounting::default();
        let mut reached = BTreeMap::new();
        for range in job.ranges {
            if let Some(skipped) = range.skipped() {
                accounting.skip(range.partition, skipped, !range.not_wanted);
                let position = Position { next: range.read_from, hash: 0 };
                let fates = Fates { skipped: (skipped.1 - skipped.0).unsigned_abs(), ..Fates::default() };
                reached.insert(range.partition, (position, fates));
            }
        }
        Self { job, rows: None, dead: None, reached, accounting }
    }

    async fn take(&mut self, mut chunk: DecodedRows) -> Result<(), Trouble> {
        let expected = self.expected(chunk.partition);
        if expected != Some(chunk.from) || chunk.next <= chunk.from {
            let (partition, from, next) = (chunk.partition, chunk.from, chunk.next);
            return Err(Trouble::Failed(format!(
                "decoding partition {partition} gave [{from}, {next}) where {expected:?} was next"
            )));
        }
        let settled = self.settle(&mut chunk)?;
        for batch in chunk.batches.iter().filter(|batch| batch.num_rows() > 0) {
            if self.rows.is_none() {
                self.rows = Some(self.job.duties.deps.tables.writer(self.job.table)?);
            }
            if let Some(writer) = &mut self.rows {
                writer.write(batch).await?;
            }
        }
        let (partition, position) = (chunk.partition, Position { next: chunk.next, hash: chunk.last_hash });
        let mut fates = chunk.fates;
        fates.dead_letters += settled;
        let rejected = chunk.rejected.len() as u64;
        match self.job.dead_letters {
            Some(_) => fates.dead_letters += rejected,
            None => fates.dropped += rejected,
        }
        let passed = (chunk.next - chunk.from).unsigned_abs();
        if fates.total() != passed {
            let total = fates.total();
            return Err(Trouble::Failed(format!(
                "partition {partition}: {total} of {passed} offsets from {} are accounted for",
                chunk.from
            )));
        }
        self.reject(partition, chunk.rejected).await?;
        let before = self.reached.get(&partition).map_or(Fates::default(), |(_, fates)| *fates);
        self.reached.insert(partition, (position, before.and(fates)));
        Ok(())
    }

    /// Data files that the commit would bring.
    fn files(&self) -> usize {
        self.rows.as_ref().map_or(0, TableWriter::files)
    }

    /// Takes those records out that are dead letters already, and says how many they are.
    fn settle(&mut self, chunk: &mut DecodedRows) -> Result<u64, Trouble> {
        let settled = self.job.decided.within(chunk.partition, chunk.from..chunk.next);
        if settled.is_empty() {
            return Ok(0);
        }
        let is_settled = |offset: Offset| settled.binary_search(&offset).is_ok();
        let (mut rows, rejected) = (0, chunk.rejected.len());
        for batch in &mut chunk.batches {
            let places = queries::rows::places(batch).map_err(Trouble::Failed)?;
            let keep = |place: Option<(PartitionId, Offset)>| !place.is_some_and(|(_, o)| is_settled(o));
            let keep: BooleanArray = places.into_iter().map(|place| Some(keep(place))).collect();
            rows += (keep.len() - keep.true_count()) as u64;
            *batch = filter_record_batch(batch, &keep).map_err(|e| Trouble::failed(&e))?;
        }
        chunk.rejected.retain(|record| !is_settled(record.offset));
        chunk.fates.rows -= rows;
        let settled = rows + (rejected - chunk.rejected.len()) as u64;
        self.accounting.dead_letters += settled;
        Ok(settled)
    }

    fn expected(&self, partition: PartitionId) -> Option<Offset> {
        let range = self.job.ranges.iter().find(|r| r.partition == partition)?;
        Some(self.reached.get(&partition).map_or(range.read_from, |(position, _)| position.next))
    }

    async fn reject(&mut self, partition: PartitionId, rejected: Vec<RejectedRecord>) -> Result<(), Trouble> {
        let Some(ident) = self.job.dead_letters else {
            for record in &rejected {
                self.accounting.drop_record(partition, record.offset);
            }
            return Ok(());
        };
        self.accounting.dead_letters += rejected.len() as u64;
        if rejected.is_empty() {
            return Ok(());
        }
        if self.dead.is_none() {
            let columns = TopicRows::dead_letter_columns();
            let table = ensure_table(self.job.duties, ident, &columns, "()").await?;
            self.dead = Some(self.job.duties.deps.tables.writer(&table)?);
        }
        if let Some(writer) = &mut self.dead {
            writer.write(&TopicRows::dead_letter_rows(&rejected)).await?;
        }
        Ok(())
    }

    async fn finish(self) -> Result<Staged, Trouble> {
        let files = match self.rows {
            Some(writer) => writer.finish().await?,
            None => StagedFiles::default(),
        };
        let dead_files = match self.dead {
            Some(writer) => Some(writer.finish().await?),
            None => None,
        };
        let Self { reached, accounting, .. } = self;
        Ok(Staged { files, dead_files, reached, accounting, unseen: Unseen::default() })
    }
}
