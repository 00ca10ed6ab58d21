//! The queue to the log writer.
//!
//! Owns: the order of appends, what their callers are told and when, the bound on unsynced bytes, the end of the writer.
//! Does not own: what is done with the work.
//! Invariants: work is taken in the order it was pushed; at most `bytes_max` wait or are being written, one item more
//! than that only when nothing else waits.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use crate::batch::check::{CheckedBatch, Facts};
use crate::embedded::partition::PartitionState;
use crate::error::AppendError;
use crate::log::{Hold, ProgressValue, Terms, Until, WriterId};

/// A batch with its place in its partition.
#[derive(Debug)]
pub(crate) struct Placed {
    pub partition: Arc<PartitionState>,
    pub batch: CheckedBatch,
    pub facts: Facts,
}

/// What a named writer stores.
#[derive(Debug)]
pub(crate) struct WriterStep {
    pub id: WriterId,
    pub epoch: i64,
    /// None: it only takes the name over.
    pub value: Option<ProgressValue>,
}

/// What becomes durable and visible as one.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub batches: Vec<Placed>,
    pub writer: Option<WriterStep>,
}

/// What who waits for work is told.
pub(crate) type Acknowledged = oneshot::Receiver<Result<(), AppendError>>;

/// Told once the work is done as far as its terms ask, or cannot be done. What it holds is dropped with it.
#[derive(Debug)]
pub(crate) struct Ack {
    sender: Option<oneshot::Sender<Result<(), AppendError>>>,
    until: Until,
    _hold: Hold,
}

impl Ack {
    pub(crate) fn new(terms: Terms) -> (Self, Acknowledged) {
        let (sender, acknowledged) = oneshot::channel();
        (Self { sender: Some(sender), until: terms.until, _hold: terms.hold }, acknowledged)
    }

    /// The work is in the hands of the kernel.
    pub(crate) fn written(&mut self) {
        if self.until == Until::Written
            && let Some(sender) = self.sender.take()
        {
            // Who does not wait any more does not mind.
            let _ = sender.send(Ok(()));
        }
    }

    /// The work is durable, or will not be.
    pub(crate) fn send(self, outcome: Result<(), AppendError>) {
        if let Some(sender) = self.sender {
            let _ = sender.send(outcome);
        }
    }
}

/// Work of the log writer.
#[derive(Debug)]
pub(crate) enum Work {
    Record {
        record: Record,
        ack: Ack,
    },
    /// Resolves once everything pushed before is durable.
    Barrier {
        ack: Ack,
    },
    /// Closes active segments although they are not full.
    CloseSegments {
        partitions: Vec<Arc<PartitionState>>,
        done: mpsc::SyncSender<()>,
    },
    /// Takes a checkpoint although the write-ahead file is not full.
    Checkpoint {
        done: mpsc::SyncSender<()>,
    },
    /// Removes the directory of a deleted topic.
    Remove {
        dir: PathBuf,
        done: mpsc::SyncSender<io::Result<()>>,
    },
    /// The last work: checkpoint with the mark of a clean end.
    Close {
        done: oneshot::Sender<io::Result<()>>,
    },
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    /// Told when work is done and when the queue closes.
    room: Notify,
    bytes_max: u64,
}

#[derive(Debug, Default)]
struct State {
    work: Vec<Work>,
    /// Bytes that wait or are being written.
    bytes: u64,
    /// Why nothing more is taken.
    closed: Option<String>,
    /// The writer ends without looking at what waits.
    stopped: bool,
}

/// Holds the order of the queue: what is pushed through one guard stands together.
#[derive(Debug)]
pub(crate) struct QueueGuard<'a> {
    state: MutexGuard<'a, State>,
    queue: &'a Queue,
}

impl Queue {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { state: Mutex::default(), ready: Condvar::new(), room: Notify::new(), bytes_max }
    }

    pub(crate) fn lock(&self) -> QueueGuard<'_> {
        QueueGuard { state: self.state.lock(), queue: self }
    }

    /// Bytes that wait or are being written.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    /// Waits for work and takes all of it, with its bytes; none when the writer shall end.
    pub(crate) fn take(&self) -> Option<(Vec<Work>, u64)> {
        let mut state = self.state.lock();
        while state.work.is_empty() && !state.stopped {
            self.ready.wait(&mut state);
        }
        if state.stopped {
            return None;
        }
        let bytes = state.bytes;
        Some((std::mem::take(&mut state.work), bytes))
    }

    /// Gives back the room of work that is done.
    pub(crate) fn finish(&self, bytes: u64) {
        {
            let mut state = self.state.lock();
            state.bytes = state.bytes.saturating_sub(bytes);
        }
        self.room.notify_waiters();
    }

    /// Resolves once `size` more bytes would be admitted, or nothing ever will be.
    pub(crate) async fn room(&self, size: u64) {
        loop {
            let mut told = std::pin::pin!(self.room.notified());
            // Enlisted before the look, so that room made in between is not missed.
            told.as_mut().enable();
            if !matches!(self.lock().admit(size), Err(AppendError::Busy(_))) {
                return;
            }
            told.await;
        }
    }

    /// Takes nothing more; what waits is still done.
    pub(crate) fn close(&self, reason: &str) {
        self.state.lock().closed.get_or_insert_with(|| reason.to_owned());
        self.room.notify_waiters();
    }

    /// Ends the writer after what it does now; what waits is dropped.
    pub(crate) fn stop(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed.get_or_insert_with(|| "the log is closed".to_owned());
            state.stopped = true;
            std::mem::take(&mut state.work)
        };
        self.ready.notify_all();
        self.room.notify_waiters();
        drop(dropped);
    }
}

impl QueueGuard<'_> {
    /// Whether `size` more bytes may be pushed.
    pub(crate) fn admit(&self, size: u64) -> Result<(), AppendError> {
        if let Some(reason) = &self.state.closed {
            return Err(AppendError::Offline(reason.clone()));
        }
        if self.state.bytes > 0 && self.state.bytes.saturating_add(size) > self.queue.bytes_max {
            return Err(AppendError::Busy(self.state.bytes));
        }
        Ok(())
    }

    /// Pushes work of `size` bytes that was admitted.
    pub(crate) fn push(&mut self, work: Work, size: u64) {
        self.state.bytes += size;
        self.state.work.push(work);
        self.queue.ready.notify_one();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.stopped
    }
}
