//! Use cases that span nouns, so that every door and the CLI share one implementation.

use std::sync::Arc;

use base::{ErrorKind, Fault, SharedClock, Supervisor, TopicId};

use crate::spec::{PipelineSpec, SpecError};
use crate::status::NodeStatus;

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
    #[error("the store of definitions failed")]
    Control(#[from] storage::ControlError),
}

impl Fault for CommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Topic(e) => e.kind(),
            Self::Append(e) => e.kind(),
            Self::Registry(e) => e.kind(),
            Self::Catalog(e) => e.kind(),
            Self::Commit(e) => e.kind(),
            Self::Spec(_) | Self::Invalid(_) => ErrorKind::Invalid,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Control(e) => e.kind(),
        }
    }
}

/// The commands, and the duties behind them. Clones share it.
#[derive(Debug, Clone)]
pub struct Commands {}

impl Commands {
    /// Starts materializing every topic that is a table and running every stored pipeline; watches for changes.
    pub async fn start(_deps: Deps) -> Result<Self, CommandError> {
        unimplemented!()
    }

    /// Creates a topic; when it is a table and its schema is known, the table too, before returning.
    pub async fn create_topic(
        &self,
        _topic: topics::NewTopic,
    ) -> Result<Arc<topics::TopicInfo>, CommandError> {
        unimplemented!()
    }
    /// Checks what `create_topic` would, without creating.
    pub fn validate_topic(&self, _topic: &topics::NewTopic) -> Result<(), CommandError> {
        unimplemented!()
    }
    /// A table that stays is first committed up to the stable mark; then the topic goes.
    pub async fn delete_topic(&self, _name: &str) -> Result<TopicId, CommandError> {
        unimplemented!()
    }
    pub async fn alter_topic(
        &self,
        _name: &str,
        _changes: &[(String, Option<String>)],
    ) -> Result<Arc<topics::TopicInfo>, CommandError> {
        unimplemented!()
    }
    pub async fn add_partitions(
        &self,
        _name: &str,
        _total: i32,
    ) -> Result<Arc<topics::TopicInfo>, CommandError> {
        unimplemented!()
    }

    /// Registers a schema; topics that follow the subject switch to it from their present end on (stored before this
    /// returns), and their tables exist when this returns.
    pub async fn register_schema(
        &self,
        _subject: &str,
        _schema: schemas::NewSchema,
    ) -> Result<schemas::SubjectVersion, CommandError> {
        unimplemented!()
    }

    /// Stores a pipeline (new or changed) and starts it.
    pub async fn put_pipeline(&self, _name: &str, _spec: PipelineSpec) -> Result<(), CommandError> {
        unimplemented!()
    }
    pub fn pipelines(&self) -> Result<Vec<(String, PipelineSpec)>, CommandError> {
        unimplemented!()
    }
    pub async fn delete_pipeline(&self, _name: &str) -> Result<(), CommandError> {
        unimplemented!()
    }

    /// Commits what is stable of a topic now, without waiting for size or age; returns the table's snapshot id.
    pub async fn commit_now(&self, _topic: &str) -> Result<Option<i64>, CommandError> {
        unimplemented!()
    }
    /// After `RolledBack` or `Diverged`: go on from the log's end (`skip`) or from the table's own progress (`replay`).
    pub async fn resume_table(&self, _table: &str, _skip: bool) -> Result<(), CommandError> {
        unimplemented!()
    }

    pub async fn status(&self) -> NodeStatus {
        unimplemented!()
    }
    /// Executes what `queries` parsed; returns the command tag.
    pub async fn execute(&self, command: queries::Command) -> Result<String, CommandError> {
        match command {}
    }
}
