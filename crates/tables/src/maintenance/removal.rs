//! Taking rows out of a table whose copies lie in another one.
//!
//! Owns: finding the files that hold them, writing the rest anew, the commits.
//! Does not own: which rows (the caller says), the commit itself (`commit/replace`).
//! Invariants: a row for which the caller says *stays* is there before and after; a file without rows to take is not
//! touched; memory holds one input file and one output file. Repeating it does nothing more.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use iceberg::spec::{FormatVersion, Operation};

use super::MaintenanceError;
use crate::catalog::{Table, TableIdent, Tables};
use crate::commit::append::{pause, too_busy};
use crate::commit::layout::Layout;
use crate::commit::replace::{Exchange, Replacement, Standing, present_partition};
use crate::manifests::LiveEntry;
use crate::scan::{ScanFile, scan_file};
use crate::writer::{StagedFiles, WriteError};

/// Says which rows go.
pub trait Rows: Sync {
    /// Whether a file may hold some of them, by its bounds.
    fn may_be_in(&self, file: &ScanFile) -> bool;
    /// One bit per row of a batch in the table's present columns: true for rows that stay. The error says what about
    /// the batch is not as expected.
    fn stay(&self, batch: &RecordBatch) -> Result<BooleanArray, String>;
}

/// What was taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub rows: u64,
    /// Files that held them.
    pub files: usize,
}

impl Tables {
    /// Takes rows out of main's head, in as many commits as [`super::Limits`] ask for; `summary` goes into their
    /// snapshots. CPU-bound: run it on the compute runtime.
    pub async fn remove_rows(
        &self,
        ident: &TableIdent,
        rows: &dyn Rows,
        summary: &BTreeMap<String, String>,
    ) -> Result<Removed, MaintenanceError> {
        let attempts = self.settings().commit_attempts.max(1);
        let (mut removed, mut in_vain) = (Removed::default(), 0);
        while in_vain < attempts {
            pause(in_vain).await;
            let table = self.load(ident).await?;
            let exchanges = self.without(&table, rows).await?;
            if exchanges.is_empty() {
                return Ok(removed);
            }
            let gone =
                |e: &Exchange| e.inputs.iter().map(|i| i.file.record_count()).sum::<u64>() - e.outputs.rows();
            let counts: Vec<u64> = exchanges.iter().map(gone).collect();
            let left: u64 = exchanges.iter().map(|e| e.outputs.rows()).sum();
            let operation = if left == 0 { Operation::Delete } else { Operation::Overwrite };
            let replacement = Replacement { layout: Layout::MergeSmall, operation, summary: summary.clone() };
            let made = self.replace(&table, exchanges, replacement).await?.made;
            removed.files += made.len();
            removed.rows += made.iter().filter_map(|at| counts.get(*at)).sum::<u64>();
            in_vain = if made.is_empty() { in_vain + 1 } else { 0 };
        }
        Err(too_busy(ident, attempts).into())
    }

    /// Files with such rows, and what is to be in their place.
    async fn without(&self, table: &Table, rows: &dyn Rows) -> Result<Vec<Exchange>, MaintenanceError> {
        let ident = &table.ident;
        if table.metadata.format_version() != FormatVersion::V2 {
            let version = table.metadata.format_version();
            return Err(MaintenanceError::Invalid(format!("table {ident} has format {version}")));
        }
        // A table that was rolled back waits for its operator.
        table.progress()?;
        let standing: Standing = self.standing(table).await?;
        if standing.deletes.files > 0 {
            return Err(MaintenanceError::Invalid(format!(
                "table {ident} has {} delete files, written by another engine: rewrite its data files there first",
                standing.deletes.files
            )));
        }
        let limits = &self.settings().maintenance;
        let (mut exchanges, mut bytes) = (Vec::new(), 0);
        for (spec_id, entry) in standing.files() {
            if exchanges.len() >= limits.files_max || bytes >= limits.bytes_max {
                break;
            }
            if !rows.may_be_in(&scan_file(entry)?) || !self.holds_any(table, entry, rows).await? {
                continue;
            }
            bytes += entry.file.file_size_in_bytes();
            exchanges.push(self.rest_of(table, spec_id, entry, rows).await?);
        }
        Ok(exchanges)
    }

    async fn holds_any(
        &self,
        table: &Table,
        entry: &LiveEntry,
        rows: &dyn Rows,
    ) -> Result<bool, MaintenanceError> {
        for batch in self.rows_of(table, entry.file.file_path()).await? {
            let stay = stay(rows, &batch?, entry)?;
            if stay.true_count() < stay.len() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn rest_of(
        &self,
        table: &Table,
        spec_id: i32,
        entry: &LiveEntry,
        rows: &dyn Rows,
    ) -> Result<Exchange, MaintenanceError> {
        let missing = || MaintenanceError::Invalid(format!("{} has no spec {spec_id}", table.ident));
        let spec = Arc::clone(table.metadata.partition_spec_by_id(spec_id).ok_or_else(missing)?);
        let partition = present_partition(table, spec_id, entry);
        let mut writer = self.partition_writer(table, spec, partition.clone())?;
        for batch in self.rows_of(table, entry.file.file_path()).await? {
            let batch = batch?;
            let rest = filter_record_batch(&batch, &stay(rows, &batch, entry)?).map_err(WriteError::from)?;
            writer.write(&rest).await?;
        }
        let outputs: StagedFiles = writer.finish().await?;
        Ok(Exchange { spec_id, partition, inputs: vec![entry.clone()], outputs })
    }
}

fn stay(rows: &dyn Rows, batch: &RecordBatch, entry: &LiveEntry) -> Result<BooleanArray, MaintenanceError> {
    rows.stay(batch).map_err(|why| MaintenanceError::Invalid(format!("{}: {why}", entry.file.file_path())))
}
