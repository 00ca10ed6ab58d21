//! A catalog in a temporary directory, for tests of this crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use base::clock::ManualClock;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use storage::{Control, Objects, RealDisk, SharedDisk};
use uuid::Uuid;

use crate::catalog::Deps;
use crate::{Advance, Fates, NewTable, Position, Settings, SourceId, StagedFiles, Table, TableIdent, Tables};

/// Removes the directory at its end.
pub(crate) struct Fixture {
    path: PathBuf,
    pub(crate) tables: Tables,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn open(path: &Path, settings: Settings) -> Tables {
    let disk: SharedDisk = Arc::new(RealDisk);
    let control = Control::open(&disk, &path.join("control.redb")).expect("control");
    let objects = Objects::local(disk, path.join("warehouse"));
    // A clock that stands still far in the past: nothing may depend on it.
    let clock = Arc::new(ManualClock::at(1_000));
    Tables::open(settings, Deps { objects, control, clock }).expect("tables")
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let path = std::env::temp_dir().join(format!("frazil-tables-{}", Uuid::new_v4()));
        std::fs::create_dir_all(path.join("warehouse")).expect("directory");
        let tables = open(&path, settings);
        Self { path, tables }
    }

    /// Closes everything and opens it again.
    pub(crate) fn reopen(&mut self) {
        let away = self.path.join(format!("away-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&away).expect("directory");
        // The control file can be open once only: let go of the old handle first.
        self.tables = open(&away, Settings::default());
        self.tables = open(&self.path, Settings::default());
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn create(&self, name: &str, schema: SchemaRef, partition_by: &str) -> Table {
        let table = NewTable { schema, partition_by: partition_by.into(), properties: BTreeMap::new() };
        self.tables.create(&self.tables.ident(name), table).await.expect("create")
    }

    pub(crate) async fn stage(&self, table: &Table, batch: &RecordBatch) -> StagedFiles {
        let mut writer = self.tables.writer(table).expect("writer");
        writer.write(batch).await.expect("write");
        writer.finish().await.expect("finish")
    }

    /// All values of the column `id` in the current snapshot, sorted.
    pub(crate) async fn ids(&self, ident: &TableIdent) -> Vec<i64> {
        let table = self.tables.load(ident).await.expect("load");
        ids(&self.tables, &table, None).await
    }
}

/// All values of the column `id` in a snapshot, sorted.
pub(crate) async fn ids(tables: &Tables, table: &Table, snapshot_id: Option<i64>) -> Vec<i64> {
    let scan = tables.scan(table, snapshot_id).await.expect("scan");
    let mut ids = Vec::new();
    for file in &scan.files {
        for batch in read(tables.objects().get(&file.location).await.expect("file")) {
            let column = batch.column_by_name("id").expect("id");
            let column = column.as_any().downcast_ref::<Int64Array>().expect("long");
            ids.extend(column.values().iter().copied());
        }
    }
    ids.sort_unstable();
    ids
}

pub(crate) fn read(bytes: Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("parquet").build().expect("reader");
    reader.map(|batch| batch.expect("batch")).collect()
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("symbol", DataType::Utf8, true),
    ]))
}

/// Rows with the ids `[from, to)`.
pub(crate) fn rows(from: i64, to: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
    let symbols: ArrayRef =
        Arc::new(StringArray::from_iter_values((from..to).map(|i| format!("s{}", i % 3))));
    RecordBatch::try_new(schema(), vec![ids, symbols]).expect("batch")
}

pub(crate) fn source(partition: i32) -> SourceId {
    SourceId { log: Uuid::from_u128(1), topic: Uuid::from_u128(2), partition }
}

pub(crate) fn at(next: i64) -> Position {
    Position { next, hash: (next as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

pub(crate) fn advance(partition: i32, from: i64, to: i64) -> Advance {
    let rows = (to - from).unsigned_abs();
    Advance { source: source(partition), from, to: at(to), fates: Fates { rows, ..Fates::default() } }
}
