//! Query → topic: one task per pipeline.
//!
//! Owns: when a pipeline runs, retries and pauses.
//! Does not own: SQL (queries), the log (topics), definitions (commands/pipeline).
//! Invariants: the newest owner of a pipeline's name fences the others; a restart goes on from stored progress.

pub(crate) mod cycles;
pub(crate) mod definition;
pub(crate) mod inputs;
pub(crate) mod progress;
mod route;
mod run;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use base::Shutdown;
use base::fault::chain;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use topics::WriterId;

use crate::backoff::Backoff;
use crate::duties::Duties;
use definition::{Definition, When};
use progress::RunProgress;
use run::{Ran, Run, RunError};

/// Name of the log writer whose progress is the pipeline's.
pub(crate) fn writer(pipeline: &str) -> WriterId {
    WriterId::new(&format!("pipeline/{pipeline}"))
}

/// What status shows of a pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct PipelineView {
    /// `idle`, `running`, `paused`.
    pub(crate) state: &'static str,
    pub(crate) runs: u64,
    pub(crate) last_run_ms: Option<i64>,
    pub(crate) last_rows: Option<u64>,
    pub(crate) message: Option<String>,
}

/// The way to a pipeline's task.
#[derive(Debug, Default)]
pub(crate) struct PipelineLink {
    pub(crate) view: Mutex<PipelineView>,
}

/// Runs one pipeline.
pub(crate) struct Publisher {
    duties: Arc<Duties>,
    name: String,
    definition: Definition,
    link: Arc<PipelineLink>,
    shutdown: Shutdown,
    writer: WriterId,
    commits: watch::Receiver<u64>,
    topic_changes: watch::Receiver<u64>,
    backoff: Backoff,
    /// Failed attempts in a row.
    failures: u32,
}

/// What to do after an attempt.
enum Next {
    /// Wait for the trigger.
    Trigger,
    /// Wait for a table to appear.
    Table,
    Retry,
    /// Wait for a new definition.
    Pause,
    End,
}

impl Publisher {
    pub(crate) fn new(
        duties: Arc<Duties>,
        name: String,
        definition: Definition,
        link: Arc<PipelineLink>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            writer: writer(&name),
            commits: duties.deps.tables.watch(),
            topic_changes: duties.deps.topics.watch_topics(),
            backoff: Backoff::new(duties.settings.retry_first, duties.settings.retry_max),
            failures: 0,
            duties,
            name,
            definition,
            link,
            shutdown,
        }
    }

    /// Runs until it is asked to stop or another owner has taken over.
    pub(crate) async fn run(mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let shutdown = self.shutdown.clone();
        // Dropping a run midway is harmless: its records and progress are one append, which happened or did not.
        tokio::select! {
            () = self.work() => {}
            () = shutdown.requested() => {}
        }
        Ok(())
    }

    async fn work(&mut self) {
        let mut owned: Option<(i64, RunProgress)> = None;
        loop {
            let began = Instant::now();
            self.commits.borrow_and_update();
            self.topic_changes.borrow_and_update();
            let attempt = AssertUnwindSafe(self.attempt(&mut owned)).catch_unwind().await;
            let outcome = attempt
                .unwrap_or_else(|_| Err(RunError::Refused("the run panicked: see the log".to_owned())));
            match self.note(outcome) {
                Next::Trigger => self.trigger(began).await,
                Next::Table => self.table(began).await,
                Next::Retry => {
                    let pause = self.backoff.pause();
                    tokio::time::sleep(pause).await;
                }
                Next::Pause => std::future::pending().await,
                Next::End => return,
            }
        }
    }

    async fn attempt(&self, owned: &mut Option<(i64, RunProgress)>) -> Result<Ran, RunError> {
        let (epoch, last) = match owned.take() {
            Some(owned) => owned,
            None => self.claim().await?,
        };
        {
            let mut view = self.link.view.lock();
            view.state = "running";
            view.runs = last.run;
            if last.run > 0 {
                view.last_run_ms = Some(last.at_ms);
                view.last_rows = Some(last.result_rows);
            }
        }
        let run = Run {
            duties: &self.duties,
            name: &self.name,
            definition: &self.definition,
            writer: &self.writer,
            epoch,
            last: &last,
        };
        let ran = run.run().await?;
        // After an error the stored progress is read again: the append may have happened.
        *owned = Some(match &ran {
            Ran::Published { progress, .. } => (epoch, progress.clone()),
            Ran::Unchanged => (epoch, last),
        });
        Ok(ran)
    }

    async fn claim(&self) -> Result<(i64, RunProgress), RunError> {
        let claimed = self.duties.deps.topics.claim_writer(&self.writer).await?;
        let progress = match &claimed.value {
            Some(value) => serde_json::from_slice(value).map_err(|e| {
                RunError::Refused(format!(
                    "the stored progress of pipeline {} does not parse: {e}; delete the pipeline and declare it again",
                    self.name
                ))
            })?,
            None => RunProgress::default(),
        };
        Ok((claimed.epoch, progress))
    }

    fn note(&mut self, outcome: Result<Ran, RunError>) -> Next {
        let mut view = self.link.view.lock();
        view.state = "idle";
        match outcome {
            Ok(ran) => {
                self.failures = 0;
                self.backoff.reset();
                view.message = None;
                if let Ran::Published { records, progress } = ran {
                    tracing::info!(pipeline = %self.name, run = progress.run, records, "published");
                    view.runs = progress.run;
                    view.last_run_ms = Some(progress.at_ms);
                    view.last_rows = Some(progress.result_rows);
                }
                Next::Trigger
            }
            Err(RunError::Waiting(text)) => {
                view.message = Some(format!("waits: {text}"));
                Next::Table
            }
            Err(RunError::Fenced(text)) => {
                tracing::warn!(pipeline = %self.name, reason = %text, "another owner runs this pipeline");
                view.state = "paused";
                view.message = Some(text);
                Next::End
            }
            Err(error) => {
                let text = chain(&error);
                self.failures += 1;
                let retry = self.definition.spec.on_error.retry;
                tracing::warn!(pipeline = %self.name, failures = self.failures, error = %text, "a run failed");
                if self.failures <= retry {
                    view.message = Some(text);
                    return Next::Retry;
                }
                view.state = "paused";
                view.message = Some(format!(
                    "paused after {} failed attempts: {text}; define the pipeline anew or restart the node to go on",
                    self.failures
                ));
                Next::Pause
            }
        }
    }

    async fn trigger(&mut self, began: Instant) {
        match self.definition.when {
            When::Every(every) => tokio::time::sleep_until(began + every).await,
            When::OnCommit => changed(&mut self.commits).await,
        }
    }

    /// A missing table may come as a topic or by a commit.
    async fn table(&mut self, began: Instant) {
        tokio::select! {
            () = changed(&mut self.commits) => {}
            () = changed(&mut self.topic_changes) => {}
        }
        if let When::Every(every) = self.definition.when {
            tokio::time::sleep_until(began + every).await;
        }
    }
}

async fn changed(watch: &mut watch::Receiver<u64>) {
    if watch.changed().await.is_err() {
        // The node is stopping.
        std::future::pending::<()>().await;
    }
}
