//! Which small files are worth being put together: pure.
//!
//! Owns: the choice of files for one compaction.
//! Does not own: reading and writing them (`compaction`).
//! Invariants: files of one bin have one spec and one partition; no file is in two bins; limits hold; a row is rewritten
//! only a few times in its life, for files are put together with others of their size.

use std::collections::HashMap;

use iceberg::spec::Struct;

/// A live data file, as far as the choice cares.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Where the caller finds it again.
    pub(crate) index: usize,
    pub(crate) spec_id: i32,
    pub(crate) partition: Struct,
    pub(crate) bytes: u64,
    /// Age: files are put together in the order they came.
    pub(crate) sequence: i64,
    /// When it came, in milliseconds since 1970.
    pub(crate) added_ms: i64,
}

/// What bounds the choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) target_bytes: u64,
    pub(crate) files_max: usize,
    pub(crate) bytes_max: u64,
    pub(crate) files_min: usize,
    /// Partitions whose newest file came before this are closed; milliseconds since 1970.
    pub(crate) closed_before_ms: i64,
}

/// Indices of files that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bin {
    pub(crate) spec_id: i32,
    pub(crate) partition: Struct,
    pub(crate) files: Vec<usize>,
}

/// The choice, and whether limits have cut it short.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) bins: Vec<Bin>,
    pub(crate) more: bool,
}

/// A file is small below three quarters of the target.
pub(crate) fn is_small(bytes: u64, target: u64) -> bool {
    bytes < target / 4 * 3
}

/// Files of about one size: each class is eight times the one before, from 64 KiB on.
fn class(bytes: u64) -> u32 {
    const SMALLEST: u64 = 64 << 10;
    (bytes / SMALLEST).checked_ilog2().map_or(0, |log| log / 3 + 1)
}

pub(crate) fn choose(files: Vec<Candidate>, bounds: &Bounds) -> Choice {
    let mut newest: HashMap<(i32, Struct), i64> = HashMap::new();
    let mut groups: HashMap<(i32, Struct), Vec<Candidate>> = HashMap::new();
    for file in files {
        let key = (file.spec_id, file.partition.clone());
        let at = newest.entry(key.clone()).or_insert(file.added_ms);
        *at = file.added_ms.max(*at);
        if is_small(file.bytes, bounds.target_bytes) {
            groups.entry(key).or_default().push(file);
        }
    }
    let mut bins = Vec::new();
    for ((spec_id, partition), mut files) in groups {
        files.sort_by_key(|f| (f.sequence, f.index));
        let closed =
            newest.get(&(spec_id, partition.clone())).is_some_and(|at| *at < bounds.closed_before_ms);
        let runs = if closed { whole(files) } else { classes(files, bounds.files_min) };
        for files in runs.into_iter().flat_map(|run| packed(run, bounds)) {
            bins.push((Bin { spec_id, partition: partition.clone(), files: Vec::new() }, files));
        }
    }
    // Where most files go away first.
    bins.sort_by_key(|(_, files)| {
        (std::cmp::Reverse(files.len()), files.first().map(|f| (f.sequence, f.index)))
    });
    let mut choice = Choice::default();
    let (mut count, mut bytes) = (0, 0);
    for (mut bin, files) in bins {
        let size: u64 = files.iter().map(|f| f.bytes).sum();
        let first = choice.bins.is_empty();
        if !first && (count + files.len() > bounds.files_max || bytes + size > bounds.bytes_max) {
            choice.more = true;
            continue;
        }
        (count, bytes) = (count + files.len(), bytes + size);
        bin.files = files.into_iter().map(|f| f.index).collect();
        choice.bins.push(bin);
    }
    choice
}

/// All small files of a closed partition. A large one is not rewritten for the sake of little.
fn whole(mut files: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    loop {
        let total: u64 = files.iter().map(|f| f.bytes).sum();
        let largest = files.iter().enumerate().max_by_key(|(_, f)| f.bytes).map(|(at, f)| (at, f.bytes));
        match largest {
            Some((at, bytes)) if bytes / 8 > total - bytes => drop(files.remove(at)),
            _ => return vec![files],
        }
    }
}

/// Files of an open partition: one run per size class that has enough of them.
fn classes(files: Vec<Candidate>, files_min: usize) -> Vec<Vec<Candidate>> {
    let mut by_class: HashMap<u32, Vec<Candidate>> = HashMap::new();
    for file in files {
        by_class.entry(class(file.bytes)).or_default().push(file);
    }
    by_class.into_values().filter(|files| files.len() >= files_min.max(2)).collect()
}

/// Neighbours up to the target size; a bin of one file is none.
fn packed(files: Vec<Candidate>, bounds: &Bounds) -> Vec<Vec<Candidate>> {
    let mut bins: Vec<Vec<Candidate>> = Vec::new();
    let mut size = 0;
    for file in files {
        match bins.last_mut() {
            Some(bin) if size + file.bytes <= bounds.target_bytes && bin.len() < bounds.files_max.max(2) => {
                size += file.bytes;
                bin.push(file);
            }
            _ => {
                size = file.bytes;
                bins.push(vec![file]);
            }
        }
    }
    bins.retain(|bin| bin.len() > 1);
    bins
}

#[cfg(test)]
mod tests {
    use iceberg::spec::Literal;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn bounds() -> Bounds {
        Bounds {
            target_bytes: 128 * MIB,
            files_max: 100,
            bytes_max: 512 * MIB,
            files_min: 8,
            closed_before_ms: 1_000,
        }
    }

    fn file(index: usize, partition: i32, bytes: u64, added_ms: i64) -> Candidate {
        let partition = Struct::from_iter([Some(Literal::int(partition))]);
        Candidate { index, spec_id: 0, partition, bytes, sequence: index as i64, added_ms }
    }

    fn indices(choice: &Choice) -> Vec<Vec<usize>> {
        choice.bins.iter().map(|bin| bin.files.clone()).collect()
    }

    #[test]
    fn a_closed_partition_becomes_one_file() {
        let files = vec![
            file(0, 1, 10 * MIB, 5),
            file(1, 1, 1000, 6),
            file(2, 2, 1000, 5_000),
            file(3, 2, 1000, 5_001),
            file(4, 1, 20 * MIB, 7),
            file(5, 1, 120 * MIB, 7),
        ];
        let choice = choose(files, &bounds());
        assert_eq!(indices(&choice), [vec![0, 1, 4]]);
        assert!(!choice.more);
    }

    #[test]
    fn an_open_partition_puts_files_of_a_size_together() {
        let mut files: Vec<_> = (0..9).map(|i| file(i, 1, 1000, 5_000)).collect();
        files.push(file(9, 1, 60 * MIB, 5_000));
        files.extend((10..17).map(|i| file(i, 1, 3 * MIB, 5_000)));
        let choice = choose(files, &bounds());
        assert_eq!(indices(&choice), [(0..9).collect::<Vec<_>>()]);
    }

    #[test]
    fn little_is_not_worth_a_large_rewrite() {
        assert!(choose(vec![file(0, 1, 90 * MIB, 1), file(1, 1, MIB, 1)], &bounds()).bins.is_empty());
        assert!(choose(vec![file(0, 1, 90 * MIB, 1)], &bounds()).bins.is_empty());
        let three = vec![file(0, 1, 90 * MIB, 1), file(1, 1, MIB, 1), file(2, 1, MIB, 1)];
        assert_eq!(indices(&choose(three, &bounds())), [vec![1, 2]]);
    }

    #[test]
    fn limits_hold_and_say_that_there_is_more() {
        let files: Vec<_> = (0..600).map(|i| file(i, (i / 60) as i32, MIB, 1)).collect();
        let choice = choose(files, &bounds());
        assert!(choice.more);
        assert!(choice.bins.iter().map(|b| b.files.len()).sum::<usize>() <= 100);
        let files: Vec<_> = (0..1000).map(|i| file(i, 1, MIB, 1)).collect();
        let choice = choose(files, &Bounds { files_max: 10_000, ..bounds() });
        assert_eq!(choice.bins.len(), 4, "512 MiB in bins of 128");
        assert!(choice.bins.iter().all(|b| b.files.len() == 128));
    }

    /// What a file of 100 KiB every so often costs until it lies in one of the target size.
    #[test]
    fn a_row_is_rewritten_a_few_times_only() {
        let bounds = Bounds { files_max: 10_000, bytes_max: u64::MAX, ..bounds() };
        let (mut files, mut next, mut written) = (Vec::new(), 0, 0);
        for step in 0..20_000 {
            files.push(file(next, 1, 100 << 10, 5_000));
            next += 1;
            if step % 4 != 0 {
                continue;
            }
            for bin in choose(files.clone(), &bounds).bins {
                let taken: Vec<_> = files.extract_if(.., |f| bin.files.contains(&f.index)).collect();
                let bytes = taken.iter().map(|f| f.bytes).sum();
                written += bytes;
                files.push(file(next, 1, bytes, 5_000));
                next += 1;
            }
        }
        let total = 20_000 * (100 << 10);
        assert!(written < 5 * total, "{}", written as f64 / total as f64);
        assert!(files.len() < 60, "{}", files.len());
    }
}
