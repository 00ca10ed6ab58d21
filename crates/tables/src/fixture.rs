//! A catalog in a temporary directory, for tests of this crate.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use base::clock::ManualClock;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use storage::disk::{Disk, DiskFile, Entry, OpenMode};
use storage::{Control, Objects, RealDisk, SharedDisk};
use uuid::Uuid;

use crate::catalog::Deps;
use crate::{
    Advance, CommitOutcome, Fates, NewTable, Position, Settings, SourceId, StagedFiles, Table, TableIdent,
    Tables,
};

/// Removes the directory at its end.
pub(crate) struct Fixture {
    path: PathBuf,
    pub(crate) tables: Tables,
    pub(crate) clock: Arc<ManualClock>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The machine's disk without a sync: these tests lose no power (`crash_tests` do), and commit very often.
#[derive(Debug, Clone, Copy)]
struct Unsynced;

#[derive(Debug)]
struct UnsyncedFile(Arc<dyn DiskFile>);

impl Disk for Unsynced {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(UnsyncedFile(RealDisk.open(path, mode)?)))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.read_dir(path)
    }
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

impl DiskFile for UnsyncedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

fn open(path: &Path, settings: Settings, clock: &Arc<ManualClock>) -> Tables {
    let disk: SharedDisk = Arc::new(Unsynced);
    let control = Control::open(&disk, &path.join("control.redb")).expect("control");
    let objects = Objects::local(disk, path.join("warehouse"));
    let clock = Arc::<ManualClock>::clone(clock);
    Tables::open(settings, Deps { objects, control, clock }).expect("tables")
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let path = std::env::temp_dir().join(format!("frazil-tables-{}", Uuid::new_v4()));
        std::fs::create_dir_all(path.join("warehouse")).expect("directory");
        // A clock that stands still far in the past: nothing may depend on it.
        let clock = Arc::new(ManualClock::at(1_000));
        let tables = open(&path, settings, &clock);
        Self { path, tables, clock }
    }

    /// Closes everything and opens it again.
    pub(crate) fn reopen(&mut self) {
        let away = self.path.join(format!("away-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&away).expect("directory");
        // The control file can be open once only: let go of the old handle first.
        self.tables = open(&away, Settings::default(), &self.clock);
        self.tables = open(&self.path, Settings::default(), &self.clock);
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

    /// Appends the rows `[from, to)` as offsets of partition 0.
    pub(crate) async fn append(&self, ident: &TableIdent, from: i64, to: i64) -> CommitOutcome {
        let table = self.tables.load(ident).await.expect("load");
        let staged = self.stage(&table, &rows(from, to)).await;
        let advances = vec![advance(0, from, to)];
        self.tables.append(ident, staged, advances, BTreeMap::new()).await.expect("append")
    }

    /// Every file below the table's directory, sorted.
    pub(crate) async fn files(&self, table: &Table) -> Vec<String> {
        let listed = self.tables.objects().list(table.metadata.location()).await.expect("list");
        let mut files: Vec<String> = listed.into_iter().map(|(location, _)| location).collect();
        files.sort();
        files
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
