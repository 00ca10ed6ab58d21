//! Rows that move from another table into this one, told so that a stop in between is made good.
//!
//! Owns: the form of the marker of such a move in the table's properties; what a move does to the account.
//! Does not own: the commits (`commit/replay`), taking the rows out of the other table (`maintenance/removal`).
//! Invariants: moves of a table are numbered; a marker is written by the commit that brings the rows and stays open until
//! the rows are certainly gone from where they were; another form of marker is refused, not guessed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::{CatalogError, Table};
use crate::progress::{Progress, SourceId};

/// Key of the marker among the table's properties.
pub const REPLAY_KEY: &str = "frazil.replay";
/// Key of the number of rows that a move brought, in the summary of its snapshot.
pub const REPLAYED: &str = "frazil.replayed";

const VERSION: u32 = 1;

/// Rising offsets, as runs of neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<i64>", into = "Vec<i64>")]
pub struct Offsets(Vec<(i64, i64)>);

impl Offsets {
    /// Any offsets, in any order; repetitions are one.
    pub fn of(mut offsets: Vec<i64>) -> Self {
        offsets.sort_unstable();
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for offset in offsets {
            match runs.last_mut() {
                Some((_, end)) if offset < *end => {}
                Some((_, end)) if offset == *end => *end += 1,
                _ => runs.push((offset, offset + 1)),
            }
        }
        Self(runs)
    }

    pub fn contains(&self, offset: i64) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= offset);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, to)| offset < *to)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(from, to)| to.abs_diff(*from)).sum()
    }

    /// Half-open, rising, with gaps between them.
    pub fn runs(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// Whether there is one in `[least, most]`.
    pub fn any_within(&self, least: i64, most: i64) -> bool {
        let at = self.0.partition_point(|(_, to)| *to <= least);
        self.0.get(at).is_some_and(|(from, _)| *from <= most)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Gap and length of each run: small numbers, for a table property.
impl From<Offsets> for Vec<i64> {
    fn from(offsets: Offsets) -> Self {
        let (mut numbers, mut end) = (Self::with_capacity(offsets.0.len() * 2), 0);
        for (from, to) in offsets.0 {
            numbers.extend([from - end, to - from]);
            end = to;
        }
        numbers
    }
}

impl TryFrom<Vec<i64>> for Offsets {
    type Error = String;

    fn try_from(numbers: Vec<i64>) -> Result<Self, String> {
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("runs of offsets are pairs of a gap and a length".into());
        }
        let (mut runs, mut end) = (Vec::with_capacity(pairs.len()), 0_i64);
        for [gap, len] in pairs {
            let from = end.checked_add(*gap).filter(|_| *gap >= 0);
            let to = from.and_then(|from| from.checked_add(*len)).filter(|_| *len > 0);
            let (Some(from), Some(to)) = (from, to) else {
                return Err(format!("a gap of {gap} and {len} offsets are no run"));
            };
            runs.push((from, to));
            end = to;
        }
        Ok(Self(runs))
    }
}

/// One move: which rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    pub id: Uuid,
    /// Log and topic that the offsets are of.
    pub log: Uuid,
    pub topic: Uuid,
    /// Offsets by partition.
    pub offsets: BTreeMap<i32, Offsets>,
}

impl Replay {
    pub fn contains(&self, partition: i32, offset: i64) -> bool {
        self.offsets.get(&partition).is_some_and(|offsets| offsets.contains(offset))
    }

    /// Rows that move.
    pub fn rows(&self) -> u64 {
        self.offsets.values().map(Offsets::count).sum()
    }
}

/// The moves into a table so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replays {
    /// How many there were.
    pub generation: u64,
    /// Sequence number of the snapshot that brought the last one's rows; 0 when there was none.
    pub sequence: i64,
    /// The last one, as long as its rows may also be where they came from.
    pub open: Option<Replay>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    generation: u64,
    sequence: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<Replay>,
}

impl Replays {
    pub(crate) fn encode(&self) -> String {
        let Self { generation, sequence, open } = self.clone();
        serde_json::to_string(&Written { v: VERSION, generation, sequence, open })
            .expect("maps with string keys always serialize")
    }

    fn decode(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|e| format!("it does not parse: {e}"))?;
        let Written { v, generation, sequence, open } = written;
        if v != VERSION {
            return Err(format!(
                "it has form {v}, this program knows {VERSION}: use the frazil that wrote it"
            ));
        }
        Ok(Self { generation, sequence, open })
    }
}

impl Table {
    /// What the table says of rows that moved into it.
    pub fn replays(&self) -> Result<Replays, CatalogError> {
        let Some(text) = self.metadata.properties().get(REPLAY_KEY) else { return Ok(Replays::default()) };
        Replays::decode(text).map_err(|e| CatalogError::Format(format!("table property {REPLAY_KEY}: {e}")))
    }
}

/// The account after a move: what were dead letters are rows. The error says how the account contradicts the move.
pub(crate) fn moved(progress: &Progress, replay: &Replay) -> Result<Progress, String> {
    let mut progress = progress.clone();
    for (partition, offsets) in &replay.offsets {
        let source = SourceId { log: replay.log, topic: replay.topic, partition: *partition };
        let Some(recorded) = progress.get_mut(&source) else {
            return Err(format!("nothing is recorded of {source}"));
        };
        let (first, next) = (recorded.account.first, recorded.position.next);
        if let Some((from, to)) = offsets.runs().iter().find(|(from, to)| *from < first || *to > next) {
            return Err(format!("{source}: [{from}, {to}) is not within [{first}, {next})"));
        }
        let (count, fates) = (offsets.count(), &mut recorded.account.fates);
        let Some(left) = fates.dead_letters.checked_sub(count) else {
            return Err(format!("{source}: {count} dead letters of {} cannot move", fates.dead_letters));
        };
        (fates.dead_letters, fates.rows) = (left, fates.rows + count);
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Account, Fates, Position, Recorded};

    #[test]
    fn offsets_are_runs_and_come_back() {
        let offsets = Offsets::of(vec![9, 3, 4, 4, 5, 11]);
        assert_eq!(offsets.runs(), [(3, 6), (9, 10), (11, 12)]);
        assert_eq!(offsets.count(), 5);
        let held: Vec<i64> = (0..14).filter(|offset| offsets.contains(*offset)).collect();
        assert_eq!(held, [3, 4, 5, 9, 11]);
        for (least, most, any) in
            [(0, 2, false), (0, 3, true), (5, 5, true), (6, 8, false), (10, 20, true), (12, 20, false)]
        {
            assert_eq!(offsets.any_within(least, most), any, "{least} {most}");
        }
        let text = serde_json::to_string(&offsets).expect("written");
        assert_eq!(text, "[3,3,3,1,1,1]");
        assert_eq!(serde_json::from_str::<Offsets>(&text).expect("read"), offsets);
        for bad in ["[1]", "[-1,2]", "[1,0]", "[1,9223372036854775807]"] {
            assert!(serde_json::from_str::<Offsets>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_other_forms_are_refused() {
        let offsets = BTreeMap::from([(0, Offsets::of(vec![1, 2])), (7, Offsets::of(vec![5]))]);
        let replay =
            Replay { id: Uuid::from_u128(9), log: Uuid::from_u128(1), topic: Uuid::from_u128(2), offsets };
        assert!(replay.contains(7, 5) && !replay.contains(7, 1) && replay.rows() == 3);
        let replays = Replays { generation: 4, sequence: 12, open: Some(replay) };
        assert_eq!(Replays::decode(&replays.encode()), Ok(replays.clone()));
        let closed = Replays { open: None, ..replays };
        assert_eq!(Replays::decode(&closed.encode()), Ok(closed));
        for bad in ["", "{}", r#"{"v":2,"generation":1,"sequence":1}"#] {
            assert!(Replays::decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dead_letters_become_rows_of_the_account() {
        let source = |partition| SourceId { log: Uuid::from_u128(1), topic: Uuid::from_u128(2), partition };
        let fates = Fates { rows: 7, dead_letters: 3, ..Fates::default() };
        let recorded =
            Recorded { position: Position { next: 15, hash: 1 }, account: Account { first: 5, fates } };
        let progress = Progress::from([(source(0), recorded)]);
        let replay = |partition, offsets: Vec<i64>| Replay {
            id: Uuid::nil(),
            log: Uuid::from_u128(1),
            topic: Uuid::from_u128(2),
            offsets: BTreeMap::from([(partition, Offsets::of(offsets))]),
        };
        let after = moved(&progress, &replay(0, vec![5, 14])).expect("moved")[&source(0)];
        assert_eq!((after.account.fates.rows, after.account.fates.dead_letters), (9, 1));
        assert!(after.adds_up() && after.position == recorded.position);
        for (partition, offsets) in [(1, vec![6]), (0, vec![4]), (0, vec![15]), (0, vec![6, 7, 8, 9])] {
            assert!(
                moved(&progress, &replay(partition, offsets.clone())).is_err(),
                "{partition} {offsets:?}"
            );
        }
    }
}
