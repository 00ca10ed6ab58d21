//! Compaction: the last record of each key, whatever happens meanwhile.

use super::transactions::Actor;
use super::*;

/// A record as it is read: offset, key, value.
type Row = (i64, String, Option<String>);

const DAY: i64 = 86_400_000;

pub(super) fn create_compacted(topics: &Topics, config: &[(&str, &str)]) {
    let mut all: BTreeMap<String, String> = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("segment.ms", "1000"),
        ("delete.retention.ms", "60000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    all.extend(config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let new = NewTopic { name: "t".into(), partitions: Some(1), config: all };
    topics.create(new).expect("create");
}

pub(super) fn keyed(records: &[(&str, Option<&str>)], producer: (i64, i16, i32)) -> Bytes {
    let codec = [Compression::None, Compression::Zstd, Compression::Lz4][records.len() % 3];
    let mut builder = BatchBuilder::new().compression(codec).producer(producer.0, producer.1, producer.2);
    for (number, (key, value)) in records.iter().enumerate() {
        let time = 1_000_000 + number as i64;
        builder.push(time, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder.build().expect("batch")
}

/// All committed records from the log start on, read in pieces of `bytes`.
pub(super) fn rows(topics: &Topics, bytes: usize) -> Vec<Row> {
    let marks = topics.partition("t", 0).expect("partition").marks();
    rows_until(topics, bytes, marks.stable)
}

fn rows_until(topics: &Topics, bytes: usize, end: i64) -> Vec<Row> {
    let partition = topics.partition("t", 0).expect("partition");
    let marks = partition.marks();
    let (mut from, mut all) = (marks.log_start, Vec::new());
    while from < end {
        let read = partition.read(from, end, bytes).expect("read");
        for batch in Batches::new(&read.bytes) {
            let batch = batch.expect("batch");
            if batch.is_control() || read.is_aborted(&batch) {
                continue;
            }
            let records = batch.records(1 << 20).expect("records");
            for record in &records {
                let record = record.expect("record");
                let text = |b: &[u8]| String::from_utf8(b.to_vec()).expect("text");
                if record.offset >= marks.log_start {
                    all.push((record.offset, text(record.key.expect("key")), record.value.map(text)));
                }
            }
        }
        assert!(read.next > from, "reading goes on");
        from = read.next;
    }
    all
}

/// What everybody has to see: of each key the last row.
pub(super) fn last_of_each(rows: &[Row]) -> BTreeMap<String, (i64, Option<String>)> {
    rows.iter().map(|(offset, key, value)| (key.clone(), (*offset, value.clone()))).collect()
}

fn fill(bench: &Bench, topics: &Topics, range: std::ops::Range<usize>, keys: usize) {
    for n in range {
        let key = format!("k{}", (n * 7) % keys);
        let value = format!("{n:06}{}", "x".repeat(n % 50));
        let batch = keyed(&[(&key, Some(&value)), ("often", Some(&value))], (-1, -1, -1));
        bench.append(topics, 0, batch).expect("append");
    }
}

/// Closes the active segment and compacts.
fn compact(bench: &Bench, topics: &Topics) -> Compacted {
    bench.clock.advance(1_001);
    topics.upkeep().compacted
}

fn restart(bench: &Bench, topics: Topics, clean: bool) -> Topics {
    if clean {
        bench.close(topics)
    } else {
        drop(topics)
    }
    bench.open()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create_compacted(&topics, &[]);
    fill(&bench, &topics, 0..400, 10);
    let before = rows(&topics, 900);
    assert_eq!(before.len(), 800);
    let done = compact(&bench, &topics);
    assert!(done.partitions == 1 && done.bytes_after * 5 < done.bytes_before, "{done:?}");
    let partition = topics.partition("t", 0).expect("partition");
    assert!(partition.size_bytes() < 4_000);
    for clean in [true, false, true] {
        let after = rows(&topics, 900);
        assert_eq!(after, rows(&topics, 1), "however it is read");
        assert_eq!(last_of_each(&after), last_of_each(&before));
        assert_eq!(after.len(), 11, "only the last of each");
        assert!(after.iter().all(|row| before.contains(row)), "offsets stay");
        topics = restart(&bench, topics, clean);
    }
    // Reading from any offset gives the next one that is left.
    let partition = topics.partition("t", 0).expect("partition");
    let after = rows(&topics, 900);
    let end = partition.marks().durable;
    assert_eq!(end, 800);
    for from in 0..end {
        let read = partition.read(from, end, 1).expect("read");
        let next = after.iter().map(|row| row.0).find(|offset| *offset >= from);
        let first = Batches::new(&read.bytes)
            .filter_map(|b| {
                let records = b.expect("batch").records(1 << 20).expect("records");
                records.iter().map(|r| r.expect("record").offset).find(|o| *o >= from)
            })
            .next();
        assert!(first.is_none() || first == next, "{from}: {first:?} instead of {next:?}");
        assert!(read.next > from);
        partition.batch_hash(from).expect("asked");
    }
    assert_eq!(partition.offset_for_timestamp(0).expect("by time").map(|f| f.0), after.first().map(|r| r.0));
    assert_eq!(partition.max_timestamp().expect("by time").map(|f| f.1), Some(1_000_001));
    assert_eq!(compact(&bench, &topics), Compacted::default(), "nothing is dirty");
    let files = bench.segment_files(&topics, "log").len();
    fill(&bench, &topics, 400..500, 10);
    let before = rows(&topics, 900);
    compact(&bench, &topics);
    assert!(bench.segment_files(&topics, "log").len() < files / 2, "small segments are merged");
    assert_eq!(last_of_each(&rows(&topics, 900)), last_of_each(&before));
    assert_eq!(rows(&topics, 900).len(), 11);
}

#[test]
fn tombstones_stay_for_their_time() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create_compacted(&topics, &[]);
    fill(&bench, &topics, 0..100, 5);
    for n in 0..5 {
        let key = format!("k{n}");
        bench.append(&topics, 0, keyed(&[(&key, None), ("other", Some("x"))], (-1, -1, -1))).expect("append");
    }
    compact(&bench, &topics);
    let dead = |topics: &Topics| rows(topics, 900).iter().filter(|row| row.2.is_none()).count();
    assert_eq!(dead(&topics), 5);
    topics = restart(&bench, topics, true);
    bench.clock.advance(50_000);
    // Something new, so that there is something to do.
    fill(&bench, &topics, 100..101, 1_000_000);
    compact(&bench, &topics);
    assert_eq!(dead(&topics), 5, "readers have a minute to see them");
    bench.clock.advance(10_000);
    fill(&bench, &topics, 101..102, 1_000_000);
    compact(&bench, &topics);
    assert_eq!(dead(&topics), 0);
    let keys: Vec<String> = last_of_each(&rows(&topics, 900)).into_keys().collect();
    assert_eq!(keys, ["k700", "k707", "often", "other"], "deleted keys do not come back");
    topics = restart(&bench, topics, false);
    assert_eq!(last_of_each(&rows(&topics, 900)).len(), 4);
}

#[test]
fn what_must_wait_waits() {
    let bench = Bench::new();
    let topics = bench.open();
    create_compacted(&topics, &[("redpanda.iceberg.mode", "key_value"), ("min.compaction.lag.ms", "5000")]);
    fill(&bench, &topics, 0..200, 3);
    let before = rows(&topics, 900);
    assert_eq!(compact(&bench, &topics), Compacted::default(), "neither old enough nor in the table");
    bench.clock.advance(DAY);
    assert_eq!(topics.upkeep().compacted, Compacted::default(), "not in the table");
    topics.note_consumed("frazil.materialize.t", "t", 0, 210);
    assert_eq!(topics.upkeep().compacted.partitions, 1);
    let after = rows(&topics, 900);
    let (mut read, mut waiting): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for row in &before {
        if row.0 < 150 { read.push(row.clone()) } else { waiting.push(row.clone()) }
    }
    let kept = after.iter().filter(|row| row.0 < 150).count();
    assert!(kept < read.len() / 2, "{kept}");
    assert!(after.iter().filter(|row| row.0 >= 210).eq(before.iter().filter(|row| row.0 >= 210)));
    assert_eq!(last_of_each(&after), last_of_each(&before));
    // A position inside what was rewritten proves nothing, and nothing against the table.
    let partition = topics.partition("t", 0).expect("partition");
    assert!((0..150).any(|offset| partition.batch_hash(offset).expect("asked").is_none()));
    assert!(partition.batch_hash(399).expect("asked").is_some());
}

#[test]
fn few_keys_in_memory_take_more_passes() {
    let mut bench = Bench::new();
    bench.settings.cleaner_keys_max = 8;
    let topics = bench.open();
    create_compacted(&topics, &[]);
    fill(&bench, &topics, 0..200, 50);
    let before = rows(&topics, 900);
    let mut passes = 0;
    while compact(&bench, &topics).partitions > 0 {
        passes += 1;
        assert_eq!(last_of_each(&rows(&topics, 900)), last_of_each(&before));
        assert!(passes < 200);
    }
    assert!(passes > 3, "{passes}");
    assert!(rows(&topics, 900).len() < 120, "{}", rows(&topics, 900).len());
}

#[test]
fn producers_are_known_after_their_records_have_gone() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create_compacted(&topics, &[]);
    for n in 0..30 {
        bench.append(&topics, 0, keyed(&[("k", Some("v"))], (5, 0, n))).expect("append");
    }
    fill(&bench, &topics, 0..100, 3);
    bench.append(&topics, 0, keyed(&[("k", Some("last"))], (-1, -1, -1))).expect("append");
    compact(&bench, &topics);
    assert!(!rows(&topics, 900).iter().any(|row| row.0 < 30));
    let partition = topics.partition("t", 0).expect("partition");
    let read = partition.read(0, 30, 1 << 20).expect("read");
    let kept: Vec<_> = Batches::new(&read.bytes).map(|b| b.expect("batch")).collect();
    assert_eq!(kept.len(), 1, "the last batch of the producer");
    assert_eq!((kept[0].count(), kept[0].base_sequence(), kept[0].base_offset()), (0, 29, 29));
    for clean in [true, false] {
        topics = restart(&bench, topics, clean);
        let again = bench.append(&topics, 0, keyed(&[("k", Some("v"))], (5, 0, 29))).expect("a retry");
        assert_eq!((again.duplicate, again.base_offset), (true, 29));
        let gap = bench.append(&topics, 0, keyed(&[("k", Some("v"))], (5, 0, 99)));
        assert!(matches!(gap, Err(AppendError::OutOfOrderSequence { expected: 30, .. })), "{gap:?}");
    }
}

#[test]
fn both_policies_at_once() {
    let bench = Bench::new();
    let topics = bench.open();
    create_compacted(&topics, &[("cleanup.policy", "compact,delete"), ("retention.ms", "10000")]);
    fill(&bench, &topics, 0..200, 3);
    compact(&bench, &topics);
    assert_eq!(rows(&topics, 900).len(), 4);
    bench.clock.advance(5_000);
    fill(&bench, &topics, 200..201, 1);
    bench.clock.advance(5_001);
    topics.upkeep();
    assert_eq!(rows(&topics, 900).len(), 2, "the old ones are too old");
    assert!(topics.partition("t", 0).expect("partition").marks().log_start > 0);
}

#[test]
fn readers_and_compaction_do_not_meet() {
    let bench = Bench::new();
    let topics = bench.open();
    create_compacted(&topics, &[]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for piece in [1, 700, 5_000] {
            let (topics, stop) = (&topics, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let seen = rows(topics, piece);
                    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets grow");
                    let partition = topics.partition("t", 0).expect("partition");
                    partition.offset_for_timestamp(1_000_001).expect("by time");
                    partition.max_timestamp().expect("by time");
                }
            });
        }
        for round in 0..25 {
            fill(&bench, &topics, round * 40..(round + 1) * 40, 5);
            compact(&bench, &topics);
        }
        stop.store(true, Ordering::SeqCst);
    });
    let left = rows(&topics, 900);
    assert_eq!(left.len(), 6);
    assert_eq!(left.last().map(|row| row.0), Some(1_999));
}

#[test]
fn a_deleted_topic_does_not_wait_for_its_compaction() {
    let bench = Bench::new();
    let topics = bench.open();
    for round in 0..20 {
        create_compacted(&topics, &[]);
        fill(&bench, &topics, 0..100, 5);
        bench.clock.advance(1_001);
        thread::scope(|scope| {
            let upkeep = scope.spawn(|| topics.upkeep());
            if round % 2 == 0 {
                thread::yield_now();
            }
            topics.delete("t").expect("delete");
            upkeep.join().expect("upkeep");
        });
        assert_eq!(topics.offline(), None);
    }
}

/// What a client is told of aborted transactions ends with markers that it finds.
fn told_transactions_end(topics: &Topics) {
    let partition = topics.partition("t", 0).expect("partition");
    let (mut from, end) = (0, partition.marks().stable);
    let (mut markers, mut told) = (Vec::new(), Vec::new());
    while from < end {
        let read = partition.read(from, end, 1 << 20).expect("read");
        let batches = Batches::new(&read.bytes).map(|batch| batch.expect("batch"));
        markers.extend(batches.filter(|b| b.is_control() && b.count() > 0).map(|b| b.base_offset()));
        told.extend(read.aborted.iter().map(|aborted| aborted.last_offset));
        from = read.next;
    }
    assert!(told.iter().all(|marker| markers.contains(marker)), "{told:?} {markers:?}");
}

/// A batch of a transaction.
fn of_transaction(actor: &Actor, sequence: i32, records: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new().producer(actor.id, actor.epoch, sequence).transactional();
    for (key, value) in records {
        builder.push(1_000_000, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder.build().expect("batch")
}

/// Offsets of markers, and of batches of records of a producer with their number of records.
fn batches_of(topics: &Topics, producer: i64) -> (Vec<i64>, Vec<(i64, i32)>) {
    let partition = topics.partition("t", 0).expect("partition");
    let (mut from, end) = (0, partition.marks().durable);
    let (mut markers, mut records) = (Vec::new(), Vec::new());
    while from < end {
        let read = partition.read(from, end, 1 << 20).expect("read");
        for batch in Batches::new(&read.bytes) {
            let batch = batch.expect("batch");
            if batch.producer_id() == producer {
                match batch.is_control() {
                    true => markers.push(batch.base_offset()),
                    false => records.push((batch.base_offset(), batch.count())),
                }
            }
        }
        from = read.next;
    }
    (markers, records)
}

#[test]
fn aborted_records_go_and_markers_follow_them() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create_compacted(&topics, &[]);
    fill(&bench, &topics, 0..20, 3);
    let (failed, done) = bench.wait(async {
        let failed = Actor::init(&topics, "fails").await.expect("init");
        let done = Actor::init(&topics, "works").await.expect("init");
        for (actor, value) in [(&done, "right"), (&failed, "wrong")] {
            actor.add(&topics, &[0]).await.expect("add");
            for sequence in 0..3 {
                let key = if sequence < 2 { "a" } else { "b" };
                let batch = of_transaction(actor, 2 * sequence, &[(key, Some(value)), ("only", None)]);
                topics
                    .append_transactional("t", 0, batch, actor.name)
                    .expect("append")
                    .await
                    .expect("append");
            }
            actor.end(&topics, value == "right").await.expect("end");
        }
        (failed, done)
    });
    fill(&bench, &topics, 20..60, 3);
    let before = last_of_each(&rows(&topics, 900));
    assert_eq!(before["a"].1.as_deref(), Some("right"));
    assert_eq!(before["only"].1, None);
    compact(&bench, &topics);
    for clean in [true, false] {
        assert_eq!(last_of_each(&rows(&topics, 900)), before);
        told_transactions_end(&topics);
        let (markers, records) = batches_of(&topics, failed.id);
        assert_eq!((markers.len(), records.len()), (1, 1), "its last batch tells its sequence: {records:?}");
        assert_eq!(records[0].1, 0, "nothing of it is left to be read");
        let (markers, records) = batches_of(&topics, done.id);
        assert_eq!((markers.len(), records.len()), (1, 2), "{records:?}");
        topics = restart(&bench, topics, clean);
    }
    // Producers that are forgotten have no last batch to keep; then the marker of the aborted ones goes, after its time.
    bench.clock.advance(2 * DAY);
    topics = restart(&bench, topics, true);
    for n in 60..63 {
        fill(&bench, &topics, n..n + 1, 1_000_000);
        compact(&bench, &topics);
        told_transactions_end(&topics);
        topics = restart(&bench, topics, false);
        told_transactions_end(&topics);
        bench.clock.advance(60_001);
    }
    fill(&bench, &topics, 63..64, 1_000_000);
    compact(&bench, &topics);
    told_transactions_end(&topics);
    let (markers, records) = batches_of(&topics, failed.id);
    assert_eq!((markers.len(), records.len()), (0, 0), "{markers:?} {records:?}");
    let (markers, _) = batches_of(&topics, done.id);
    assert_eq!(markers.len(), 1, "there are records that it ends");
    let after = last_of_each(&rows(&topics, 900));
    assert_eq!((after["a"].1.as_deref(), after["b"].1.as_deref()), (Some("right"), Some("right")));
    assert!(!after.contains_key("only"), "the tombstone had its time, too");
}

#[test]
fn nothing_is_compacted_behind_an_open_transaction() {
    let bench = Bench::new();
    let topics = bench.open();
    create_compacted(&topics, &[]);
    fill(&bench, &topics, 0..100, 3);
    let open = bench.wait(async {
        let open = Actor::init(&topics, "open").await.expect("init");
        open.add(&topics, &[0]).await.expect("add");
        let batch = of_transaction(&open, 0, &[("k0", Some("undecided"))]);
        topics.append_transactional("t", 0, batch, open.name).expect("append").await.expect("append");
        open
    });
    fill(&bench, &topics, 100..200, 3);
    compact(&bench, &topics);
    let partition = topics.partition("t", 0).expect("partition");
    let stable = partition.marks().stable;
    assert_eq!(stable, 200);
    // Keys whose last committed value lies before the open transaction have it still.
    let seen = last_of_each(&rows_until(&topics, 900, stable));
    assert_eq!(seen.len(), 4);
    bench.wait(open.end(&topics, false)).expect("abort");
    let before = last_of_each(&rows(&topics, 900));
    compact(&bench, &topics);
    assert_eq!(last_of_each(&rows(&topics, 900)), before);
}
