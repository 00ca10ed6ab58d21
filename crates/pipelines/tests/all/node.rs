//! A node without doors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base::{SharedClock, Supervisor, SystemClock};
use bytes::Bytes;
use futures::StreamExt;
use pipelines::commands::Deps;
use pipelines::{Commands, Settings, TableStatus};
use queries::{Answer, SessionSettings};
use schemas::{NewSchema, SchemaType};
use storage::layout;
use storage::{Control, DataDirectory, Objects, RealDisk, SharedDisk};
use tokio::runtime::Handle;
use topics::NewTopic;
use topics::batch::{BatchBuilder, BatchView};

/// A directory that goes with its value.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("frazil-pipelines-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).expect("make a temporary directory");
        Self(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Node {
    pub(crate) topics: topics::Topics,
    pub(crate) registry: schemas::Registry,
    pub(crate) tables: tables::Tables,
    pub(crate) engine: queries::Engine,
    pub(crate) control: Control,
    pub(crate) commands: Commands,
    pub(crate) supervisor: Supervisor,
    pub(crate) clock: SharedClock,
}

/// Quick retries, so that tests are.
pub(crate) fn settings() -> Settings {
    Settings {
        retry_first: Duration::from_millis(10),
        retry_max: Duration::from_millis(100),
        ..Settings::default()
    }
}

/// Opens a data directory. A task that was aborted lets go of it a moment later.
async fn open(disk: &SharedDisk, dir: &Path) -> DataDirectory {
    for _ in 0..200 {
        match DataDirectory::open(Arc::clone(disk), dir) {
            Err(storage::DirectoryError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            opened => return opened.expect("open the directory"),
        }
    }
    panic!("{} stays in use", dir.display());
}

impl Node {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, settings()).await
    }

    pub(crate) async fn start_with(dir: &Path, settings: Settings) -> Self {
        let disk: SharedDisk = Arc::new(RealDisk);
        let directory = open(&disk, dir).await;
        let control = Control::open(&disk, &layout::control_file(dir)).expect("open control");
        let clock: SharedClock = Arc::new(SystemClock);
        let supervisor = Supervisor::new(Handle::current());
        let topics = topics::Topics::open(
            topics::Settings::default(),
            topics::embedded::Deps { directory, control: control.clone(), clock: Arc::clone(&clock) },
            &supervisor,
        )
        .expect("open the log");
        let registry = schemas::Registry::open(control.clone()).expect("open the registry");
        let objects = Objects::local(disk, layout::warehouse_dir(dir));
        let tables = tables::Tables::open(
            tables::Settings::default(),
            tables::catalog::Deps { objects, control: control.clone(), clock: Arc::clone(&clock) },
        )
        .expect("open the catalog");
        let engine = queries::Engine::new(
            queries::Settings::default(),
            queries::Deps {
                topics: topics.clone(),
                registry: registry.clone(),
                tables: tables.clone(),
                clock: Arc::clone(&clock),
                compute: Handle::current(),
            },
        );
        let deps = Deps {
            topics: topics.clone(),
            registry: registry.clone(),
            tables: tables.clone(),
            engine: engine.clone(),
            control: control.clone(),
            clock: Arc::clone(&clock),
            supervisor: supervisor.clone(),
            compute: Handle::current(),
        };
        let commands = Commands::start_with(settings, deps).await.expect("start");
        Self { topics, registry, tables, engine, control, commands, supervisor, clock }
    }

    /// What a second set of tasks over the same log and tables stands on.
    pub(crate) fn deps(&self, supervisor: Supervisor) -> Deps {
        Deps {
            topics: self.topics.clone(),
            registry: self.registry.clone(),
            tables: self.tables.clone(),
            engine: self.engine.clone(),
            control: self.control.clone(),
            clock: Arc::clone(&self.clock),
            supervisor,
            compute: Handle::current(),
        }
    }

    /// Ends all tasks; the log is not closed, as after a kill.
    pub(crate) async fn kill(self) {
        self.supervisor.stop(Duration::from_secs(20)).await;
    }

    /// Ends all tasks and closes the log.
    pub(crate) async fn stop(self) {
        self.supervisor.stop(Duration::from_secs(20)).await;
        self.topics.close().await.expect("close the log");
    }

    /// A topic that is a table; commits only when asked, unless `config` says otherwise.
    pub(crate) async fn table(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let mut all = BTreeMap::from([
            ("redpanda.iceberg.mode".to_owned(), "value_schema_latest".to_owned()),
            ("redpanda.iceberg.target.lag.ms".to_owned(), "3600000".to_owned()),
        ]);
        all.extend(config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let new = NewTopic { name: name.into(), partitions: Some(partitions), config: all };
        self.commands.create_topic(new).await.expect("create the topic");
    }

    pub(crate) async fn schema(&self, topic: &str, fields: &[(&str, &str)]) {
        self.try_schema(topic, fields).await.expect("register");
    }

    pub(crate) async fn try_schema(&self, topic: &str, fields: &[(&str, &str)]) -> Result<(), String> {
        let fields: Vec<_> =
            fields.iter().map(|(name, kind)| format!(r#""{name}":{{"type":"{kind}"}}"#)).collect();
        let schema = format!(r#"{{"type":"object","properties":{{{}}}}}"#, fields.join(","));
        let new = NewSchema { schema_type: SchemaType::Json, schema, references: Vec::new() };
        let registered = self.commands.register_schema(&format!("{topic}-value"), new).await;
        registered.map(drop).map_err(|e| e.to_string())
    }

    /// Appends one batch of JSON values; returns its first offset.
    pub(crate) async fn produce<V: AsRef<str>>(&self, topic: &str, partition: i32, values: &[V]) -> i64 {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_ref().as_bytes()).collect();
        self.produce_bytes(topic, partition, &values).await
    }

    /// Appends one batch of values; returns its first offset.
    pub(crate) async fn produce_bytes(&self, topic: &str, partition: i32, values: &[&[u8]]) -> i64 {
        let mut builder = BatchBuilder::new();
        for value in values {
            builder.push(self.clock.now_ms(), None, Some(value), &[]);
        }
        let batch = builder.build().expect("build");
        let appended = self.topics.append(topic, partition, batch).expect("append").await.expect("durable");
        appended.base_offset
    }

    /// `{"id": n}` for every number, in batches of 10.
    pub(crate) async fn produce_ids(&self, topic: &str, partition: i32, ids: std::ops::Range<i64>) {
        let values: Vec<_> = ids.map(|id| format!(r#"{{"id":{id}}}"#)).collect();
        for chunk in values.chunks(10) {
            self.produce(topic, partition, chunk).await;
        }
    }

    pub(crate) async fn commit(&self, topic: &str) {
        self.commands.commit_now(topic).await.expect("commit");
    }

    pub(crate) async fn status(&self, table: &str) -> TableStatus {
        let status = self.commands.status().await;
        status.tables.into_iter().find(|t| t.table == table).expect("the table has a status")
    }

    pub(crate) async fn until_state(&self, table: &str, state: &str) -> TableStatus {
        let mut last = None;
        for _ in 0..600 {
            let status = self.status(table).await;
            if status.state == state {
                return status;
            }
            last = Some(status);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{table} never became {state}: {last:?}");
    }

    /// Waits until the table has everything.
    pub(crate) async fn until_caught_up(&self, table: &str) -> TableStatus {
        for _ in 0..1500 {
            let status = self.status(table).await;
            if status.lag == 0 && status.state == "running" {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{table} never caught up: {:?}", self.status(table).await);
    }

    /// Runs a query over what is committed; integers of all columns, row by row.
    pub(crate) async fn committed(&self, sql: &str) -> Vec<Vec<Option<i64>>> {
        self.query(sql, "committed").await
    }

    /// The same over everything that is stable.
    pub(crate) async fn all_rows(&self, sql: &str) -> Vec<Vec<Option<i64>>> {
        self.query(sql, "latest").await
    }

    async fn query(&self, sql: &str, freshness: &str) -> Vec<Vec<Option<i64>>> {
        let mut found = Vec::new();
        for batch in self.batches(sql, freshness).await {
            for row in 0..batch.num_rows() {
                found.push(batch.columns().iter().map(|column| integer(column, row)).collect());
            }
        }
        found
    }

    /// Values of all columns as text, with spaces between; nothing for null.
    pub(crate) async fn shown(&self, sql: &str, freshness: &str) -> Vec<String> {
        let mut found = Vec::new();
        for batch in self.batches(sql, freshness).await {
            let options = FormatOptions::default();
            let shown: Vec<_> = batch
                .columns()
                .iter()
                .map(|c| ArrayFormatter::try_new(c, &options).expect("shown"))
                .collect();
            for row in 0..batch.num_rows() {
                let values: Vec<String> = shown.iter().map(|column| column.value(row).to_string()).collect();
                found.push(values.join(" "));
            }
        }
        found
    }

    pub(crate) async fn batches(&self, sql: &str, freshness: &str) -> Vec<RecordBatch> {
        let mut session = self.engine.session(SessionSettings {
            user: "test".into(),
            database: "frazil".into(),
            application_name: "test".into(),
        });
        session.execute(&format!("SET frazil.freshness = '{freshness}'"), &[]).await.expect("set");
        let answer = session.execute(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let Answer::Rows { mut rows, .. } = answer else { panic!("{sql} gives no rows") };
        let mut found = Vec::new();
        while let Some(batch) = rows.next().await {
            found.push(batch.unwrap_or_else(|e| panic!("{sql}: {e:?}")));
        }
        found
    }

    /// (partition, offset, id) of every committed row, sorted.
    pub(crate) async fn rows(&self, table: &str) -> Vec<(i64, i64, i64)> {
        let sql = format!(
            r#"SELECT redpanda['partition'], redpanda['offset'], id FROM "{table}" ORDER BY 1, 2, 3"#
        );
        let value = |v: Option<i64>| v.unwrap_or(-1);
        self.committed(&sql).await.into_iter().map(|r| (value(r[0]), value(r[1]), value(r[2]))).collect()
    }

    /// (partition, offset) of every dead letter, sorted.
    pub(crate) async fn dead_letters(&self, table: &str) -> Vec<(i64, i64)> {
        let sql =
            format!(r#"SELECT redpanda['partition'], redpanda['offset'] FROM "{table}~dlq" ORDER BY 1, 2"#);
        let value = |v: Option<i64>| v.unwrap_or(-1);
        self.committed(&sql).await.into_iter().map(|r| (value(r[0]), value(r[1]))).collect()
    }

    /// Keys and values of all records of a topic, partition by partition; none: a tombstone.
    pub(crate) fn records(&self, topic: &str) -> Vec<(Option<String>, Option<String>)> {
        let Some(info) = self.topics.topic(topic) else { return Vec::new() };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let mut found = Vec::new();
        for index in 0..info.partitions {
            let partition = self.topics.partition(topic, index).expect("partition");
            let (mut from, end) = (partition.marks().log_start, partition.marks().stable);
            while from < end {
                let read = partition.read(from, end, 1 << 20).expect("read");
                let mut bytes: Bytes = read.bytes;
                while !bytes.is_empty() {
                    let batch = BatchView::split_first(&mut bytes).expect("batch");
                    let records = batch.records(1 << 24).expect("records");
                    for record in records.iter() {
                        let record = record.expect("record");
                        found.push((record.key.map(text), record.value.map(text)));
                    }
                }
                from = read.next;
            }
        }
        found
    }
}

fn integer(column: &Arc<dyn Array>, row: usize) -> Option<i64> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Int32 => column.as_any().downcast_ref::<Int32Array>().map(|a| i64::from(a.value(row))),
        DataType::Int64 => column.as_any().downcast_ref::<Int64Array>().map(|a| a.value(row)),
        other => panic!("{other} is no integer"),
    }
}

/// Copies a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("make the copy");
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}
