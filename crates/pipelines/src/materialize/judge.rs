//! Whether a table and a log still tell the same story: pure.
//!
//! Owns: the verdict on one recorded position.
//! Does not own: what follows from it.

use base::Offset;
use tables::Position;

/// What the log says about a recorded position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogFacts {
    pub(crate) log_start: Offset,
    /// End of what is durable.
    pub(crate) end: Offset,
    /// Hash of the batch that holds the offset before the recorded one; none when the log no longer has it.
    pub(crate) hash: Option<u64>,
}

/// Why the log is another one than the table has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Divergence {
    /// The table has more than the log.
    BeyondEnd { next: Offset, end: Offset },
    /// Another record lies where the table read one.
    OtherRecord { offset: Offset },
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BeyondEnd { next, end } => {
                write!(f, "the table has everything below offset {next}, the log ends at {end}")
            }
            Self::OtherRecord { offset } => {
                write!(f, "the log holds another record at offset {offset} than the one the table has read")
            }
        }
    }
}

/// A recorded hash of 0 says nothing (nothing was read, or what was read is gone).
pub(crate) fn judge(position: Position, log: LogFacts) -> Result<(), Divergence> {
    if position.next > log.end {
        return Err(Divergence::BeyondEnd { next: position.next, end: log.end });
    }
    let readable = position.next > log.log_start;
    match log.hash {
        Some(hash) if readable && position.hash != 0 && hash != position.hash => {
            Err(Divergence::OtherRecord { offset: position.next - 1 })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let at = |next, hash| Position { next, hash };
        let log = |log_start, end, hash| LogFacts { log_start, end, hash };
        assert_eq!(judge(at(5, 7), log(0, 5, Some(7))), Ok(()));
        assert_eq!(judge(at(5, 7), log(0, 9, Some(7))), Ok(()));
        assert_eq!(judge(at(5, 7), log(5, 9, None)), Ok(()), "retention took the evidence");
        assert_eq!(judge(at(5, 0), log(0, 9, Some(1))), Ok(()), "no evidence was recorded");
        assert_eq!(
            judge(at(5, 7), log(0, 4, None)),
            Err(Divergence::BeyondEnd { next: 5, end: 4 }),
            "an older copy of the log"
        );
        assert_eq!(
            judge(at(5, 7), log(0, 9, Some(8))),
            Err(Divergence::OtherRecord { offset: 4 }),
            "an older copy of the log that has grown since"
        );
    }
}
