//! "Nothing lost, nothing doubled, nothing reordered", as code.
//!
//! Owns: the comparison of what was acknowledged with what is read back, from the log and from every snapshot of its
//! table.
//! Does not own: how the data was read (by outside clients, or below by the test).

use std::collections::{BTreeMap, BTreeSet};

/// A record as its producer knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Unique in the run, and growing per producer and partition.
    pub number: u64,
    pub partition: i32,
    /// Where the acknowledgement said it is; none when the outcome is unknown.
    pub offset: Option<i64>,
}

/// A record as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub number: u64,
    pub partition: i32,
    pub offset: i64,
}

/// Every acknowledged record is at its offset, none is there twice, offsets have no gap, numbers grow per partition.
pub fn check_log(sent: &[Sent], read: &[Read]) -> Result<(), String> {
    let mut by_place = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for record in read {
        if by_place.insert((record.partition, record.offset), record.number).is_some() {
            return Err(format!("offset {}-{} was read twice", record.partition, record.offset));
        }
        if !seen.insert(record.number) {
            return Err(format!("record {} is in the log twice", record.number));
        }
    }
    for record in sent {
        let Some(offset) = record.offset else { continue };
        match by_place.get(&(record.partition, offset)) {
            Some(number) if *number == record.number => {}
            Some(number) => {
                return Err(format!(
                    "acknowledged record {} at {}-{offset}: record {number} is there",
                    record.number, record.partition
                ));
            }
            None => {
                return Err(format!(
                    "acknowledged record {} at {}-{offset} is lost",
                    record.number, record.partition
                ));
            }
        }
    }
    let mut last: BTreeMap<i32, (i64, u64)> = BTreeMap::new();
    for ((partition, offset), number) in &by_place {
        if let Some((before, number_before)) = last.insert(*partition, (*offset, *number)) {
            if *offset != before + 1 {
                return Err(format!("partition {partition} has a gap between {before} and {offset}"));
            }
            if *number <= number_before {
                return Err(format!("partition {partition}: record {number} comes after {number_before}"));
            }
        }
    }
    Ok(())
}

/// A snapshot's (partition, offset) pairs are exactly the committed data offsets below one cut, less `elsewhere`
/// (dead-lettered, dropped, skipped or control offsets). Returns the cut.
pub fn check_snapshot(
    pairs: &[(i32, i64)],
    log_end: &BTreeMap<i32, i64>,
    elsewhere: &BTreeSet<(i32, i64)>,
) -> Result<BTreeMap<i32, i64>, String> {
    let set: BTreeSet<_> = pairs.iter().copied().collect();
    if set.len() != pairs.len() {
        return Err(format!("{} rows are doubled", pairs.len() - set.len()));
    }
    let mut cut = BTreeMap::new();
    for (partition, offset) in &set {
        let end = cut.entry(*partition).or_insert(0);
        *end = (*end).max(offset + 1);
    }
    for (partition, end) in &cut {
        if end > log_end.get(partition).unwrap_or(&0) {
            return Err(format!("the table holds {partition}-{}, which the log does not have", end - 1));
        }
        for offset in 0..*end {
            let place = (*partition, offset);
            if !set.contains(&place) && !elsewhere.contains(&place) {
                return Err(format!("offset {partition}-{offset} is missing below the cut {end}"));
            }
            if set.contains(&place) && elsewhere.contains(&place) {
                return Err(format!(
                    "offset {partition}-{offset} is a row and also dead-lettered or dropped"
                ));
            }
        }
    }
    Ok(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: u64, offset: i64) -> Sent {
        Sent { number, partition: 0, offset: Some(offset) }
    }
    fn read(number: u64, offset: i64) -> Read {
        Read { number, partition: 0, offset }
    }

    #[test]
    fn the_log_checker_finds_each_fault() {
        let good = [read(1, 0), read(2, 1)];
        assert_eq!(check_log(&[sent(1, 0), sent(2, 1)], &good), Ok(()));
        for (sent, read, fault) in [
            (vec![sent(1, 0), sent(2, 1)], vec![read(1, 0)], "lost"),
            (vec![sent(1, 0)], vec![read(1, 0), read(1, 1)], "twice"),
            (vec![sent(1, 0)], vec![read(2, 0)], "is there"),
            (vec![], vec![read(1, 0), read(2, 2)], "gap"),
            (vec![], vec![read(2, 0), read(1, 1)], "comes after"),
        ] {
            let found = check_log(&sent, &read).expect_err(fault);
            assert!(found.contains(fault), "{found}");
        }
    }

    #[test]
    fn the_snapshot_checker_finds_each_fault() {
        let end = BTreeMap::from([(0, 4)]);
        let dead = BTreeSet::from([(0, 1)]);
        assert_eq!(check_snapshot(&[(0, 0), (0, 2)], &end, &dead), Ok(BTreeMap::from([(0, 3)])));
        for (pairs, fault) in [
            (vec![(0, 0), (0, 0), (0, 2)], "doubled"),
            (vec![(0, 2)], "missing"),
            (vec![(0, 0), (0, 1), (0, 2)], "also dead-lettered"),
            (vec![(0, 0), (0, 2), (0, 3), (0, 4)], "does not have"),
        ] {
            let found = check_snapshot(&pairs, &end, &dead).expect_err(fault);
            assert!(found.contains(fault), "{found}");
        }
    }
}
