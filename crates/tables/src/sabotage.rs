//! Guarantees switched off, so that the checkers can show that they notice.
//!
//! Owns: the switches. Compiled only with the feature `sabotage`.

use std::sync::atomic::AtomicBool;

/// The commit ignores recorded progress: every proposal is committed.
pub static RANGE_FENCE_OFF: AtomicBool = AtomicBool::new(false);

/// A commit whose outcome is unknown is made again without a look whether it was made.
pub static BLIND_RETRY: AtomicBool = AtomicBool::new(false);

/// Nobody looks behind the head of main: not for progress, not for a commit of unknown outcome.
pub static ANCESTORS_UNSEEN: AtomicBool = AtomicBool::new(false);

/// A replacement is committed without a look whether the files it replaces are still live.
pub static REVALIDATION_OFF: AtomicBool = AtomicBool::new(false);

/// Expiry removes every file of an expired snapshot, whoever else has it.
pub static SURVIVORS_FORGOTTEN: AtomicBool = AtomicBool::new(false);
