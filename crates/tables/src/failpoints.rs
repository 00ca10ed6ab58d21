//! Named steps of staging and committing, where tests let something go wrong.
//!
//! Owns: the names and the mishaps. Without the feature `sabotage` (and outside of this crate's tests) a step does nothing.
//! Does not own: what a mishap must not lead to (the tests of commits say that).
//! Invariants: a mishap strikes once; what came before its step stays done.

use storage::ObjectError;

use crate::catalog::Tables;

/// A step on the way of records into a table, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    BeforeDataFile,
    AfterDataFile,
    AfterManifest,
    AfterManifestList,
    /// The new metadata is stored, the table's pointer still names the old.
    BeforePointer,
    /// The commit is made, nobody knows yet.
    AfterPointer,
}

impl Step {
    pub const ALL: [Self; 6] = [
        Self::BeforeDataFile,
        Self::AfterDataFile,
        Self::AfterManifest,
        Self::AfterManifestList,
        Self::BeforePointer,
        Self::AfterPointer,
    ];
}

#[cfg(not(any(test, feature = "sabotage")))]
impl Tables {
    #[inline]
    pub(crate) async fn step(&self, _step: Step) -> Result<(), ObjectError> {
        Ok(())
    }

    #[inline]
    pub(crate) fn is_overtaken(&self) -> bool {
        false
    }
}

#[cfg(any(test, feature = "sabotage"))]
pub use planned::{Faults, Mishap};

#[cfg(any(test, feature = "sabotage"))]
mod planned {
    use parking_lot::Mutex;
    use tokio::sync::watch;

    use super::{ObjectError, Step, Tables};

    /// What goes wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Mishap {
        /// The service is unavailable (503); behind [`Step::AfterPointer`] that is a lost reply.
        Unavailable,
        /// Any other error, which a client may take for a final word.
        Refused,
        /// Somebody else was faster (409). Only [`Step::BeforePointer`] can say that.
        Conflict,
        /// No answer ever comes: the process is killed here.
        Hang,
    }

    /// Mishaps that wait for their step.
    #[derive(Debug)]
    pub struct Faults {
        /// Whether no pointer moves.
        stalled: watch::Sender<bool>,
        planned: Mutex<Vec<(Step, Mishap, usize)>>,
        struck: watch::Sender<usize>,
    }

    impl Default for Faults {
        fn default() -> Self {
            Self {
                stalled: watch::Sender::new(false),
                planned: Mutex::default(),
                struck: watch::Sender::new(0),
            }
        }
    }

    impl Faults {
        /// Plans a mishap for the next time that `step` is passed.
        pub fn add(&self, step: Step, mishap: Mishap) {
            self.add_after(0, step, mishap);
        }

        /// Plans a mishap for when `step` is passed once more after `passes` times.
        pub fn add_after(&self, passes: usize, step: Step, mishap: Mishap) {
            self.planned.lock().push((step, mishap, passes));
        }

        /// The catalog does not answer until it is told otherwise: nothing passes [`Step::BeforePointer`].
        pub fn stall(&self, stalled: bool) {
            self.stalled.send_replace(stalled);
        }

        /// How many have struck.
        pub fn struck(&self) -> watch::Receiver<usize> {
            self.struck.subscribe()
        }

        fn take(&self, step: Step, conflict: bool) -> Option<Mishap> {
            let mut planned = self.planned.lock();
            let fits = |(at, mishap, _): &(Step, Mishap, usize)| {
                *at == step && (*mishap == Mishap::Conflict) == conflict
            };
            let ready = planned.iter().position(|plan| fits(plan) && plan.2 == 0);
            let Some(index) = ready else {
                // A pass counts for all that wait for one.
                planned.iter_mut().filter(|plan| fits(plan)).for_each(|plan| plan.2 -= 1);
                return None;
            };
            let (_, mishap, _) = planned.remove(index);
            self.struck.send_modify(|struck| *struck += 1);
            Some(mishap)
        }
    }

    impl Tables {
        /// Where tests plan mishaps.
        pub fn faults(&self) -> &Faults {
            self.planned_faults()
        }

        pub(crate) async fn step(&self, step: Step) -> Result<(), ObjectError> {
            if step == Step::BeforePointer {
                let mut stalled = self.faults().stalled.subscribe();
                // The sender lives as long as the tables.
                let _ = stalled.wait_for(|stalled| !stalled).await;
            }
            match self.faults().take(step, false) {
                None | Some(Mishap::Conflict) => Ok(()),
                Some(Mishap::Unavailable) => {
                    let source =
                        object_store::Error::Generic { store: "planned", source: "no answer".into() };
                    Err(ObjectError::Store { location: format!("{step:?}"), source })
                }
                Some(Mishap::Refused) => Err(ObjectError::NotFound { location: format!("{step:?}") }),
                Some(Mishap::Hang) => std::future::pending().await,
            }
        }

        pub(crate) fn is_overtaken(&self) -> bool {
            self.faults().take(Step::BeforePointer, true).is_some()
        }
    }
}
