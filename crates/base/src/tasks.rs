//! Supervised background work.
//!
//! Owns: the list of every kind of task in the process, the order in which they stop, the shutdown signal.
//! Does not own: what a task does.
//! Invariants: no task outlives `Supervisor::stop`; a task whose kind is critical brings the node down when it
//! fails; phases stop in order, doors first, storage last.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The order of stopping: doors stop accepting, pipelines finish their unit, tables and topics seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopPhase {
    /// Listening sockets and their connections.
    Doors,
    /// Materialize, publish, capture.
    Pipelines,
    /// Log flushers and checkpoints.
    Log,
}

/// Every kind of task there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Accepts connections of one door.
    Listener,
    /// Serves one connection.
    Connection,
    /// Moves one topic into its table.
    Materialize,
    /// Runs one published query.
    Publish,
    /// Watches definitions and starts or stops pipelines.
    Reconcile,
    /// Keeps tables in shape: compaction, expiry, orphans.
    TableUpkeep,
    /// Checkpoints and upkeep of the log.
    LogUpkeep,
}

impl TaskKind {
    /// When tasks of this kind stop.
    pub fn phase(self) -> StopPhase {
        match self {
            Self::Listener | Self::Connection => StopPhase::Doors,
            Self::Materialize | Self::Publish | Self::Reconcile | Self::TableUpkeep => StopPhase::Pipelines,
            Self::LogUpkeep => StopPhase::Log,
        }
    }

    /// Whether the node cannot go on without it.
    pub fn critical(self) -> bool {
        matches!(self, Self::Listener | Self::Reconcile | Self::LogUpkeep)
    }
}

/// The signal to stop, handed to every task.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Resolves once the task should stop.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether the task should stop.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Starts tasks and stops them in order. Clones share the same tasks.
#[derive(Debug, Clone)]
pub struct Supervisor {
    runtime: Handle,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    phases: [CancellationToken; 3],
    running: Mutex<Vec<(StopPhase, JoinHandle<()>)>>,
    failed: CancellationToken,
}

const PHASES: [StopPhase; 3] = [StopPhase::Doors, StopPhase::Pipelines, StopPhase::Log];

/// How long an aborted task is waited for; one that never awaits is left to itself.
const ABORT_LIMIT: Duration = Duration::from_secs(5);

impl Supervisor {
    /// A supervisor whose tasks run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, inner: Arc::default() }
    }

    /// The same supervisor, starting its tasks on another runtime.
    pub fn on(&self, runtime: Handle) -> Self {
        Self { runtime, inner: Arc::clone(&self.inner) }
    }

    /// The runtime that tasks start on.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The shutdown signal of a phase.
    pub fn shutdown(&self, phase: StopPhase) -> Shutdown {
        Shutdown(self.inner.phases[phase as usize].clone())
    }

    /// Starts a task. It gets its own shutdown signal, cancelled with its phase or by the returned [`TaskHandle`].
    pub fn spawn<F, Fut>(&self, kind: TaskKind, name: impl Into<String>, task: F) -> TaskHandle
    where
        F: FnOnce(Shutdown) -> Fut,
        Fut: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let name = name.into();
        let token = self.inner.phases[kind.phase() as usize].child_token();
        let work = task(Shutdown(token.clone()));
        let inner = Arc::clone(&self.inner);
        let done = CancellationToken::new();
        let (guard, finished) = (done.clone().drop_guard(), done);
        let join = self.runtime.spawn(async move {
            let _finished = guard;
            // Whoever aborts this task aborts the work with it.
            match AbortOnDropHandle::new(tokio::spawn(work)).await {
                Ok(Ok(())) => tracing::trace!(?kind, %name, "task ended"),
                Ok(Err(error)) => {
                    tracing::error!(?kind, %name, error = %crate::fault::chain(&*error), "task failed");
                    inner.note_failure(kind);
                }
                Err(join_error) => {
                    tracing::error!(?kind, %name, error = %join_error, "task panicked");
                    inner.note_failure(kind);
                }
            }
        });
        let mut running = self.inner.running.lock();
        running.retain(|(_, handle)| !handle.is_finished());
        running.push((kind.phase(), join));
        TaskHandle { token, finished }
    }

    /// Resolves when a task that the node cannot go on without has failed.
    pub async fn critical_failure(&self) {
        self.inner.failed.cancelled().await;
    }

    /// Stops all phases in order; a phase that takes longer than `limit` is aborted.
    pub async fn stop(&self, limit: Duration) {
        for phase in PHASES {
            self.inner.phases[phase as usize].cancel();
            let handles: Vec<_> = {
                let mut running = self.inner.running.lock();
                let (stopping, rest) = running.drain(..).partition(|(p, _)| *p == phase);
                *running = rest;
                stopping
            };
            let deadline = tokio::time::Instant::now() + limit;
            for (_, mut handle) in handles {
                if tokio::time::timeout_at(deadline, &mut handle).await.is_err() {
                    tracing::warn!(?phase, "a task did not stop in time and was aborted");
                    handle.abort();
                    // What it holds (files, locks) is free once it has ended, which is at its next await.
                    let _ = tokio::time::timeout(ABORT_LIMIT, &mut handle).await;
                }
            }
        }
    }
}

impl Inner {
    fn note_failure(&self, kind: TaskKind) {
        if kind.critical() {
            self.failed.cancel();
        }
    }
}

/// A started task. Dropping the handle leaves the task running under its supervisor.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    token: CancellationToken,
    finished: CancellationToken,
}

impl TaskHandle {
    /// Asks the task to stop and waits until it has.
    pub async fn stop(&self) {
        self.token.cancel();
        self.finished.cancelled().await;
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.finished.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_task_outlives_the_stop() {
        let supervisor = Supervisor::new(Handle::current());
        let (running, mut ended) = tokio::sync::oneshot::channel::<()>();
        let (started, begun) = tokio::sync::oneshot::channel();
        supervisor.spawn(TaskKind::Connection, "deaf", |_| async move {
            let _running = running;
            let _ = started.send(());
            std::future::pending().await
        });
        begun.await.expect("begun");
        supervisor.stop(Duration::from_millis(10)).await;
        let end = tokio::time::timeout(Duration::from_secs(10), &mut ended).await;
        assert!(end.expect("the task is gone").is_err());
    }
}
