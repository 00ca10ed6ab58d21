//! How much one value may add to the columns.
//!
//! Owns: the limit that keeps a short value with many almost empty items from filling the memory.
//! Does not own: the length of values (`VALUE_BYTES_MAX`).

use super::refused::{Fit, too_large};

/// Array values that any value may add by repetition.
const CELLS_FREE: usize = 4 << 20;
/// Array values that it may add for each of its bytes beyond those.
const CELLS_PER_BYTE: usize = 16;

/// What is left for a value.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn of(bytes: usize) -> Self {
        Self(CELLS_FREE + bytes.saturating_mul(CELLS_PER_BYTE))
    }

    /// Takes `count` items of `cells` array values each.
    #[inline]
    pub(super) fn take(&mut self, count: usize, cells: usize) -> Fit {
        match self.0.checked_sub(count.saturating_mul(cells)) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(too_large("its lists and maps make too many values of its many columns".into())),
        }
    }
}
