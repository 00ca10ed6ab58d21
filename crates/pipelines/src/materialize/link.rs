//! What a materializing task shows to status and takes from commands.
//!
//! Owns: its state as others see it, requests to commit now.

use std::collections::BTreeMap;

use base::{Offset, PartitionId};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::commands::CommandError;

/// Where a table's task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// Not looked yet, or at work.
    #[default]
    Running,
    /// For a schema.
    Waiting,
    /// Its properties, schemas or table have to change first.
    Paused,
    /// Table and log tell different stories.
    Diverged,
    /// Somebody moved the table back.
    RolledBack,
    /// The last attempt failed; it goes on trying.
    Failing,
}

impl State {
    /// The word of `TableStatus::state`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Diverged => "diverged",
            Self::RolledBack => "rolled_back",
            Self::Failing => "failing",
        }
    }
}

/// What status shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) message: Option<String>,
    /// What keeps fields of some schemas out of the table.
    pub(crate) differences: Vec<String>,
    /// Next offset to materialize, by partition.
    pub(crate) next: BTreeMap<PartitionId, Offset>,
    pub(crate) last_commit_ms: Option<i64>,
}

/// How far the log was looked through for a first schema, in vain.
#[derive(Debug, Default)]
pub(crate) struct Searched {
    /// `Registry::watch` at that time.
    pub(crate) registered: u64,
    pub(crate) to: BTreeMap<PartitionId, Offset>,
}

/// Asks for a commit of what is stable now; answered with the table's snapshot id.
pub(crate) type CommitRequest = oneshot::Sender<Result<Option<i64>, CommandError>>;

/// The way to a materializing task.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) view: Mutex<View>,
    pub(crate) searched: Mutex<Searched>,
    requests: mpsc::Sender<CommitRequest>,
    /// Look again at everything: a schema has switched, an operator has spoken.
    pub(crate) look_again: Notify,
}

impl Link {
    pub(crate) fn new(requests_max: usize) -> (Self, mpsc::Receiver<CommitRequest>) {
        let (sender, receiver) = mpsc::channel(requests_max.max(1));
        let link = Self {
            view: Mutex::default(),
            searched: Mutex::default(),
            requests: sender,
            look_again: Notify::new(),
        };
        (link, receiver)
    }

    /// Commits what is stable now; returns when it is done.
    pub(crate) async fn commit_now(&self) -> Result<Option<i64>, CommandError> {
        let stopped = || CommandError::Unavailable("the table's task is stopping".to_owned());
        let (answer, answered) = oneshot::channel();
        self.requests.send(answer).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}
