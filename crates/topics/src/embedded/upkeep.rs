//! Upkeep: what happens to the log by itself.
//!
//! Owns: the task, closing active segments that are due, the order of retention and compaction, their pauses.
//! Does not own: what they decide.
//! Invariants: one run at a time; a run ends soon after the log closes, and closing waits for it: nothing touches
//! the directory afterwards.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak, mpsc};

use base::{Supervisor, TaskKind};
use tokio::time::Instant;

use super::Running;
use super::compaction::{self, Compacted};
use super::partition::PartitionState;
use super::queue::Work;
use super::retention::{self, Policy, Removed};
use super::shared::Shared;

/// What one run of upkeep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Active segments that were closed because of their age.
    pub closed: usize,
    /// What retention removed.
    pub removed: Removed,
    /// What compaction rewrote.
    pub compacted: Compacted,
}

/// Runs upkeep until the log ends. Holds no [`super::Topics`], so that dropping them still ends the log.
pub(crate) fn start(supervisor: &Supervisor, running: &Arc<Running>) {
    let weak: Weak<Running> = Arc::downgrade(running);
    let mut ended = running.ended.subscribe();
    let settings = running.shared.settings.clone();
    supervisor.spawn(TaskKind::LogUpkeep, "upkeep of the log", |shutdown| async move {
        let pause = settings.retention_check_interval.min(settings.cleaner_backoff);
        let mut checked = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                _ = ended.wait_for(|ended| *ended) => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            let Some(shared) = weak.upgrade().map(|running| Arc::clone(&running.shared)) else {
                return Ok(());
            };
            let due = checked.elapsed() >= settings.retention_check_interval;
            if due {
                checked = Instant::now();
            }
            tokio::task::spawn_blocking(move || run(&shared, due || shared.space.is_short())).await?;
        }
    });
}

/// One run; without `retention`, old segments stay. Blocking.
pub(crate) fn run(shared: &Shared, retention: bool) -> Upkeep {
    let _one = shared.upkeep.lock();
    let mut done = Upkeep::default();
    if shared.offline().is_some() || shared.ending.load(Ordering::Acquire) {
        return done;
    }
    done.closed = close_due(shared);
    if retention {
        done.removed = retention::run(shared);
    }
    if compaction::wants_checkpoint(shared) && !checkpoint(shared) {
        return done;
    }
    done.compacted = compaction::run(shared);
    if done.compacted.forgotten > 0 {
        // A later pass takes their markers, and no start may tell readers of them then.
        checkpoint(shared);
    }
    if done != Upkeep::default() {
        tracing::debug!(?done, "upkeep of the log");
    }
    done
}

/// Has the log writer close active segments that are due.
fn close_due(shared: &Shared) -> usize {
    let now_ms = shared.clock.now_ms();
    let mut due: Vec<Arc<PartitionState>> = Vec::new();
    for topic in shared.all_topics() {
        let policy = Policy::of(&topic.info.config);
        due.extend(topic.partitions.iter().filter(|p| is_due(p, &policy, now_ms)).cloned());
    }
    if due.is_empty() {
        return 0;
    }
    let count = due.len();
    let (done, closed) = mpsc::sync_channel(1);
    let queued = push(shared, Work::CloseSegments { partitions: due, done });
    // Without an answer the log has ended.
    if queued && closed.recv().is_ok() { count } else { 0 }
}

/// Has a checkpoint stored; false when there is no room, or no log any more.
fn checkpoint(shared: &Shared) -> bool {
    if shared.space.is_short() {
        return false;
    }
    let (done, stored) = mpsc::sync_channel(1);
    push(shared, Work::Checkpoint { done }) && stored.recv().is_ok()
}

fn push(shared: &Shared, work: Work) -> bool {
    let mut queue = shared.queue.lock();
    if queue.is_stopped() {
        return false;
    }
    queue.push(work, 0);
    true
}

fn is_due(partition: &PartitionState, policy: &Policy, now_ms: i64) -> bool {
    let segments = partition.segments.lock();
    let Some(active) = segments.list.last().filter(|s| s.len > 0) else { return false };
    // What was deleted by request frees its room only once its segment is closed.
    partition.log_start() >= segments.end || policy.closes(active.begun_ms, active.written_ms, now_ms)
}
