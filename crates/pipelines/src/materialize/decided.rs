//! What the dead-letter table has already decided about records that the table has yet to pass.
//!
//! Owns: finding the dead letters beyond the table's progress, of this life of the topic.
//! Does not own: what follows from it (`stage`).
//! Invariants: the dead-letter table commits first, so after a stop between the two commits, or when a table is read again
//! from an earlier place, its rows are facts: a record that lies there is no row, though it may fit by now, and one that
//! does not lie there was not decided, though the table's progress has passed it. Memory is bounded: what is beyond the
//! bound waits for the next commit.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range as Offsets;

use base::{Offset, PartitionId};
use queries::rows::{fingerprint, fingerprints, places};
use tables::{Progress, Table};
use topics::Partition;
use topics::batch::Batches;

use super::range::Range;
use super::standing::Standing;
use super::trouble::Trouble;
use crate::duties::Duties;
use crate::materialize::source;

/// Bytes of log per read.
const READ_BYTES: usize = 8 << 20;

/// Dead letters beyond the table's progress: rising offsets.
#[derive(Debug, Default)]
pub(crate) struct Decided(BTreeMap<PartitionId, Vec<Offset>>);

impl Decided {
    /// Those of `[from, next)`.
    pub(crate) fn within(&self, partition: PartitionId, offsets: Offsets<Offset>) -> &[Offset] {
        let all = self.0.get(&partition).map_or(&[][..], Vec::as_slice);
        let at = |offset| all.partition_point(|known| *known < offset);
        all.get(at(offsets.start)..at(offsets.end)).unwrap_or(&[])
    }
}

/// Dead letters with the fingerprints of their records.
#[derive(Debug)]
struct Found {
    /// Where they are looked for.
    ahead: BTreeMap<PartitionId, Offsets<Offset>>,
    letters: BTreeMap<PartitionId, Vec<(Offset, u64)>>,
    count: usize,
    most: usize,
}

/// What is decided about `ranges`; they end earlier where there is too much of it.
pub(crate) async fn decided(
    duties: &Duties,
    standing: &Standing,
    ranges: &mut [Range],
) -> Result<Decided, Trouble> {
    let ahead = |range: &Range| {
        let to = standing.dead.get(&range.partition)?.next.min(range.end);
        (to > range.read_from).then_some((range.partition, range.read_from..to))
    };
    let ahead: BTreeMap<_, _> = ranges.iter().filter_map(ahead).collect();
    if ahead.is_empty() {
        return Ok(Decided::default());
    }
    let dead = duties.deps.tables.load(&standing.dead_ident).await?;
    let most = duties.settings.decided_max.max(2);
    let mut found = Found { ahead, letters: BTreeMap::new(), count: 0, most };
    found.read(duties, &dead).await?;
    for range in ranges.iter_mut() {
        // Beyond what was read nothing is known.
        let (to, read) =
            (standing.dead.get(&range.partition).map(|p| p.next), found.ahead.get(&range.partition));
        if let Some(read) = read.filter(|read| to.is_some_and(|to| read.end < to.min(range.end))) {
            range.end = read.end;
        }
    }
    let ambiguous = ambiguous(duties, standing, &dead.progress()?);
    let mut decided = Decided::default();
    for (partition, mut letters) in found.letters {
        if ambiguous
            && let (Some(handle), Some(range)) =
                (standing.partitions.iter().find(|p| p.index() == partition), found.ahead.get(&partition))
        {
            let (handle, range, limit) =
                (handle.clone(), range.clone(), duties.deps.topics.settings().decompressed_bytes_max);
            let confirm = move || confirmed(&handle, range, letters, limit);
            letters = duties.deps.compute.spawn_blocking(confirm).await??;
        }
        let mut offsets: Vec<Offset> = letters.into_iter().map(|(offset, _)| offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        decided.0.insert(partition, offsets);
    }
    Ok(decided)
}

/// Whether an offset alone does not tell which record it is of: another life of the topic's name has dead letters, or
/// the log was moved back once.
fn ambiguous(duties: &Duties, standing: &Standing, dead: &Progress) -> bool {
    let forked = |progress: &Progress| progress.values().any(|r| r.account.fates.forked > 0);
    let other = dead.keys().any(|id| source(duties, standing.info.id, id.partition) != *id);
    other || forked(dead) || standing.table.progress().is_ok_and(|progress| forked(&progress))
}

impl Found {
    async fn read(&mut self, duties: &Duties, dead: &Table) -> Result<(), Trouble> {
        let unreadable = |why: String| Trouble::Failed(format!("table {}: {why}", dead.ident));
        for file in duties.deps.tables.scan(dead, None).await?.files {
            for batch in duties.deps.tables.rows_of(dead, &file.location).await? {
                let batch = batch?;
                let places = places(&batch).map_err(unreadable)?;
                let wanted = |place: &Option<(PartitionId, Offset)>| {
                    place.is_some_and(|(p, o)| self.ahead.get(&p).is_some_and(|ahead| ahead.contains(&o)))
                };
                if !places.iter().any(wanted) {
                    continue;
                }
                let prints = fingerprints(&batch).map_err(unreadable)?;
                for (place, print) in places.into_iter().zip(prints) {
                    if let Some((partition, offset)) = place.filter(|place| wanted(&Some(*place))) {
                        self.letters.entry(partition).or_default().push((offset, print));
                        self.count += 1;
                    }
                }
                while self.count > self.most {
                    self.shorten();
                }
            }
        }
        Ok(())
    }

    /// Leaves the second half of the partition that has most for the next commit.
    fn shorten(&mut self) {
        let Some((partition, letters)) = self.letters.iter_mut().max_by_key(|(_, letters)| letters.len())
        else {
            self.count = 0;
            return;
        };
        letters.sort_unstable();
        let half = letters.len().div_ceil(2);
        let Some((end, _)) = letters.get(half).copied() else {
            self.count = 0;
            return;
        };
        let before = letters.len();
        letters.retain(|(offset, _)| *offset < end);
        self.count -= before - letters.len();
        if let Some(ahead) = self.ahead.get_mut(partition) {
            ahead.end = end;
        }
    }
}

/// Those letters whose records the log has at their offsets. Blocking.
fn confirmed(
    partition: &Partition,
    range: Offsets<Offset>,
    letters: Vec<(Offset, u64)>,
    limit: usize,
) -> Result<Vec<(Offset, u64)>, Trouble> {
    let damaged = |e: topics::batch::BatchError| Trouble::failed(&e);
    let mut by_offset: HashMap<Offset, Vec<u64>> = HashMap::new();
    for (offset, print) in letters {
        by_offset.entry(offset).or_default().push(print);
    }
    let (mut at, mut kept) = (range.start, Vec::new());
    while at < range.end {
        let read = match partition.read(at, range.end, READ_BYTES) {
            Err(error @ topics::ReadError::OutOfRange { .. }) => {
                return Err(Trouble::Overtaken(base::fault::chain(&error)));
            }
            other => other?,
        };
        for batch in Batches::new(&read.bytes) {
            let batch = batch.map_err(damaged)?;
            if batch.is_control() {
                continue;
            }
            for record in &batch.records(limit).map_err(damaged)? {
                let record = record.map_err(damaged)?;
                let (offset, print) = (record.offset, fingerprint(&record));
                if by_offset.get(&offset).is_some_and(|prints| prints.contains(&print)) {
                    kept.push((offset, print));
                }
            }
        }
        if read.next <= at {
            break;
        }
        at = read.next;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_within_a_range_are_found() {
        let decided = Decided(BTreeMap::from([(1, vec![3, 5, 8])]));
        assert_eq!(decided.within(1, 0..9), [3, 5, 8]);
        assert_eq!(decided.within(1, 5..8), [5]);
        assert!(decided.within(1, 9..20).is_empty() && decided.within(0, 0..9).is_empty());
    }

    #[test]
    fn what_is_too_much_waits() {
        let letters = BTreeMap::from([(0, (0..10).map(|o| (o * 2, 0)).collect()), (1, vec![(4, 0)])]);
        let ahead = BTreeMap::from([(0, 0..100), (1, 0..50)]);
        let mut found = Found { ahead, letters, count: 11, most: 7 };
        while found.count > found.most {
            found.shorten();
        }
        assert_eq!((found.count, found.letters[&0].len()), (6, 5));
        assert_eq!((found.ahead[&0].clone(), found.ahead[&1].clone()), (0..10, 0..50));
    }
}
