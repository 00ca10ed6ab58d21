//! The running duties and what they share.
//!
//! Owns: which topic and which pipeline has which task, the order in which definitions change.
//! Does not own: what a task does (`materialize`, `publish`).
//! Invariants: a topic or pipeline has at most one task in this process.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use base::tasks::TaskHandle;
use base::{TaskKind, TopicId};
use parking_lot::Mutex;
use queries::mode::IcebergTopic;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use topics::TopicInfo;

use crate::commands::{CommandError, Deps};
use crate::materialize::{self, Link};
use crate::publish::PipelineLink;
use crate::settings::Settings;
use crate::upkeep::Upkeep;

/// What all duties stand on.
#[derive(Debug)]
pub(crate) struct Duties {
    pub(crate) deps: Deps,
    pub(crate) settings: Settings,
    /// Held while a cut is taken with the schemas that hold below it, and while a switch of schema is stored: so no
    /// record at or above a switch is ever read with the schema before it.
    pub(crate) schema_gate: AsyncMutex<()>,
    /// Held while topics and schemas change, and the tasks of tables with them.
    pub(crate) changes: AsyncMutex<()>,
    /// Held while pipelines change. Apart from `changes`, which a pipeline's task takes to make its target.
    pub(crate) pipeline_changes: AsyncMutex<()>,
    /// Held while a replay of dead letters has its marker open. Taken after `changes`.
    pub(crate) replaying: AsyncMutex<()>,
    /// Bounds the memory of staging.
    pub(crate) staging: Semaphore,
    pub(crate) started_ms: i64,
    pub(crate) upkeep: Upkeep,
    tables: Mutex<BTreeMap<TopicId, TableDuty>>,
    pub(crate) pipelines: Mutex<BTreeMap<String, PipelineDuty>>,
}

#[derive(Debug, Clone)]
struct TableDuty {
    task: TaskHandle,
    link: Arc<Link>,
    group: String,
}

#[derive(Debug, Clone)]
pub(crate) struct PipelineDuty {
    /// None: its stored definition cannot run.
    pub(crate) task: Option<TaskHandle>,
    pub(crate) link: Arc<PipelineLink>,
}

impl Duties {
    pub(crate) fn new(deps: Deps, settings: Settings) -> Self {
        Self {
            staging: Semaphore::new(settings.concurrent_commits.max(1)),
            started_ms: deps.clock.now_ms(),
            deps,
            settings,
            schema_gate: AsyncMutex::new(()),
            changes: AsyncMutex::new(()),
            pipeline_changes: AsyncMutex::new(()),
            replaying: AsyncMutex::new(()),
            upkeep: Upkeep::default(),
            tables: Mutex::default(),
            pipelines: Mutex::default(),
        }
    }

    /// Runs work that may block for an fsync or compute for long away from the doors.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> Result<T, CommandError> {
        self.deps.compute.spawn(work).await.map_err(|e| CommandError::Internal(e.to_string()))?
    }

    /// Runs blocking work on the threads for such.
    pub(crate) async fn blocking<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, CommandError>
    where
        T: Send + 'static,
        E: Send + 'static,
        CommandError: From<E>,
    {
        let done = self.deps.compute.spawn_blocking(work).await;
        Ok(done.map_err(|e| CommandError::Internal(e.to_string()))??)
    }

    /// The link to the task of a topic.
    pub(crate) fn table_link(&self, topic: TopicId) -> Option<Arc<Link>> {
        self.tables.lock().get(&topic).map(|duty| Arc::clone(&duty.link))
    }

    /// Starts tasks of topics that are tables, stops those of topics that are none any more. Call it with `changes` held.
    pub(crate) async fn reconcile(self: &Arc<Self>) {
        let wanted: BTreeMap<TopicId, Arc<TopicInfo>> = self
            .deps
            .topics
            .list()
            .into_iter()
            .filter(|info| match IcebergTopic::of(info) {
                Ok(settings) => settings.is_some(),
                Err(reason) => {
                    tracing::error!(topic = %info.name, %reason, "the topic is not materialized");
                    false
                }
            })
            .map(|info| (info.id, info))
            .collect();
        let unwanted: Vec<TopicId> =
            self.tables.lock().keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in unwanted {
            self.stop_table(id).await;
        }
        for (id, info) in wanted {
            let mut tables = self.tables.lock();
            if tables.get(&id).is_none_or(|duty| duty.task.is_finished()) {
                tables.insert(id, self.start_table(&info));
            }
        }
    }

    fn start_table(self: &Arc<Self>, info: &TopicInfo) -> TableDuty {
        let (link, requests) = Link::new(self.settings.requests_max);
        let link = Arc::new(link);
        let duties = Arc::clone(self);
        let (id, name, task_link) = (info.id, info.name.clone(), Arc::clone(&link));
        let task = self.deps.supervisor.on(self.deps.compute.clone()).spawn(
            TaskKind::Materialize,
            format!("materialize {name}"),
            move |shutdown| {
                materialize::Materializer::new(duties, id, name, task_link, requests, shutdown).run()
            },
        );
        TableDuty { task, link, group: materialize::group(info.name.as_str()) }
    }

    /// Stops the task of a topic, if there is one; its unit of work ends first.
    pub(crate) async fn stop_table(&self, id: TopicId) {
        let duty = self.tables.lock().remove(&id);
        let Some(duty) = duty else { return };
        duty.task.stop().await;
        // A topic of the same name that exists by now has its own task, which reports again.
        self.deps.topics.forget_consumer(&duty.group);
    }
}
