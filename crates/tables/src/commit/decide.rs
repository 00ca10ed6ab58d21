//! The decision about a commit: pure.
//!
//! Owns: the fence. *The range is the fence*: under assert-ref-snapshot-id a commit's `from` must equal the recorded
//! progress, per source.
//! Does not own: gathering facts (`facts`), acting on the decision (`append`).
//! Invariants: no I/O, no clock; a range that is recorded is never committed again, and none is left out.

use crate::commit::facts::Facts;
use crate::progress::{Advance, Progress, SourceId};

/// An append that wants to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// Head of main that the append was last planned upon.
    pub base: Option<i64>,
    /// At most one per source.
    pub advances: &'a [Advance],
}

/// What to do with a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Make a snapshot on the base.
    Commit,
    /// Every range is recorded already.
    AlreadyDone,
    /// The ranges fit, but main has moved: plan again on the new head.
    Rebase,
    /// Somebody else has committed part of the ranges.
    Fenced { source: SourceId, recorded: i64, from: i64, to: i64 },
    /// A range begins beyond what is recorded.
    Gap { source: SourceId, recorded: i64, from: i64 },
    /// The same records were committed with other contents: the log is not the one it was.
    Diverged { source: SourceId, why: String },
    /// Somebody moved the table back.
    RolledBack { carrier: String, property: String },
}

/// Progress as the table's commits have left it, or how they disagree.
///
/// The nearest carrier on main is the truth. The property counts only where that chain has expired: its sequence
/// number must then lie before the oldest snapshot that is left. A property ahead of the chain means that somebody has
/// moved main back.
pub fn recorded(facts: &Facts) -> Result<Progress, Decision> {
    let back = |carrier: String, property: i64| {
        Err(Decision::RolledBack { carrier, property: format!("snapshot sequence {property}") })
    };
    match (&facts.carrier, &facts.property) {
        (None, None) => Ok(Progress::new()),
        (Some(carrier), None) => Ok(carrier.carried.progress.clone()),
        (Some(carrier), Some(property)) => {
            let (on_chain, in_property) = (carrier.carried.sequence, property.sequence);
            let disagree = on_chain == in_property && carrier.carried.progress != property.progress;
            if in_property > on_chain || disagree {
                return back(format!("snapshot sequence {on_chain}"), in_property);
            }
            Ok(carrier.carried.progress.clone())
        }
        (None, Some(property)) => match facts.expired_before {
            Some(oldest) if property.sequence < oldest => Ok(property.progress.clone()),
            Some(oldest) => back(format!("no progress since before sequence {oldest}"), property.sequence),
            None => back("no progress".into(), property.sequence),
        },
    }
}

/// Decides about a proposal.
pub fn decide(facts: &Facts, proposal: &Proposal<'_>) -> Decision {
    #[cfg(feature = "sabotage")]
    if crate::sabotage::RANGE_FENCE_OFF.load(std::sync::atomic::Ordering::Relaxed) {
        return Decision::Commit;
    }
    let recorded = match recorded(facts) {
        Ok(recorded) => recorded,
        Err(rolled_back) => return rolled_back,
    };
    // A range that fits may still be beside one that is done: the files hold the rows of both.
    let (mut fits, mut done) = (None, None);
    for advance in proposal.advances {
        match standing(&recorded, advance) {
            Standing::Fits => fits = fits.or(Some(advance)),
            Standing::Done => done = done.or(Some(advance)),
            Standing::Either => {}
            Standing::Refused(decision) => return decision,
        }
    }
    match (fits, done) {
        (Some(_), Some(advance)) => fenced(&recorded, advance),
        (None, Some(_)) => Decision::AlreadyDone,
        _ if facts.head != proposal.base => Decision::Rebase,
        _ => Decision::Commit,
    }
}

enum Standing {
    Fits,
    Done,
    /// An empty range at the recorded place.
    Either,
    Refused(Decision),
}

fn standing(recorded: &Progress, advance: &Advance) -> Standing {
    let Advance { source, from, to, .. } = *advance;
    // Nothing recorded: the first commit of this life of the source; the caller knows where its log starts.
    let Some(at) = recorded.get(&source).map(|r| r.position) else { return Standing::Fits };
    if at.next == from {
        return if to.next == from { Standing::Either } else { Standing::Fits };
    }
    if at.next < from {
        return Standing::Refused(Decision::Gap { source, recorded: at.next, from });
    }
    if at.next < to.next {
        return Standing::Refused(fenced(recorded, advance));
    }
    if at.next == to.next && at.hash != to.hash && at.hash != 0 && to.hash != 0 {
        let why = format!(
            "the batch before offset {} had hash {:x} when it was committed and has {:x} now",
            to.next, at.hash, to.hash
        );
        return Standing::Refused(Decision::Diverged { source, why });
    }
    Standing::Done
}

fn fenced(recorded: &Progress, advance: &Advance) -> Decision {
    let Advance { source, from, to, .. } = *advance;
    let recorded = recorded.get(&source).map_or(from, |at| at.position.next);
    Decision::Fenced { source, recorded, from, to: to.next }
}

/// What a log knows about one source that it still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFacts {
    pub source: SourceId,
    /// First offset after the last durable record.
    pub end: i64,
    /// First offset that is still there.
    pub log_start: i64,
    /// Hash of the batch that holds offset `next - 1` of the table's progress; none when that batch is gone.
    pub hash_before: Option<u64>,
}

/// Whether a log is the one that a table's progress speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogJudgement {
    Ok,
    /// The log was restored from an older copy, or replaced: committing on would skip or double records.
    Diverged {
        source: SourceId,
        why: String,
    },
}

/// Compares progress with the log it was made from. Sources that the log does not have any more (deleted topics,
/// other logs) are earlier incarnations and say nothing.
pub fn judge_log(progress: &Progress, log: &[LogFacts]) -> LogJudgement {
    for facts in log {
        let Some(at) = progress.get(&facts.source).map(|r| r.position) else { continue };
        let why = if at.next > facts.end {
            format!("the table has committed up to offset {}, the log ends at {}", at.next, facts.end)
        } else if let Some(hash) = facts.hash_before.filter(|h| *h != at.hash && at.hash != 0 && *h != 0) {
            format!(
                "the batch before offset {} had hash {:x} when it was committed and has {hash:x} now",
                at.next, at.hash
            )
        } else {
            continue;
        };
        return LogJudgement::Diverged { source: facts.source, why };
    }
    LogJudgement::Ok
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
