//! The switch that turns the fence off: alone in its process, for it is global.
#![cfg(feature = "sabotage")]

use std::sync::atomic::Ordering;

use tables::commit::decide::{Decision, Proposal, decide};
use tables::commit::facts::{Carrier, Facts};
use tables::progress::Carried;
use tables::{Advance, Fates, Position, Progress, Recorded, SourceId};
use uuid::Uuid;

#[test]
fn without_the_fence_a_range_is_committed_twice() {
    let source = SourceId { log: Uuid::nil(), topic: Uuid::nil(), partition: 0 };
    let to = Position { next: 20, hash: 5 };
    let carried = Carried { sequence: 1, progress: Progress::from([(source, Recorded::from_here(to))]) };
    let facts = Facts { carrier: Some(Carrier { snapshot_id: 1, carried }), ..Facts::default() };
    let proposal =
        Proposal { base: None, advances: &[Advance { source, from: 10, to, fates: Fates::default() }] };
    assert_eq!(decide(&facts, &proposal), Decision::AlreadyDone);
    tables::sabotage::RANGE_FENCE_OFF.store(true, Ordering::Relaxed);
    assert_eq!(decide(&facts, &proposal), Decision::Commit);
}
