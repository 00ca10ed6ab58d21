//! Use cases that span nouns, so that every door and the CLI share one implementation.
//!
//! Owns: what a command does, in which order, and what it answers.
//! Does not own: protocols (gateway); the nouns' own rules.
//! Invariants: a command that returns `Ok` has stored everything it speaks of; one that stops midway is made good at
//! the next start.

mod pipeline;
mod report;
pub(crate) mod schema;
pub(crate) mod topic;

use std::sync::Arc;

use base::{ErrorKind, Fault, Offset, PartitionId, SharedClock, Supervisor, TaskKind, TopicId};
use queries::mode::DEAD_LETTER_SUFFIX;

pub(crate) use report::no_such_table;

use crate::duties::Duties;
use crate::materialize;
use crate::settings::Settings;
use crate::spec::{PipelineSpec, SpecError};
use crate::status::NodeStatus;
use crate::upkeep;
use crate::upkeep::action::{self, TableAction, TableAnswer};
use crate::verify::{self, VerifyReport};

/// What commands stand on.
#[derive(Debug, Clone)]
pub struct Deps {
    pub topics: topics::Topics,
    pub registry: schemas::Registry,
    pub tables: tables::Tables,
    pub engine: queries::Engine,
    /// Definitions of pipelines live in its `PIPELINES` space.
    pub control: storage::Control,
    pub clock: SharedClock,
    /// Starts tasks on the door-and-log runtime.
    pub supervisor: Supervisor,
    /// The compute runtime.
    pub compute: tokio::runtime::Handle,
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Topic(#[from] topics::TopicError),
    #[error(transparent)]
    Append(#[from] topics::AppendError),
    #[error(transparent)]
    Read(#[from] topics::ReadError),
    #[error(transparent)]
    DeleteRecords(#[from] topics::DeleteRecordsError),
    #[error(transparent)]
    Registry(#[from] schemas::RegistryError),
    #[error(transparent)]
    Catalog(#[from] tables::CatalogError),
    #[error(transparent)]
    Commit(#[from] tables::CommitError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// Something else has to happen first; the text says what.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("a task of this command failed: {0}")]
    Internal(String),
    #[error("the store of definitions failed")]
    Control(#[from] storage::ControlError),
}

impl Fault for CommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Topic(e) => e.kind(),
            Self::Append(e) => e.kind(),
            Self::Read(e) => e.kind(),
            Self::DeleteRecords(e) => e.kind(),
            Self::Registry(e) => e.kind(),
            Self::Catalog(e) => e.kind(),
            Self::Commit(e) => e.kind(),
            Self::Spec(_) | Self::Invalid(_) => ErrorKind::Invalid,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Internal(_) => ErrorKind::Internal,
            Self::Control(e) => e.kind(),
        }
    }
}

/// The commands, and the duties behind them. Clones share it.
#[derive(Debug, Clone)]
pub struct Commands {
    duties: Arc<Duties>,
}

impl Commands {
    /// Starts materializing every topic that is a table and running every stored pipeline; watches for changes.
    pub async fn start(deps: Deps) -> Result<Self, CommandError> {
        Self::start_with(Settings::default(), deps).await
    }

    /// Like [`Commands::start`], with settings.
    pub async fn start_with(settings: Settings, deps: Deps) -> Result<Self, CommandError> {
        let duties = Arc::new(Duties::new(deps, settings));
        let mut changes = duties.deps.topics.watch_topics();
        {
            let _changes = duties.changes.lock().await;
            duties.reconcile().await;
        }
        pipeline::start_all(&duties)?;
        upkeep::start(&duties);
        let watching = Arc::clone(&duties);
        duties.deps.supervisor.spawn(TaskKind::Reconcile, "reconcile topics", move |shutdown| async move {
            loop {
                tokio::select! {
                    () = shutdown.requested() => return Ok(()),
                    changed = changes.changed() => if changed.is_err() { return Ok(()) },
                }
                let _changes = watching.changes.lock().await;
                watching.reconcile().await;
            }
        });
        Ok(Self { duties })
    }

    /// Creates a topic; when it is a table and its schema is known, the table too, before returning.
    pub async fn create_topic(
        &self,
        topic: topics::NewTopic,
    ) -> Result<Arc<topics::TopicInfo>, CommandError> {
        let duties = Arc::clone(&self.duties);
        self.duties.aside(async move { topic::create(&duties, topic).await }).await
    }

    /// Checks what `create_topic` would, without creating.
    pub fn validate_topic(&self, topic: &topics::NewTopic) -> Result<(), CommandError> {
        topic::validate(&self.duties, topic)
    }

    /// A table that stays is first committed up to the stable mark; then the topic goes.
    pub async fn delete_topic(&self, name: &str) -> Result<TopicId, CommandError> {
        let (duties, name) = (Arc::clone(&self.duties), name.to_owned());
        self.duties.aside(async move { topic::delete(&duties, &name).await }).await
    }

    /// Sets (`Some`) and resets (`None`) properties. A topic that becomes a table is materialized from its log start.
    pub async fn alter_topic(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<Arc<topics::TopicInfo>, CommandError> {
        let (duties, name, changes) = (Arc::clone(&self.duties), name.to_owned(), changes.to_vec());
        self.duties.aside(async move { topic::alter(&duties, &name, &changes).await }).await
    }

    pub async fn add_partitions(
        &self,
        name: &str,
        total: i32,
    ) -> Result<Arc<topics::TopicInfo>, CommandError> {
        let (duties, name) = (Arc::clone(&self.duties), name.to_owned());
        self.duties.aside(async move { topic::add_partitions(&duties, &name, total).await }).await
    }

    /// Removes the records of a partition below `before` (none: below the high watermark); a table commits them first.
    /// Returns where the partition begins now, durably.
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: PartitionId,
        before: Option<Offset>,
    ) -> Result<Offset, CommandError> {
        let (duties, topic) = (Arc::clone(&self.duties), topic.to_owned());
        self.duties
            .aside(async move { topic::delete_records(&duties, &topic, partition, before).await })
            .await
    }

    /// Registers a schema; topics that follow the subject switch to it from their present end on (stored before this
    /// returns), and their tables exist when this returns. What a following table cannot take of it is in the table's
    /// status; records that have it are rejected.
    pub async fn register_schema(
        &self,
        subject: &str,
        schema: impl Into<schemas::Registration>,
    ) -> Result<schemas::SubjectVersion, CommandError> {
        let (duties, subject, schema) = (Arc::clone(&self.duties), subject.to_owned(), schema.into());
        self.duties.aside(async move { schema::register(&duties, &subject, schema).await }).await
    }

    /// Stores a pipeline (new or changed) and starts it.
    pub async fn put_pipeline(&self, name: &str, spec: PipelineSpec) -> Result<(), CommandError> {
        let (duties, name) = (Arc::clone(&self.duties), name.to_owned());
        self.duties.aside(async move { pipeline::put(&duties, &name, spec).await }).await
    }

    /// All stored pipelines, by name.
    pub fn pipelines(&self) -> Result<Vec<(String, PipelineSpec)>, CommandError> {
        pipeline::list(&self.duties)
    }

    /// Stops a pipeline and forgets it; what it has published stays.
    pub async fn delete_pipeline(&self, name: &str) -> Result<(), CommandError> {
        let (duties, name) = (Arc::clone(&self.duties), name.to_owned());
        self.duties.aside(async move { pipeline::delete(&duties, &name).await }).await
    }

    /// Commits what is stable of a table's topic now, without waiting for size or age; returns the table's snapshot id.
    /// `table` is the table's name, with or without its namespace, or its topic's.
    pub async fn commit_now(&self, table: &str) -> Result<Option<i64>, CommandError> {
        let info = self.topic_of(table)?;
        let link = self.duties.table_link(info.id).ok_or_else(|| no_table(info.name.as_str()))?;
        link.commit_now().await
    }

    /// After `RolledBack` or `Diverged`: go on from the log's end (`skip`) or from the newest place that table and log
    /// share (replay). `table` is the table's name, with or without its namespace, or its topic's.
    pub async fn resume_table(&self, table: &str, skip: bool) -> Result<(), CommandError> {
        let name = table.strip_suffix(DEAD_LETTER_SUFFIX).unwrap_or(table).to_owned();
        let info = self.topic_of(&name)?;
        let link = self.duties.table_link(info.id).ok_or_else(|| no_table(&name))?;
        if !report::needs_operator(&link) {
            return Err(CommandError::Conflict(format!(
                "table {name} is {}: only a table that has diverged or was rolled back is resumed",
                link.view.lock().state.as_str()
            )));
        }
        let duties = Arc::clone(&self.duties);
        self.duties.aside(async move { materialize::resume(&duties, &info, skip).await }).await?;
        // Returns once the table goes on, or with what is still wrong.
        link.commit_now().await.map(drop)
    }

    /// Accounts for every offset of a table, and compares the account with its files and its log. `table` is the
    /// topic's name, with or without a namespace.
    pub async fn verify_table(&self, table: &str) -> Result<VerifyReport, CommandError> {
        let (duties, name) = (Arc::clone(&self.duties), table.to_owned());
        self.duties
            .aside(async move {
                let ident = report::without_dead_letters(report::table_named(&duties, &name).await?);
                verify::verify(&duties, &ident).await
            })
            .await
    }

    /// Does to a table (`name` or `namespace.name`) what somebody asks for; waits for maintenance that is going on.
    pub async fn table_action(&self, table: &str, action: TableAction) -> Result<TableAnswer, CommandError> {
        let (duties, table) = (Arc::clone(&self.duties), table.to_owned());
        self.duties.aside(async move { action::act(&duties, &table, action).await }).await
    }

    /// The topic that a table is made of, by the table's name with or without its namespace, or by its own name.
    fn topic_of(&self, table: &str) -> Result<Arc<topics::TopicInfo>, CommandError> {
        let deps = &self.duties.deps;
        let mut idents = vec![deps.tables.ident(table)];
        if let Some((namespace, name)) = table.rsplit_once('.') {
            let namespace = namespace.split('.').map(str::to_owned).collect();
            idents.push(tables::TableIdent { namespace, name: name.to_owned() });
        }
        let found = idents.iter().find_map(|i| queries::mode::topic_of(&deps.topics, &deps.tables, i));
        match found {
            Some((info, _)) => Ok(info),
            None => topic::find(&self.duties, table),
        }
    }

    /// How tables are partitioned whose topics do not say.
    pub fn default_partitioning(&self) -> &str {
        &self.duties.deps.tables.settings().default_partition_by
    }

    /// Why the log takes no data; none while it does.
    pub fn offline(&self) -> Option<String> {
        self.duties.deps.topics.offline()
    }

    /// Why appends are refused as long as nobody frees disk space; none while there is room.
    pub fn full(&self) -> Option<String> {
        self.duties.deps.topics.full()
    }

    /// What runs, how far it is, what is wrong and what to type.
    pub async fn status(&self) -> NodeStatus {
        report::status(&self.duties).await
    }

    /// Executes what `queries` parsed; returns the command tag.
    pub async fn execute(&self, command: queries::Command) -> Result<String, CommandError> {
        match command {}
    }
}

fn no_table(topic: &str) -> CommandError {
    CommandError::NotFound(format!(
        "topic {topic} is no table: set redpanda.iceberg.mode, for example to key_value or value_schema_latest"
    ))
}
