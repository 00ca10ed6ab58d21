//! A log, a registry, a catalog and an engine in a temporary directory, for tests of this crate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base::{PartitionId, Supervisor};
use futures::TryStreamExt;
use tables::{Advance, NewTable, Position, SourceId};
use topics::batch::BatchBuilder;

use crate::engine::{Deps, Engine, Settings};
use crate::error::SqlError;
use crate::rows::{SchemaSwitch, SchemaSwitches, TopicRows};
use crate::session::{Answer, Session, SessionSettings, Value};

pub(crate) const TRADES: &str = r#"{"type":"object","properties":{
    "symbol":{"type":"string"},"side":{"type":"string"},"price":{"type":"number"},"qty":{"type":"integer"},
    "ts_event":{"type":"string","format":"date-time"}}}"#;

/// Removes the directory at its end.
pub(crate) struct Node {
    pub topics: topics::Topics,
    pub registry: schemas::Registry,
    pub tables: tables::Tables,
    pub engine: Engine,
    dir: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let dir = std::env::temp_dir().join(format!("frazil-queries-{}", uuid::Uuid::new_v4()));
        let clock: base::SharedClock = Arc::new(base::clock::SystemClock);
        let compute = tokio::runtime::Handle::current();
        let disk: storage::SharedDisk = Arc::new(storage::RealDisk);
        let directory = storage::DataDirectory::open(Arc::clone(&disk), &dir).unwrap();
        let control =
            storage::Control::open(&disk, &storage::layout::control_file(directory.path())).unwrap();
        let objects = storage::Objects::local(disk, storage::layout::warehouse_dir(directory.path()));
        let log = topics::embedded::Deps { directory, control: control.clone(), clock: Arc::clone(&clock) };
        let supervisor = Supervisor::new(compute.clone());
        let topics = topics::Topics::open(topics::Settings::default(), log, &supervisor).unwrap();
        let registry = schemas::Registry::open(control.clone()).unwrap();
        let catalog = tables::catalog::Deps { objects, control, clock: Arc::clone(&clock) };
        let tables = tables::Tables::open(tables::Settings::default(), catalog).unwrap();
        let (t, r, c) = (topics.clone(), registry.clone(), tables.clone());
        let deps = Deps { topics: t, registry: r, tables: c, clock, compute };
        Self { topics, registry, tables, engine: Engine::new(settings, deps), dir }
    }

    pub(crate) fn session(&self) -> Session {
        self.engine.session(SessionSettings {
            user: "me".into(),
            database: "frazil".into(),
            application_name: "test".into(),
        })
    }

    /// A topic that is a table with the latest schema of its subject.
    pub(crate) async fn topic(&self, name: &str, partitions: i32, schema: &str) {
        let config = [("redpanda.iceberg.mode".to_string(), "value_schema_latest".to_string())].into();
        let new = topics::NewTopic { name: name.into(), partitions: Some(partitions), config };
        let info = self.topics.create(new).unwrap();
        let schema = schemas::NewSchema {
            schema_type: schemas::SchemaType::Json,
            schema: schema.into(),
            references: Vec::new(),
        };
        let id = self.registry.register(&format!("{name}-value"), schema).unwrap().schema.id;
        let switch = SchemaSwitch { schema_id: id, starts: BTreeMap::new() };
        self.store_switches(info.id, vec![switch]).await;
    }

    pub(crate) async fn store_switches(&self, topic: base::TopicId, switches: Vec<SchemaSwitch>) {
        let writer = TopicRows::switches_writer(topic);
        let epoch = self.topics.claim_writer(&writer).await.unwrap().epoch;
        let stored = SchemaSwitches { switches, ..SchemaSwitches::default() };
        let progress = serde_json::to_vec(&stored).unwrap().into();
        let append = topics::AtomicAppend { writer, epoch, batches: Vec::new(), progress };
        self.topics.append_atomically(append).await.unwrap();
    }

    pub(crate) async fn produce(&self, topic: &str, partition: PartitionId, values: &[String]) {
        let mut batch = BatchBuilder::new();
        for value in values {
            batch.push(1_767_322_800_000, None, Some(value.as_bytes()), &[]);
        }
        let bytes = batch.build().unwrap();
        self.topics.append(topic, partition, bytes).unwrap().await.unwrap();
    }

    /// `count` trades into a partition, numbered from `from` in `qty`.
    pub(crate) async fn trades(&self, topic: &str, partition: PartitionId, from: i64, count: i64) {
        let value = |i: i64| {
            let (symbol, side) = (["A", "B", "C"][(i % 3) as usize], ["BUY", "SELL"][(i % 2) as usize]);
            format!(
                r#"{{"symbol":"{symbol}","side":"{side}","price":{}.25,"qty":{i},"ts_event":"2026-01-02T03:04:{:02}Z"}}"#,
                100 + i % 10,
                i % 60
            )
        };
        self.produce(topic, partition, &(from..from + count).map(value).collect::<Vec<_>>()).await;
    }

    /// Commits everything of a topic that is below the present cut, making the table when missing.
    pub(crate) async fn commit(&self, name: &str) {
        let topic = self.topics.topic(name).unwrap();
        let rows = TopicRows::new(&self.topics, &self.registry, Arc::clone(&topic)).unwrap();
        let ident = self.tables.ident(name);
        let table = match self.tables.load(&ident).await {
            Ok(table) => table,
            Err(_) => {
                let schema = Arc::clone(rows.columns());
                let new = NewTable { schema, partition_by: "()".into(), properties: BTreeMap::new() };
                self.tables.create(&ident, new).await.unwrap()
            }
        };
        let progress = table.progress().unwrap();
        let cut = self.topics.cut();
        let mut writer = self.tables.writer(&table).unwrap();
        let mut advances = Vec::new();
        for partition in 0..topic.partitions {
            let source = SourceId { log: self.topics.log_id().0, topic: topic.id.0, partition };
            let from = progress.get(&source).map_or(0, |r| r.position.next);
            let end = cut.stable(topic.id, partition);
            let mut at = from;
            let (mut hash, mut fates) = (0, tables::Fates::default());
            while at < end {
                let decoded = rows.decode(partition, at, end, 1 << 20).unwrap();
                for batch in &decoded.batches {
                    writer.write(batch).await.unwrap();
                }
                (at, hash) = (decoded.next, decoded.last_hash);
                fates = fates.and(decoded.fates);
            }
            if at > from {
                advances.push(Advance { source, from, to: Position { next: at, hash }, fates });
            }
        }
        let staged = writer.finish().await.unwrap();
        self.tables.append(&ident, staged, advances, BTreeMap::new()).await.unwrap();
    }
}

/// All rows of an answer.
pub(crate) async fn rows_of(answer: Answer) -> Result<Vec<RecordBatch>, SqlError> {
    match answer {
        Answer::Rows { rows, .. } => rows.try_collect().await,
        other => panic!("rows expected, got {other:?}"),
    }
}

/// Cells of all rows as text, `NULL` for nulls, `|` between columns.
pub(crate) fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    lines
}

impl Session {
    /// Rows of a statement as text.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<String> {
        self.rows_with(sql, &[]).await
    }

    pub(crate) async fn rows_with(&mut self, sql: &str, parameters: &[Value]) -> Vec<String> {
        let answer = self.execute(sql, parameters).await.unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
        shown(&rows_of(answer).await.unwrap_or_else(|e| panic!("{sql}\n{e:?}")))
    }

    /// The command tag of a statement without rows.
    pub(crate) async fn tag(&mut self, sql: &str) -> String {
        match self.execute(sql, &[]).await {
            Ok(Answer::Done { tag }) => tag,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The error of a statement, at once or in its rows.
    pub(crate) async fn error(&mut self, sql: &str) -> SqlError {
        match self.execute(sql, &[]).await {
            Err(error) => error,
            Ok(Answer::Rows { rows, .. }) => match rows.try_collect::<Vec<_>>().await {
                Err(error) => error,
                Ok(rows) => panic!("{sql}: {:?}", shown(&rows)),
            },
            Ok(other) => panic!("{sql}: {other:?}"),
        }
    }
}
