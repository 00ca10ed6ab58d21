//! One run of a pipeline: query → rows → records, appended with the progress they belong to.
//!
//! Owns: the steps of a run, its limits, making the target topic and registering its schema.
//! Does not own: when to run (`publish`).
//! Invariants: records and progress are one atomic append: a run is visible whole or never happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::units::show_bytes;
use bytes::Bytes;
use futures::StreamExt;
use queries::{Answer, Session, SessionSettings};
use schemas::{NewSchema, SchemaType, encode_rows, json_schema_of};
use topics::batch::{BatchBuilder, Compression};
use topics::{AtomicAppend, NewTopic, TopicInfo, TopicPartition, WriterId};
use xxhash_rust::xxh3::xxh3_64;

use crate::commands;
use crate::commands::CommandError;
use crate::duties::Duties;
use crate::publish::definition::Definition;
use crate::publish::inputs::{Freshness, inputs};
use crate::publish::progress::{Changes, Row, RunProgress, changes};
use crate::publish::route::partition_of;
use crate::spec::PublishMode;

/// A batch whose records are larger than this together is compressed.
const COMPRESS_FROM_BYTES: usize = 256 << 10;
/// `max.message.bytes` of a topic made for a pipeline: all of a run's records of one partition are one batch.
const MESSAGE_BYTES: &str = "16777216";

/// A run that did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A table of the query does not exist yet.
    #[error("{0}")]
    Waiting(String),
    /// Another owner runs this pipeline now.
    #[error("{0}")]
    Fenced(String),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Catalog(#[from] tables::CatalogError),
}

impl From<queries::SqlError> for RunError {
    fn from(error: queries::SqlError) -> Self {
        let hint = error.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let text = format!("{}{hint}", error.message);
        // undefined_table; object_not_in_prerequisite_state
        if ["42P01", "55000"].contains(&error.sqlstate) { Self::Waiting(text) } else { Self::Refused(text) }
    }
}

impl From<topics::AppendError> for RunError {
    fn from(error: topics::AppendError) -> Self {
        match error {
            topics::AppendError::WriterFenced { .. } => Self::Fenced(error.to_string()),
            other => Self::Command(other.into()),
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ran {
    /// Nothing has changed since the last run.
    Unchanged,
    Published {
        records: u64,
        progress: RunProgress,
    },
}

/// The result of a query, encoded.
struct Encoded {
    columns: SchemaRef,
    rows: Vec<Row>,
}

/// A pipeline that may run.
pub(crate) struct Run<'a> {
    pub(crate) duties: &'a Arc<Duties>,
    pub(crate) name: &'a str,
    pub(crate) definition: &'a Definition,
    pub(crate) writer: &'a WriterId,
    pub(crate) epoch: i64,
    pub(crate) last: &'a RunProgress,
}

impl Run<'_> {
    /// Runs once, unless the result would be that of the last run.
    pub(crate) async fn run(self) -> Result<Ran, RunError> {
        let definition = self.definition;
        let query = definition.query_hash();
        let inputs = inputs(self.duties, &definition.watches, definition.freshness()).await?;
        let same = self.last.run > 0 && self.last.query == query && self.last.inputs == inputs;
        if same && !definition.time_dependent {
            return Ok(Ran::Unchanged);
        }
        let Encoded { columns, rows } = self.query().await?;
        let info = self.target().await?;
        let schema = self.describe(&info, &columns).await?;
        let into = &definition.spec.into;
        let result_rows = rows.len() as u64;
        let (records, rows) = match into.mode {
            PublishMode::Append => (rows, BTreeMap::new()),
            PublishMode::Upsert => {
                let valid = self.last.target == Some(info.id) && self.last.key == into.key;
                let published = if valid { self.last.rows.clone() } else { BTreeMap::new() };
                let Changes { records, rows } = changes(&published, rows).map_err(|key| {
                    RunError::Refused(format!(
                        "two rows have the key {key}: mode upsert needs one row per key; group by the key columns"
                    ))
                })?;
                (records, rows)
            }
        };
        if same && into.mode == PublishMode::Upsert && records.is_empty() {
            return Ok(Ran::Unchanged);
        }
        let progress = RunProgress {
            run: self.last.run + 1,
            query,
            inputs,
            target: Some(info.id),
            key: into.key.clone(),
            schema: Some(schema),
            at_ms: self.duties.deps.clock.now_ms(),
            result_rows,
            rows,
        };
        let count = records.len() as u64;
        self.append(&info, records, &progress).await?;
        Ok(Ran::Published { records: count, progress })
    }

    async fn query(&self) -> Result<Encoded, RunError> {
        let mut session = self.duties.deps.engine.session(SessionSettings {
            user: "frazil".into(),
            database: "frazil".into(),
            application_name: format!("pipeline/{}", self.name),
        });
        if self.definition.freshness() == Freshness::Committed {
            session.execute("SET frazil.freshness = 'committed'", &[]).await?;
        }
        self.collect(&mut session).await
    }

    async fn collect(&self, session: &mut Session) -> Result<Encoded, RunError> {
        let settings = &self.duties.settings;
        let (columns, mut batches) = match session.execute(&self.definition.spec.sql, &[]).await? {
            Answer::Rows { columns, rows } => (columns, rows),
            Answer::Done { tag } => {
                return Err(RunError::Refused(format!("{tag} gives no rows: a pipeline is a query")));
            }
            Answer::Command(_) | Answer::Empty => {
                return Err(RunError::Refused("the statement gives no rows: a pipeline is a query".into()));
            }
        };
        let key = key_columns(&columns, &self.definition.spec.into.key)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if rows.len() + batch.num_rows() > settings.result_rows_max {
                return Err(RunError::Refused(format!(
                    "the result has more than {} rows, the limit of one run: aggregate further or filter",
                    settings.result_rows_max
                )));
            }
            let key = key.clone();
            let encoded = self.duties.deps.compute.spawn_blocking(move || encode(&batch, &key)).await;
            let encoded = encoded.map_err(|e| RunError::Refused(e.to_string()))??;
            bytes += encoded.iter().map(row_bytes).sum::<usize>();
            if bytes > settings.result_bytes_max {
                return Err(RunError::Refused(format!(
                    "the result is larger than {}, the limit of one run: aggregate further or filter",
                    show_bytes(settings.result_bytes_max as u64)
                )));
            }
            rows.extend(encoded);
        }
        Ok(Encoded { columns, rows })
    }

    /// The target topic, made when missing.
    async fn target(&self) -> Result<Arc<TopicInfo>, RunError> {
        let into = &self.definition.spec.into;
        if let Some(info) = self.duties.deps.topics.topic(&into.topic) {
            return Ok(info);
        }
        let mut config = into.config.clone();
        config.entry("max.message.bytes".into()).or_insert_with(|| MESSAGE_BYTES.into());
        let new = NewTopic { name: into.topic.clone(), partitions: into.partitions, config };
        let duties = Arc::clone(self.duties);
        let made = self.duties.aside(async move { commands::topic::create(&duties, new).await }).await;
        match made {
            Err(CommandError::Topic(topics::TopicError::Exists(_))) => {}
            other => return Ok(other?),
        }
        self.duties.deps.topics.topic(&into.topic).ok_or_else(|| {
            RunError::Refused(format!("topic {} comes and goes: declare it on its own", into.topic))
        })
    }

    /// Registers the schema of the result when the target's subject has none, or when the result has changed its
    /// columns. Returns the schema's hash. A schema that somebody else registered stays.
    async fn describe(&self, info: &TopicInfo, columns: &SchemaRef) -> Result<u64, RunError> {
        let text =
            json_schema_of(columns, info.name.as_str()).map_err(|e| RunError::Refused(e.to_string()))?;
        let hash = xxh3_64(text.as_bytes());
        let subject = format!("{}-value", info.name);
        let (registry, looked_for) = (self.duties.deps.registry.clone(), subject.clone());
        let known = self
            .duties
            .blocking(move || {
                Ok::<_, CommandError>(registry.version(&looked_for, schemas::Version::Latest).is_ok())
            })
            .await?;
        let changed = self.last.target == Some(info.id) && self.last.schema.is_some_and(|last| last != hash);
        if !known || changed {
            let schema = NewSchema { schema_type: SchemaType::Json, schema: text, references: Vec::new() };
            let duties = Arc::clone(self.duties);
            self.duties
                .aside(async move { commands::schema::register(&duties, &subject, schema.into()).await })
                .await?;
        }
        Ok(hash)
    }

    async fn append(
        &self,
        info: &TopicInfo,
        records: Vec<Row>,
        progress: &RunProgress,
    ) -> Result<(), RunError> {
        let now_ms = self.duties.deps.clock.now_ms();
        let mut builders: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
        // Without a key all records of a run stay together and in order; runs take turns.
        let turn = (progress.run % u64::from(info.partitions.max(1).unsigned_abs())) as i32;
        for record in &records {
            let partition = match &record.key {
                Some(key) => partition_of(key, info.partitions),
                None => turn,
            };
            let builder = builders.entry(partition).or_default();
            builder.push(now_ms, record.key.as_deref(), record.value.as_deref(), &[]);
        }
        let mut batches = Vec::new();
        for (partition, mut builder) in builders {
            if builder.plain_bytes() > COMPRESS_FROM_BYTES {
                builder = builder.compression(Compression::Zstd);
            }
            let bytes = builder.build().map_err(|e| RunError::Refused(e.to_string()))?;
            batches.push((TopicPartition { topic: info.name.clone(), partition }, bytes));
        }
        let progress = serde_json::to_vec(progress).map_err(|e| RunError::Refused(e.to_string()))?;
        let append = AtomicAppend {
            writer: self.writer.clone(),
            epoch: self.epoch,
            batches,
            progress: Bytes::from(progress),
        };
        self.duties.deps.topics.append_atomically(append).await?;
        Ok(())
    }
}

/// Positions of the key's columns.
fn key_columns(columns: &SchemaRef, key: &[String]) -> Result<Vec<usize>, RunError> {
    let find = |name: &String| {
        columns.index_of(name).map_err(|_| {
            let names: Vec<_> = columns.fields().iter().map(|f| f.name().as_str()).collect();
            RunError::Refused(format!(
                "the result has no key column `{name}`; its columns are {}",
                names.join(", ")
            ))
        })
    };
    key.iter().map(find).collect()
}

fn encode(batch: &RecordBatch, key: &[usize]) -> Result<Vec<Row>, RunError> {
    let refuse = |e: schemas::EncodeError| RunError::Refused(e.to_string());
    let values = encode_rows(batch).map_err(refuse)?;
    if key.is_empty() {
        return Ok(values.into_iter().map(|value| Row { key: None, value: Some(value) }).collect());
    }
    let keys = batch.project(key).map_err(|e| RunError::Refused(e.to_string()))?;
    let keys = encode_rows(&keys).map_err(refuse)?;
    Ok(keys.into_iter().zip(values).map(|(key, value)| Row { key: Some(key), value: Some(value) }).collect())
}

fn row_bytes(row: &Row) -> usize {
    row.key.as_ref().map_or(0, Bytes::len) + row.value.as_ref().map_or(0, Bytes::len)
}
