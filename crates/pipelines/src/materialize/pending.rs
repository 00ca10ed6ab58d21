//! What is staged and was not committed because the catalog did not answer.
//!
//! Owns: keeping it for the next attempt, and whether it still fits there.
//! Does not own: committing.
//! Invariants: it is taken up only by tables that stand where they stood when it was left; the range fence decides
//! about it as about any other commit. So a catalog that is away for long costs one set of files, not one per attempt.

use std::sync::Arc;

use topics::TopicInfo;

use crate::materialize::range::Range;
use crate::materialize::stage::Staged;
use crate::materialize::standing::{Positions, Standing};

/// A commit that is to be tried again.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) ranges: Vec<Range>,
    pub(crate) staged: Staged,
    info: Arc<TopicInfo>,
    positions: Positions,
    dead: Positions,
}

impl Pending {
    pub(crate) fn new(ranges: Vec<Range>, staged: Staged, standing: &Standing) -> Self {
        let (info, positions, dead) =
            (Arc::clone(&standing.info), standing.positions.clone(), standing.dead.clone());
        Self { ranges, staged, info, positions, dead }
    }

    /// Whether both tables stand where they stood, and the topic is what it was.
    pub(crate) fn fits(&self, standing: &Standing) -> bool {
        let same = self.info.id == standing.info.id && self.info.config == standing.info.config;
        same && self.positions == standing.positions && self.dead == standing.dead
    }
}
