//! How far a table has come in its sources.
//!
//! Owns: the form of progress in snapshot summaries and table properties; nothing else reads or writes it.
//! Does not own: what a source is (to tables it is an id with numbered records).
//! Invariants: per source `next` only grows along a table's main branch; what is written is read back the same; a
//! newer form is refused, not guessed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Key of progress in snapshot summaries (and, wrapped with a sequence number, in table properties).
pub const PROGRESS_KEY: &str = "frazil.progress";
/// Key of the id of one append in the snapshot it makes.
pub const COMMIT_ID_KEY: &str = "frazil.commit-id";

/// The form written and the newest form read.
const VERSION: u32 = 1;

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

/// Progress in all sources.
pub type Progress = BTreeMap<SourceId, Position>;

/// One step in one source: everything in `[from, to.next)` is accounted for by the commit that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    pub source: SourceId,
    /// Must equal the recorded `next`, or the first offset of the source when nothing is recorded.
    pub from: i64,
    pub to: Position,
}

/// Progress with the sequence number of the snapshot that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    pub sequence: i64,
    pub progress: Progress,
}

/// Log → topic → partition → (next, hash in hexadecimal): ids are written once, for topics with many partitions.
type Logs = BTreeMap<Uuid, BTreeMap<Uuid, BTreeMap<i32, (i64, String)>>>;

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
    for (source, position) in progress {
        let topics = logs.entry(source.log).or_default();
        let partitions = topics.entry(source.topic).or_default();
        partitions.insert(source.partition, (position.next, format!("{:x}", position.hash)));
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
        return Err(format!(
            "it has form {v}, this program knows {VERSION}: use the newer frazil that wrote it"
        ));
    }
    let written: Written = serde_json::from_str(text).map_err(|e| format!("it does not parse: {e}"))?;
    let mut progress = Progress::new();
    for (log, topics) in written.logs {
        for (topic, partitions) in topics {
            for (partition, (next, hash)) in partitions {
                let hash =
                    u64::from_str_radix(&hash, 16).map_err(|_| format!("`{hash}` is no hash of a batch"))?;
                progress.insert(SourceId { log, topic, partition }, Position { next, hash });
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
        let progress = Progress::from([
            (source(2, 0), Position { next: 0, hash: 0 }),
            (source(2, 1), Position { next: i64::MAX, hash: u64::MAX }),
            (source(3, 1), Position { next: 7, hash: 0xfeed }),
        ]);
        assert_eq!(decode(&encode(&progress)), Ok(progress.clone()));
        let carried = Carried { sequence: 12, progress };
        assert_eq!(decode_carried(&encode_carried(&carried)), Ok(carried.clone()));
        assert_eq!(decode(&encode(&Progress::new())), Ok(Progress::new()));
        assert!(decode_carried(&encode(&carried.progress)).is_err(), "a summary is no property");
    }

    #[test]
    fn newer_and_broken_forms_are_refused() {
        let newer = decode(r#"{"v":2,"anything":[]}"#).expect_err("newer");
        assert!(newer.contains("newer frazil"), "{newer}");
        for bad in ["", "{}", "null", r#"{"v":1}"#, r#"{"v":1,"logs":{"x":{}}}"#] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        let hash = r#"{"v":1,"logs":{"00000000-0000-0000-0000-000000000001":{"00000000-0000-0000-0000-000000000002":{"0":[1,"zz"]}}}}"#;
        assert!(decode(hash).expect_err("hash").contains("zz"));
    }
}
