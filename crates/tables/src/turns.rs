//! Whose attempt to commit to a table is next, among the tasks of this process.
//!
//! Owns: a queue for each table that somebody commits to now.
//! Does not own: whether a commit is right: that is the pointer's condition, which other processes meet as well.
//! Invariants: a turn is held for one attempt, never while data files are read or written. Without it a slow attempt (a
//! compaction, which writes many manifests) would lose to frequent appends for ever.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use crate::catalog::TableIdent;

/// The queues; those that nobody waits in are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<TableIdent, Weak<Queue<()>>>>);

/// Held during one attempt.
#[derive(Debug)]
pub(crate) struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits until those that came before have made their attempts.
    pub(crate) async fn next(&self, ident: &TableIdent) -> Turn {
        let queue = self.queue(ident);
        Turn { _held: queue.lock_owned().await }
    }

    fn queue(&self, ident: &TableIdent) -> Arc<Queue<()>> {
        let mut queues = self.0.lock();
        if let Some(queue) = queues.get(ident).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Queue::new(()));
        queues.insert(ident.clone(), Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_taken_in_order_and_queues_forgotten() {
        let turns = Arc::new(Turns::default());
        let ident = |name: &str| TableIdent { namespace: vec!["public".into()], name: name.into() };
        let first = turns.next(&ident("a")).await;
        let _other = turns.next(&ident("b")).await;
        let waiting = tokio::spawn({
            let (turns, ident) = (Arc::clone(&turns), ident("a"));
            async move { turns.next(&ident).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.expect("the second turn"));
        drop(turns.next(&ident("c")).await);
        assert_eq!(turns.0.lock().len(), 2, "b is held, c was the last");
    }
}
