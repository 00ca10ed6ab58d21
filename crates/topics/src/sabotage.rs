//! Promises broken on purpose, to see whether the checkers notice. Compiled in for tests only.

use crate::embedded::Producers;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Acknowledge appends before they are written.
pub static ACK_BEFORE_WRITE: AtomicBool = AtomicBool::new(false);

/// Acknowledge appends as durable before they are synced.
pub static ACK_BEFORE_DURABLE: AtomicBool = AtomicBool::new(false);
/// Do not sync what is appended.
pub static NO_FSYNC: AtomicBool = AtomicBool::new(false);
/// Recovery cuts off one record more than the torn tail.
pub static TRUNCATE_TOO_MUCH: AtomicBool = AtomicBool::new(false);
/// Recovery forgets the sequences of producers.
pub static FORGET_PRODUCERS: AtomicBool = AtomicBool::new(false);

/// The switch of that name.
pub fn switch(name: &str) -> Option<&'static AtomicBool> {
    Some(match name {
        "ack-before-write" => &ACK_BEFORE_WRITE,
        "ack-before-durable" => &ACK_BEFORE_DURABLE,
        "no-fsync" => &NO_FSYNC,
        "truncate-too-much" => &TRUNCATE_TOO_MUCH,
        "forget-producers" => &FORGET_PRODUCERS,
        _ => return None,
    })
}

/// File and position of the last record, if recovery shall leave it out.
pub(crate) fn left_out(
    wal: &storage::wal::RecoveredWal,
) -> Result<Option<(u64, u64)>, storage::wal::WalError> {
    let mut last = None;
    if TRUNCATE_TOO_MUCH.load(Ordering::SeqCst) {
        wal.replay::<storage::wal::WalError>(&mut |found| {
            last = Some((found.file, found.position));
            Ok(())
        })?;
    }
    Ok(last)
}

/// Called with each partition that was recovered.
pub(crate) fn after_recovery(appending: &mut Producers, settled: &mut Producers) {
    if FORGET_PRODUCERS.load(Ordering::SeqCst) {
        *appending = Default::default();
        *settled = Default::default();
    }
}

/// Called by the log writer between write and fsync.
pub(crate) fn before_sync(acks: &mut Vec<crate::embedded::Ack>) {
    if ACK_BEFORE_DURABLE.load(Ordering::SeqCst) && !acks.is_empty() {
        for ack in acks.drain(..) {
            ack.send(Ok(()));
        }
        // Whoever is told must get to hear of it before the sync.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Called by the log writer before it writes a group. The pause makes room for a crash between the two.
pub(crate) fn before_write(acks: &mut Vec<crate::embedded::Ack>) {
    if ACK_BEFORE_WRITE.load(Ordering::SeqCst) && !acks.is_empty() {
        for ack in acks.drain(..) {
            ack.send(Ok(()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
