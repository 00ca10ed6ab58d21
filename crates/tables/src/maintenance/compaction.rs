//! Compaction: many small files become few large ones.
//!
//! Owns: reading the chosen files, writing their rows anew in the current columns, the report.
//! Does not own: the choice (`pack`), the commit (`commit/replace`), deleting what was replaced (`expiry`).
//! Invariants: the same rows before and after; memory holds one input file, one output file and one batch, or the rows
//! of one sort. Left alone, and said so: files that delete files of another engine touch, files without field ids, files
//! that are not Parquet, tables of format 1 and 3.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use base::Shutdown;
use iceberg::spec::{DataFileFormat, FormatVersion, Operation};

use super::pack::{self, Bin, Bounds, Candidate};
use super::sort::{Order, SORT_ORDER};
use super::{Limits, MaintenanceError};
use crate::catalog::{Table, TableIdent, Tables};
use crate::commit::layout::Layout;
use crate::commit::replace::{Exchange, Replacement, Standing, present_partition};
use crate::manifests::LiveEntry;
use crate::writer::{Matching, StagedFiles, TableWriter};

/// How to compact.
#[derive(Debug, Clone, Default)]
pub struct Compact {
    /// Only says what would be done.
    pub dry_run: bool,
    /// Takes partitions that still get files as if they did not.
    pub all: bool,
    /// Ends early when asked to; what was written so far is deleted.
    pub stop: Option<Shutdown>,
}

/// What a compaction has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// The snapshot that it made; none when there was nothing to do.
    pub snapshot_id: Option<i64>,
    pub files_before: usize,
    pub files_after: usize,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub rows: u64,
    /// Limits have left work for the next run.
    pub more: bool,
    /// What was not touched, and why.
    pub left_alone: Vec<String>,
}

impl Tables {
    /// Puts small files of main's head together: one commit, within [`Limits`]. CPU-bound: run it on the compute runtime.
    pub async fn compact(&self, ident: &TableIdent, how: &Compact) -> Result<Compacted, MaintenanceError> {
        let table = self.load(ident).await?;
        let mut done = Compacted::default();
        if table.metadata.format_version() != FormatVersion::V2 {
            done.left_alone.push(format!("the table has format {}", table.metadata.format_version()));
            return Ok(done);
        }
        // A table that was rolled back waits for its operator, and so do its files.
        table.progress()?;
        let standing = self.standing(&table).await?;
        let (entries, bins) = self.chosen(&table, &standing, how, &mut done);
        if how.dry_run {
            done.files_before = bins.iter().map(|b| b.files.len()).sum();
            done.bytes_before = bins.iter().flat_map(|b| &b.files).map(|at| size(&entries, *at)).sum();
            done.files_after = bins.len();
            if bins.is_empty() {
                done.left_alone.push(nothing_to_gain(&table, &standing, self.settings()));
            }
            return Ok(done);
        }
        let mut exchanges = Vec::new();
        for bin in bins {
            let inputs: Vec<LiveEntry> =
                bin.files.iter().filter_map(|at| entries.get(*at)).cloned().collect();
            match self.rewrite(&table, &bin, &inputs, how).await? {
                Ok(outputs) => {
                    let Bin { spec_id, partition, .. } = bin;
                    exchanges.push(Exchange { spec_id, partition, inputs, outputs });
                }
                Err(reason) => done.left_alone.push(reason),
            }
        }
        if exchanges.is_empty() {
            return Ok(done);
        }
        self.exchange(&table, exchanges, done).await
    }

    async fn exchange(
        &self,
        table: &Table,
        exchanges: Vec<Exchange>,
        mut done: Compacted,
    ) -> Result<Compacted, MaintenanceError> {
        let sizes: Vec<_> = exchanges.iter().map(figures).collect();
        let summary = BTreeMap::from([("frazil.maintenance".to_owned(), "compaction".to_owned())]);
        let replacement = Replacement { layout: Layout::MergeSmall, operation: Operation::Replace, summary };
        let replaced = self.replace(table, exchanges, replacement).await?;
        done.snapshot_id = replaced.snapshot_id;
        for figures in replaced.made.iter().filter_map(|at| sizes.get(*at)) {
            done.files_before += figures.files_before;
            done.files_after += figures.files_after;
            done.bytes_before += figures.bytes_before;
            done.bytes_after += figures.bytes_after;
            done.rows += figures.rows;
        }
        let dropped = sizes.len() - replaced.made.len();
        if dropped > 0 {
            done.left_alone.push(format!("{dropped} groups of files had changed meanwhile"));
        }
        Ok(done)
    }

    /// The live files, and which of them become one.
    fn chosen(
        &self,
        table: &Table,
        standing: &Standing,
        how: &Compact,
        done: &mut Compacted,
    ) -> (Vec<LiveEntry>, Vec<Bin>) {
        let limits = &self.settings().maintenance;
        let (mut entries, mut candidates, mut others) = (Vec::new(), Vec::new(), 0);
        for (spec_id, entry) in standing.files() {
            let partition = present_partition(table, spec_id, entry);
            let touched = standing.deletes.touch(spec_id, &partition);
            if entry.file.file_format() != DataFileFormat::Parquet || touched {
                others += 1;
                continue;
            }
            let came = table.metadata.snapshot_by_id(entry.snapshot_id).map(|s| s.timestamp_ms());
            candidates.push(Candidate {
                index: entries.len(),
                spec_id,
                partition,
                bytes: entry.file.file_size_in_bytes(),
                sequence: entry.sequence,
                // The snapshot that brought it has expired: that was long ago.
                added_ms: came.unwrap_or(i64::MIN),
            });
            entries.push(entry.clone());
        }
        if others > 0 {
            done.left_alone.push(format!(
                "{others} files that are not Parquet, or lie in partitions with delete files of another engine"
            ));
        }
        let target_bytes = crate::writer::target_bytes(&table.metadata, self.settings());
        let choice = pack::choose(candidates, &bounds(limits, target_bytes, how.all, self.now_ms()));
        done.more = choice.more;
        (entries, choice.bins)
    }

    /// The rows of some files in new ones; the inner error says why the files are left alone.
    async fn rewrite(
        &self,
        table: &Table,
        bin: &Bin,
        inputs: &[LiveEntry],
        how: &Compact,
    ) -> Result<Result<StagedFiles, String>, MaintenanceError> {
        let missing = || MaintenanceError::Invalid(format!("{} has no spec {}", table.ident, bin.spec_id));
        let spec = table.metadata.partition_spec_by_id(bin.spec_id).ok_or_else(missing)?;
        let mut writer = self.partition_writer(table, Arc::clone(spec), bin.partition.clone())?;
        let order = match table.metadata.properties().get(SORT_ORDER) {
            None => None,
            Some(text) => Order::parse(text, writer.schema()).map_err(|why| {
                MaintenanceError::Invalid(format!("{SORT_ORDER} of table {}: {why}", table.ident))
            })?,
        };
        let mut sorted =
            Sorted { order, batches: Vec::new(), bytes: 0, most: self.settings().maintenance.sort_bytes };
        let mut rows = 0;
        for input in inputs {
            if how.stop.as_ref().is_some_and(Shutdown::is_requested) {
                self.give_up(writer).await;
                return Err(MaintenanceError::Invalid("the node is stopping".into()));
            }
            match self.copy(input, &mut writer, &mut sorted).await {
                Ok(Ok(copied)) => rows += copied,
                Ok(Err(reason)) => {
                    self.give_up(writer).await;
                    return Ok(Err(reason));
                }
                Err(error) => {
                    self.give_up(writer).await;
                    return Err(error);
                }
            }
        }
        sorted.flush(&mut writer).await?;
        let staged = writer.finish().await?;
        let expected: u64 = inputs.iter().map(|i| i.file.record_count()).sum();
        if rows != expected || staged.rows() != expected {
            let reason = format!("{} files say {expected} rows and have {rows}", inputs.len());
            self.delete_staged(&staged).await;
            return Ok(Err(reason));
        }
        Ok(Ok(staged))
    }

    /// Copies one file; the inner error says why it is left alone.
    async fn copy(
        &self,
        input: &LiveEntry,
        writer: &mut TableWriter,
        sorted: &mut Sorted,
    ) -> Result<Result<u64, String>, MaintenanceError> {
        let location = input.file.file_path();
        let unreadable = |e: &dyn std::fmt::Display| format!("{location}: {e}");
        let builder = match self.open_data_file(location).await? {
            Ok(builder) => builder,
            Err(why) => return Ok(Err(unreadable(&why))),
        };
        let mut rows = 0;
        let reader = match builder.build() {
            Ok(reader) => reader,
            Err(e) => return Ok(Err(unreadable(&e))),
        };
        for batch in reader {
            let batch = match batch {
                Ok(batch) => batch,
                Err(e) => return Ok(Err(unreadable(&e))),
            };
            rows += batch.num_rows() as u64;
            match sorted.write(&batch, writer).await {
                Ok(()) => {}
                Err(crate::WriteError::SchemaMismatch { column, table, rows }) => {
                    return Ok(Err(unreadable(&format!(
                        "column {column} is {rows} and cannot become {table}"
                    ))));
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Ok(rows))
    }

    /// Deletes what a writer has staged: it is certain that nobody will commit it.
    async fn give_up(&self, writer: TableWriter) {
        self.delete_staged(&writer.abandon()).await;
    }

    async fn delete_staged(&self, staged: &StagedFiles) {
        let files: Vec<String> = staged.files.iter().map(|f| f.file_path().to_owned()).collect();
        self.delete_rejected(&files).await;
    }
}

/// Why a compaction would do nothing.
fn nothing_to_gain(table: &Table, standing: &Standing, settings: &crate::Settings) -> String {
    let target = crate::writer::target_bytes(&table.metadata, settings);
    let (mut files, mut small) = (0, 0);
    for (_, entry) in standing.files() {
        files += 1;
        small += usize::from(pack::is_small(entry.file.file_size_in_bytes(), target));
    }
    match (files, small) {
        (0, _) => "the table has no data files".into(),
        (files, 0) => format!("none of the {files} files is small: they become about {target} bytes large"),
        (files, small) => format!(
            "{small} of {files} files are small, too few of one partition and size to be worth it (from {} on in \
             partitions that still get files; --all takes those as if they did not)",
            settings.maintenance.files_min
        ),
    }
}

fn bounds(limits: &Limits, target_bytes: u64, all: bool, now: i64) -> Bounds {
    Bounds {
        target_bytes,
        files_max: limits.files_max,
        bytes_max: limits.bytes_max,
        files_min: limits.files_min,
        closed_before_ms: if all { i64::MAX } else { now.saturating_sub(limits.closed_after_ms) },
    }
}

fn size(entries: &[LiveEntry], at: usize) -> u64 {
    entries.get(at).map_or(0, |e| e.file.file_size_in_bytes())
}

fn figures(exchange: &Exchange) -> Compacted {
    Compacted {
        files_before: exchange.inputs.len(),
        files_after: exchange.outputs.len(),
        bytes_before: exchange.inputs.iter().map(|i| i.file.file_size_in_bytes()).sum(),
        bytes_after: exchange.outputs.bytes(),
        rows: exchange.outputs.rows(),
        ..Compacted::default()
    }
}

/// Rows on their way into the writer: at once, or sorted in portions, each in files of its own.
struct Sorted {
    order: Option<Order>,
    batches: Vec<RecordBatch>,
    bytes: usize,
    most: usize,
}

impl Sorted {
    async fn write(
        &mut self,
        batch: &RecordBatch,
        writer: &mut TableWriter,
    ) -> Result<(), crate::WriteError> {
        if self.order.is_none() {
            return writer.write_matching(batch, Matching::ById).await;
        }
        let batch = writer.aligned(batch, Matching::ById)?;
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        if self.bytes >= self.most { self.flush(writer).await } else { Ok(()) }
    }

    async fn flush(&mut self, writer: &mut TableWriter) -> Result<(), crate::WriteError> {
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        let Some(order) = self.order.as_ref().filter(|_| !batches.is_empty()) else { return Ok(()) };
        let schema = Arc::clone(writer.schema());
        let rows = order.sort(&batches, &schema).map_err(crate::WriteError::Parquet)?;
        writer.write_matching(&rows, Matching::ById).await?;
        writer.roll().await
    }
}
