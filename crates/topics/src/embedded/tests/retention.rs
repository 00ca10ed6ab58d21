//! Old records: by request, by age, by size; tables that hold them; a full disk.

use super::*;

const DAY: i64 = 86_400_000;

fn alter(topics: &Topics, property: &str, value: &str) {
    topics.alter_config("t", &[(property.to_owned(), Some(value.to_owned()))]).expect("alter");
}

fn fill(bench: &Bench, topics: &Topics, range: std::ops::Range<usize>) {
    for i in range {
        bench.append(topics, 0, batch(i, 1, 1_000_000)).expect("append");
    }
}

fn marks(topics: &Topics) -> Marks {
    topics.partition("t", 0).expect("partition").marks()
}

/// What is readable are the numbers from `from` on, and nothing before can be read.
fn begins_at(topics: &Topics, from: i64, end: usize) {
    assert_eq!(marks(topics).log_start, from);
    assert_eq!(
        records(topics, 0).into_iter().filter(|(offset, _)| *offset >= from).collect::<Vec<_>>(),
        numbered(from as usize..end)
    );
    let partition = topics.partition("t", 0).expect("partition");
    if from > 0 {
        let refused = partition.read(from - 1, i64::MAX, 1_000);
        assert!(
            matches!(refused, Err(ReadError::OutOfRange { log_start, .. }) if log_start == from),
            "{refused:?}"
        );
        assert_eq!(partition.batch_hash(from - 1).expect("asked"), None);
    }
}

#[test]
fn deleted_records_stay_deleted() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create(&topics, 1);
    fill(&bench, &topics, 0..300);
    let files = bench.segment_files(&topics, "log").len();
    assert!(files > 4);
    assert_eq!(topics.delete_records("t", 0, Some(150)).expect("delete"), 150);
    assert!(bench.segment_files(&topics, "log").len() < files, "whole segments go at once");
    assert_eq!(topics.delete_records("t", 0, Some(10)).expect("an older offset"), 150);
    for bad in [-1, 301] {
        let refused = topics.delete_records("t", 0, Some(bad));
        assert!(matches!(refused, Err(DeleteRecordsError::OutOfRange { .. })), "{refused:?}");
    }
    assert!(matches!(topics.delete_records("t", 7, None), Err(DeleteRecordsError::UnknownPartition { .. })));
    for clean in [true, false, false] {
        begins_at(&topics, 150, 300);
        let partition = topics.partition("t", 0).expect("partition");
        assert_eq!(partition.offset_for_timestamp(0).expect("by time"), Some((150, 1_000_000)));
        if clean {
            bench.close(topics)
        } else {
            drop(topics)
        }
        topics = bench.open();
    }
    assert_eq!(topics.delete_records("t", 0, None).expect("all"), 300);
    assert_eq!(records(&topics, 0), []);
    // Closing the segment is upkeep's work; then there is nothing left.
    assert_eq!(topics.upkeep().closed, 1);
    topics.delete_records("t", 0, None).expect("again");
    topics.upkeep();
    fill(&bench, &topics, 300..310);
    for clean in [false, true] {
        begins_at(&topics, 300, 310);
        if clean {
            bench.close(topics)
        } else {
            drop(topics)
        }
        topics = bench.open();
    }
    begins_at(&topics, 300, 310);
}

#[test]
fn compacted_topics_keep_their_records() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    alter(&topics, "cleanup.policy", "compact");
    fill(&bench, &topics, 0..10);
    assert!(matches!(topics.delete_records("t", 0, Some(5)), Err(DeleteRecordsError::Compacted { .. })));
    alter(&topics, "retention.ms", "1");
    bench.clock.advance(DAY);
    assert_eq!(topics.upkeep().removed, Removed::default());
    alter(&topics, "cleanup.policy", "compact,delete");
    assert_eq!(topics.delete_records("t", 0, Some(5)).expect("delete"), 5);
    assert!(topics.upkeep().removed.bytes > 0);
    assert_eq!(records(&topics, 0), []);
}

#[test]
fn age_counts_from_when_the_log_was_written() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create(&topics, 1);
    alter(&topics, "retention.ms", &DAY.to_string());
    alter(&topics, "message.timestamp.after.max.ms", &i64::MAX.to_string());
    // A client whose clock is a year ahead, and one that writes what happened long ago.
    for (n, stamp) in [(0, 1_000_000 + 365 * DAY), (1, 5)] {
        bench.append(&topics, 0, batch(n, 1, stamp)).expect("append");
    }
    fill(&bench, &topics, 2..100);
    assert_eq!(topics.upkeep(), Upkeep::default(), "nothing is old");
    bench.clock.advance(DAY / 2);
    fill(&bench, &topics, 100..200);
    let middle = marks(&topics).durable;
    // Ages survive a clean end; after a crash, what the write-ahead log gives back counts from then.
    bench.close(topics);
    topics = bench.open();
    bench.clock.advance(DAY / 2 + 1);
    topics.upkeep();
    let begin = marks(&topics).log_start;
    assert!(
        begin > 0 && begin <= 100,
        "{begin}: the first day's segments go, the segment over the limit stays"
    );
    begins_at(&topics, begin, 200);
    drop(topics);
    topics = bench.open();
    begins_at(&topics, begin, 200);
    bench.clock.advance(10 * DAY);
    let upkeep = topics.upkeep();
    assert_eq!((upkeep.closed, upkeep.removed.partitions), (1, 1), "an active segment gets old, too");
    assert_eq!((marks(&topics).log_start, marks(&topics).durable), (middle, middle));
    drop(topics);
    topics = bench.open();
    assert_eq!((marks(&topics).log_start, marks(&topics).durable), (middle, middle));
    fill(&bench, &topics, 200..201);
    begins_at(&topics, 200, 201);
}

#[test]
fn size_is_kept_below_the_limit() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    alter(&topics, "retention.bytes", "10000");
    fill(&bench, &topics, 0..400);
    let partition = topics.partition("t", 0).expect("partition");
    let before = partition.size_bytes();
    let removed = topics.upkeep().removed;
    assert_eq!(removed.bytes, before - partition.size_bytes());
    assert!((10_000..14_000).contains(&partition.size_bytes()), "{}", partition.size_bytes());
    assert_eq!(topics.upkeep().removed, Removed::default());
    let on_disk: u64 =
        bench.segment_files(&topics, "log").iter().map(|f| std::fs::metadata(f).expect("file").len()).sum();
    assert_eq!(on_disk, partition.size_bytes());
    assert_eq!(bench.segment_files(&topics, "index").len(), bench.segment_files(&topics, "log").len() - 1);
    begins_at(&topics, marks(&topics).log_start, 400);
}

#[test]
fn the_log_waits_for_its_tables_up_to_a_limit() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    for (property, value) in [("redpanda.iceberg.mode", "key_value"), ("retention.bytes", "0")] {
        alter(&topics, property, value);
    }
    fill(&bench, &topics, 0..300);
    let partition = topics.partition("t", 0).expect("partition");
    assert_eq!(marks(&topics).materialized, 0, "its table has not said anything yet");
    assert_eq!(topics.upkeep().removed, Removed::default());
    let all_but_active = partition.held_bytes();
    assert!(all_but_active > 10_000);
    topics.note_consumed("frazil.materialize.t", "t", 0, 120);
    assert!(topics.upkeep().removed.bytes > 0);
    let begin = marks(&topics).log_start;
    assert!(begin > 50 && begin <= 120, "{begin}");
    begins_at(&topics, begin, 300);
    let behind = topics.delete_records("t", 0, Some(200));
    assert!(
        matches!(behind, Err(DeleteRecordsError::TableBehind { materialized: 120, offset: 200, .. })),
        "{behind:?}"
    );
    assert_eq!(topics.delete_records("t", 0, Some(120)).expect("what the table has"), 120);
    // The limit: the log goes on without the table.
    alter(&topics, "frazil.retention.hold.bytes", "5000");
    topics.upkeep();
    let begin = marks(&topics).log_start;
    assert!(begin > 120 && partition.held_bytes() <= 5_000 && partition.held_bytes() > 0, "{begin}");
    assert_eq!(marks(&topics).materialized, begin);
    begins_at(&topics, begin, 300);
    topics.note_consumed("frazil.materialize.t", "t", 0, 300);
    topics.upkeep();
    assert_eq!(partition.held_bytes(), 0);
    assert_eq!(topics.delete_records("t", 0, None).expect("all"), 300);
}

#[test]
fn retention_frees_a_full_disk() {
    let mut bench = Bench::new();
    bench.settings.wal_file_bytes = 6_000;
    let mut topics = bench.open();
    create(&topics, 1);
    fill(&bench, &topics, 0..300);
    bench.close(topics);
    topics = bench.open();
    alter(&topics, "retention.bytes", "0");
    bench.full.store(true, Ordering::SeqCst);
    let removed = topics.upkeep().removed;
    assert!(removed.bytes > 10_000, "{removed:?}");
    assert_eq!(topics.offline(), None);
    let begin = marks(&topics).log_start;
    begins_at(&topics, begin, 300);
    drop(topics);
    bench.full.store(false, Ordering::SeqCst);
    topics = bench.open();
    begins_at(&topics, begin, 300);
    fill(&bench, &topics, 300..310);
    begins_at(&topics, begin, 310);
}

#[test]
fn readers_and_retention_do_not_meet() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let partition = topics.partition("t", 0).expect("partition");
                let mut from = 0;
                while !stop.load(Ordering::SeqCst) {
                    match partition.read(from, i64::MAX, 3_000) {
                        Ok(read) => {
                            if let Some(first) = Batches::new(&read.bytes).next() {
                                assert!(first.expect("batch").base_offset() <= from);
                            }
                            from = read.next;
                        }
                        Err(ReadError::OutOfRange { log_start, .. }) => from = log_start,
                        Err(other) => panic!("{other}"),
                    }
                    let by_time = partition.offset_for_timestamp(0).expect("by time");
                    assert!(by_time.is_none_or(|(offset, _)| offset >= 0));
                    partition.max_timestamp().expect("largest time");
                }
            });
        }
        for round in 1..30 {
            fill(&bench, &topics, (round - 1) * 40..round * 40);
            let before = (round * 40 - 15) as i64;
            assert_eq!(topics.delete_records("t", 0, Some(before)).expect("delete"), before);
        }
        stop.store(true, Ordering::SeqCst);
    });
    begins_at(&topics, 29 * 40 - 15, 29 * 40);
}
