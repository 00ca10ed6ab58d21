//! Cancel requests: they come on a connection of their own and name the other one by its key.
//!
//! Owns: the keys of the open connections; the token of the statement that runs on each.
//! Does not own: what a cancelled statement does (its stream is dropped).
//! Invariants: a key is forgotten with its connection; cancelling reaches only the statement that runs at that moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The keys of all connections of the door.
#[derive(Debug, Default)]
pub(super) struct Backends {
    last_process: AtomicI32,
    open: Mutex<HashMap<i32, (i32, Running)>>,
}

/// The statement that runs on a connection, if one does.
type Running = Arc<Mutex<Option<CancellationToken>>>;

/// One connection's key. Dropping it forgets the key.
#[derive(Debug)]
pub(super) struct BackendKey {
    pub(super) process: i32,
    pub(super) secret: i32,
    running: Running,
    backends: Arc<Backends>,
}

impl Backends {
    /// A new key.
    pub(super) fn enter(self: &Arc<Self>) -> BackendKey {
        let (head, ..) = Uuid::new_v4().as_fields();
        let (secret, running) = (head as i32, Running::default());
        let mut open = self.open.lock();
        let process = loop {
            // Process ids are positive and may wrap: skip those that are still in use.
            let next = self.last_process.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
            if next != 0 && !open.contains_key(&next) {
                break next;
            }
        };
        open.insert(process, (secret, Arc::clone(&running)));
        BackendKey { process, secret, running, backends: Arc::clone(self) }
    }

    /// Cancels what runs on the connection with this key; says whether there was something.
    pub(super) fn cancel(&self, process: i32, secret: i32) -> bool {
        let running = match self.open.lock().get(&process) {
            Some((known, running)) if *known == secret => Arc::clone(running),
            _ => return false,
        };
        let token = running.lock().clone();
        token.inspect(CancellationToken::cancel).is_some()
    }
}

impl BackendKey {
    /// Begins a statement that can be cancelled.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.running.lock() = Some(token.clone());
        token
    }

    /// The statement is over: later cancel requests mean nothing.
    pub(super) fn end(&self) {
        *self.running.lock() = None;
    }
}

impl Drop for BackendKey {
    fn drop(&mut self) {
        self.backends.open.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_cancels_and_only_what_runs() {
        let backends = Arc::new(Backends::default());
        let key = backends.enter();
        let other = backends.enter();
        assert!(!backends.cancel(key.process, key.secret), "nothing runs yet");
        let token = key.begin();
        assert!(!backends.cancel(key.process, key.secret.wrapping_add(1)));
        assert!(!backends.cancel(other.process, key.secret));
        assert!(!token.is_cancelled());
        assert!(backends.cancel(key.process, key.secret) && token.is_cancelled());
        key.end();
        assert!(!backends.cancel(key.process, key.secret));
        let (process, secret) = (key.process, key.secret);
        let _again = key.begin();
        drop(key);
        assert!(!backends.cancel(process, secret));
    }
}
