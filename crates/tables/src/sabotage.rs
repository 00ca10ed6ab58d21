//! Guarantees switched off, so that the checkers can show that they notice.
//!
//! Owns: the switches. Compiled only with the feature `sabotage`.

use std::sync::atomic::AtomicBool;

/// The commit ignores recorded progress: every proposal is committed.
pub static RANGE_FENCE_OFF: AtomicBool = AtomicBool::new(false);
