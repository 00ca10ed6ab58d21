//! How far a table has come in its sources.
//!
//! Owns: the form of progress in snapshot summaries and table properties; nothing else reads or writes it. The account
//! that goes with it: how many offsets of a source became what.
//! Does not own: what a source is (to tables it is an id with numbered records); counting.
//! Invariants: per source `next` only grows along a table's main branch; a position and its account are stored
//! together; what is written is read back the same; another form is refused, not guessed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Key of progress in snapshot summaries (and, wrapped with a sequence number, in table properties).
pub const PROGRESS_KEY: &str = "frazil.progress";
/// Key of the id of one append in the snapshot it makes.
pub const COMMIT_ID_KEY: &str = "frazil.commit-id";

/// The form written and read.
const VERSION: u32 = 2;

/// One partition of one life of one topic of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    pub log: Uuid,
    pub topic: Uuid,
    pub partition: i32,
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {} of log {}", self.partition, self.topic, self.log)
    }
}

/// A place in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Next offset to read.
    pub next: i64,
    /// Hash of the batch that holds offset `next - 1`; 0 when nothing was read.
    pub hash: u64,
}

/// What became of offsets: how many of them. Each offset has one fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fates {
    /// Rows of this table.
    #[serde(skip_serializing_if = "is_zero")]
    pub rows: u64,
    /// Rows of the dead-letter table.
    #[serde(skip_serializing_if = "is_zero")]
    pub dead_letters: u64,
    /// Records that fit no column and were to be dropped.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// The source's own markers.
    #[serde(skip_serializing_if = "is_zero")]
    pub control: u64,
    /// Records of transactions that were aborted.
    #[serde(skip_serializing_if = "is_zero")]
    pub aborted: u64,
    /// Offsets that hold nothing any more, since newer records with their keys do.
    #[serde(skip_serializing_if = "is_zero")]
    pub compacted: u64,
    /// Offsets that the source had lost, or an operator left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Not a fate: offsets that were read once more after an operator moved the table back, so that two records of
    /// different histories have the same one.
    #[serde(skip_serializing_if = "is_zero")]
    pub forked: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Fates {
    /// Offsets that have a fate.
    pub fn total(&self) -> u64 {
        self.rows
            + self.dead_letters
            + self.dropped
            + self.control
            + self.aborted
            + self.compacted
            + self.skipped
    }

    /// Both together.
    pub fn and(self, more: Self) -> Self {
        Self {
            rows: self.rows + more.rows,
            dead_letters: self.dead_letters + more.dead_letters,
            dropped: self.dropped + more.dropped,
            control: self.control + more.control,
            aborted: self.aborted + more.aborted,
            compacted: self.compacted + more.compacted,
            skipped: self.skipped + more.skipped,
            forked: self.forked + more.forked,
        }
    }
}

/// What became of everything in `[first, next)` of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// The first offset that this table was owed.
    pub first: i64,
    pub fates: Fates,
}

/// What a table says about one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    pub position: Position,
    pub account: Account,
}

impl Recorded {
    /// A source that begins at `position`.
    pub fn from_here(position: Position) -> Self {
        Self { position, account: Account { first: position.next, ..Account::default() } }
    }

    /// Whether every offset has exactly one fate.
    pub fn adds_up(&self) -> bool {
        let passed = (self.position.next - self.account.first).max(0).unsigned_abs();
        passed + self.account.fates.forked == self.account.fates.total()
    }

    /// What is recorded after `advance` on top of this; without anything recorded, the source begins there.
    pub fn after(before: Option<&Self>, advance: &Advance) -> Self {
        let account = before.map_or(Account { first: advance.from, ..Account::default() }, |r| r.account);
        let fates = account.fates.and(advance.fates);
        Self { position: advance.to, account: Account { fates, ..account } }
    }
}

/// Progress in all sources.
pub type Progress = BTreeMap<SourceId, Recorded>;

/// One step in one source: everything in `[from, to.next)` is accounted for by the commit that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    pub source: SourceId,
    /// Must equal the recorded `next`, or the first offset of the source when nothing is recorded.
    pub from: i64,
    pub to: Position,
    /// What became of the offsets in between.
    pub fates: Fates,
}

/// Progress with the sequence number of the snapshot that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    pub sequence: i64,
    pub progress: Progress,
}

/// Log → topic → partition → (next, hash in hexadecimal, first, fates): ids are written once, for topics with many
/// partitions.
type Logs = BTreeMap<Uuid, BTreeMap<Uuid, BTreeMap<i32, (i64, String, i64, Fates)>>>;

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<i64>,
    logs: Logs,
}

/// The text of a snapshot summary.
pub fn encode(progress: &Progress) -> String {
    write(progress, None)
}

/// The text of the table property.
pub fn encode_carried(carried: &Carried) -> String {
    write(&carried.progress, Some(carried.sequence))
}

/// Reads the text of a snapshot summary; the error says what is wrong with it.
pub fn decode(text: &str) -> Result<Progress, String> {
    read(text).map(|(progress, _)| progress)
}

/// Reads the text of the table property; the error says what is wrong with it.
pub fn decode_carried(text: &str) -> Result<Carried, String> {
    let (progress, sequence) = read(text)?;
    let sequence = sequence.ok_or("it names no sequence number")?;
    Ok(Carried { sequence, progress })
}

fn write(progress: &Progress, sequence: Option<i64>) -> String {
    let mut logs = Logs::new();
    for (source, Recorded { position, account }) in progress {
        let topics = logs.entry(source.log).or_default();
        let partitions = topics.entry(source.topic).or_default();
        let hash = format!("{:x}", position.hash);
        partitions.insert(source.partition, (position.next, hash, account.first, account.fates));
    }
    serde_json::to_string(&Written { v: VERSION, sequence, logs })
        .expect("maps with string keys always serialize")
}

fn read(text: &str) -> Result<(Progress, Option<i64>), String> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let Versioned { v } = serde_json::from_str(text).map_err(|e| format!("it does not parse: {e}"))?;
    if v != VERSION {
        return Err(format!("it has form {v}, this program knows {VERSION}: use the frazil that wrote it"));
    }
    let written: Written = serde_json::from_str(text).map_err(|e| format!("it does not parse: {e}"))?;
    let mut progress = Progress::new();
    for (log, topics) in written.logs {
        for (topic, partitions) in topics {
            for (partition, (next, hash, first, fates)) in partitions {
                let hash =
                    u64::from_str_radix(&hash, 16).map_err(|_| format!("`{hash}` is no hash of a batch"))?;
                let recorded =
                    Recorded { position: Position { next, hash }, account: Account { first, fates } };
                progress.insert(SourceId { log, topic, partition }, recorded);
            }
        }
    }
    Ok((progress, written.sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(topic: u128, partition: i32) -> SourceId {
        SourceId { log: Uuid::from_u128(1), topic: Uuid::from_u128(topic), partition }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let recorded = |next, hash, first, fates| Recorded {
            position: Position { next, hash },
            account: Account { first, fates },
        };
        let fates = Fates { rows: 3, skipped: 1, ..Fates::default() };
        let progress = Progress::from([
            (source(2, 0), recorded(0, 0, 0, Fates::default())),
            (source(2, 1), recorded(i64::MAX, u64::MAX, i64::MAX - 4, fates)),
            (source(3, 1), recorded(7, 0xfeed, 7, Fates::default())),
        ]);
        assert!(progress.values().all(Recorded::adds_up));
        assert_eq!(decode(&encode(&progress)), Ok(progress.clone()));
        let carried = Carried { sequence: 12, progress };
        assert_eq!(decode_carried(&encode_carried(&carried)), Ok(carried.clone()));
        assert_eq!(decode(&encode(&Progress::new())), Ok(Progress::new()));
        assert!(decode_carried(&encode(&carried.progress)).is_err(), "a summary is no property");
    }

    #[test]
    fn other_and_broken_forms_are_refused() {
        let newer = decode(r#"{"v":3,"anything":[]}"#).expect_err("newer");
        assert!(newer.contains("the frazil that wrote it"), "{newer}");
        for bad in ["", "{}", "null", r#"{"v":2}"#, r#"{"v":2,"logs":{"x":{}}}"#] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        let hash = r#"{"v":2,"logs":{"00000000-0000-0000-0000-000000000001":{"00000000-0000-0000-0000-000000000002":{"0":[1,"zz",0,{}]}}}}"#;
        assert!(decode(hash).expect_err("hash").contains("zz"));
    }

    #[test]
    fn accounts_add_up() {
        let source = source(1, 0);
        let step = |from, next, fates| Advance { source, from, to: Position { next, hash: 0 }, fates };
        let rows = |rows| Fates { rows, ..Fates::default() };
        let first = Recorded::after(None, &step(5, 9, rows(4)));
        assert_eq!((first.account.first, first.adds_up()), (5, true));
        let then = Recorded::after(Some(&first), &step(9, 12, Fates { aborted: 2, control: 1, ..rows(0) }));
        assert!(then.adds_up());
        assert!(!Recorded::after(Some(&then), &step(12, 14, rows(1))).adds_up(), "one offset has no fate");
        assert!(!Recorded::after(Some(&then), &step(12, 14, rows(3))).adds_up(), "one offset has two");
    }
}
