//! Promises broken on purpose, to see whether the checkers notice. Compiled in for tests only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Acknowledge appends before they are written.
pub static ACK_BEFORE_WRITE: AtomicBool = AtomicBool::new(false);

/// Called by the log writer before it writes a group. The pause makes room for a crash between the two.
pub(crate) fn before_write(acks: &mut Vec<crate::embedded::Ack>) {
    if ACK_BEFORE_WRITE.load(Ordering::SeqCst) && !acks.is_empty() {
        for ack in acks.drain(..) {
            let _ = ack.send(Ok(()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
