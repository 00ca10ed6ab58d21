use super::*;

#[test]
fn appended_is_readable_from_every_offset() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let mut next = 0;
    for i in 0..60 {
        let count = 1 + i % 5;
        let appended = bench.append(&topics, 0, batch(next, count, 1_000_000)).expect("append");
        assert_eq!((appended.base_offset, appended.last_offset), (next as i64, (next + count - 1) as i64));
        assert!(!appended.duplicate && appended.log_append_time_ms.is_none());
        next += count;
    }
    assert!(bench.segment_files(&topics, "log").len() > 2, "segments roll");
    assert_eq!(records(&topics, 0), numbered(0..next));
    let partition = topics.partition("t", 0).expect("partition");
    for from in 0..next as i64 {
        // At least one batch, the one that holds the offset, however few bytes are allowed.
        let read = partition.read(from, i64::MAX, 1).expect("read");
        let found: Vec<_> = Batches::new(&read.bytes).collect::<Result<_, _>>().expect("batches");
        assert_eq!(found.len(), 1);
        assert!(found[0].base_offset() <= from && found[0].last_offset() >= from);
        assert_eq!((read.next, found[0].leader_epoch()), (found[0].last_offset() + 1, 0));
        assert_eq!(partition.batch_hash(from).expect("hash"), Some(found[0].content_hash()));
    }
    let end = partition.read(next as i64, i64::MAX, 100).expect("at the end");
    assert!(end.bytes.is_empty() && end.next == next as i64);
    assert!(matches!(partition.read(next as i64 + 1, i64::MAX, 1), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(partition.read(-1, i64::MAX, 1), Err(ReadError::OutOfRange { .. })));
    assert_eq!(partition.batch_hash(next as i64).expect("hash"), None);
    assert!(matches!(topics.append("t", 1, batch(0, 1, 0)), Err(AppendError::UnknownPartition { .. })));
    assert!(matches!(topics.append("x", 0, batch(0, 1, 0)), Err(AppendError::UnknownPartition { .. })));
}

#[test]
fn pipelined_appends_keep_their_order() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 2);
    let pending: Vec<_> = (0..200)
        .map(|i| topics.append("t", (i % 2) as i32, batch(i / 2, 1, 1_000_000)).expect("append"))
        .collect();
    let offsets: Vec<i64> =
        pending.into_iter().map(|p| bench.wait(p).expect("durable").base_offset).collect();
    assert_eq!(offsets, (0..200).map(|i| i / 2).collect::<Vec<i64>>());
    assert_eq!(records(&topics, 1), numbered(0..100));
}

#[test]
fn duplicates_get_their_first_offset_after_a_restart_too() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let (id, epoch) = bench.wait(topics.init_producer()).expect("producer");
    let send = |topics: &Topics, n: i32| {
        bench.append(topics, 0, sequenced(n as usize * 2, 2, 1_000_000, (id, epoch, n * 2)))
    };
    for n in 0..6 {
        assert!(!send(&topics, n).expect("append").duplicate);
    }
    let check = |topics: &Topics| {
        for n in 1..6 {
            let twin = send(topics, n).expect("duplicate");
            assert!(twin.duplicate);
            assert_eq!((twin.base_offset, twin.last_offset), (i64::from(n) * 2, i64::from(n) * 2 + 1));
        }
        assert!(matches!(send(topics, 0), Err(AppendError::OutOfOrderSequence { expected: 12, .. })));
        assert!(matches!(send(topics, 9), Err(AppendError::OutOfOrderSequence { got: 18, .. })));
        assert_eq!(records(topics, 0), numbered(0..12));
    };
    check(&topics);
    drop(topics);
    let topics = bench.open();
    check(&topics);
    bench.close(topics);
    let topics = bench.open();
    check(&topics);
    let (other, _) = bench.wait(topics.init_producer()).expect("producer");
    assert!(other > id, "producer ids are never given twice");
}

#[test]
fn sequences_wrap_at_the_largest_integer() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let send = |n, sequence| bench.append(&topics, 0, sequenced(n, 3, 1_000_000, (7, 0, sequence)));
    send(0, i32::MAX - 1).expect("unknown producer: any sequence");
    send(3, 1).expect("2147483646, 2147483647, 0, then 1");
    assert!(send(0, i32::MAX - 1).expect("duplicate").duplicate);
    assert!(matches!(send(6, 5), Err(AppendError::OutOfOrderSequence { expected: 4, .. })));
}

#[test]
fn an_atomic_append_is_never_split_by_a_cut() {
    let bench = Bench::new();
    let topics = bench.open();
    let info = create(&topics, 3);
    let writer = WriterId::new("pipeline/x");
    assert_eq!(topics.progress(&writer), None);
    let progress = bench.wait(topics.claim_writer(&writer)).expect("claim");
    assert_eq!((progress.epoch, progress.value.clone()), (1, None));
    let done = Arc::new(AtomicBool::new(false));
    let (watcher, flag) = (topics.clone(), Arc::clone(&done));
    let looking = thread::spawn(move || {
        let mut seen = 0;
        while !flag.load(Ordering::SeqCst) {
            let cut = watcher.cut();
            let marks: Vec<i64> = (0..3).map(|p| cut.stable(info.id, p)).collect();
            assert!(marks.iter().all(|m| *m == marks[0]), "split: {marks:?}");
            seen += 1;
        }
        seen
    });
    for i in 0..150 {
        // The partitions come in any order.
        let batches = [2, 0, 1].map(|p| (at(p), batch(i, 1, 1_000_000))).to_vec();
        let append =
            AtomicAppend { writer: writer.clone(), epoch: 1, batches, progress: format!("{i}").into() };
        let appended = bench.wait(topics.append_atomically(append)).expect("append");
        assert!(appended.iter().all(|(_, a)| a.base_offset == i as i64) && appended.len() == 3);
        assert_eq!(topics.progress(&writer).and_then(|p| p.value), Some(format!("{i}").into()));
    }
    done.store(true, Ordering::SeqCst);
    assert!(looking.join().expect("no split") > 0);
}

#[test]
fn a_replaced_writer_is_fenced() {
    let bench = Bench::new();
    let mut topics = bench.open();
    create(&topics, 1);
    let writer = WriterId::new("w");
    let step = |topics: &Topics, epoch, n: usize| {
        let batches = vec![(at(0), batch(n, 1, 1_000_000))];
        let append =
            AtomicAppend { writer: writer.clone(), epoch, batches, progress: format!("p{n}").into() };
        bench.wait(topics.append_atomically(append))
    };
    assert!(matches!(step(&topics, 0, 0), Err(AppendError::WriterFenced { .. })), "an unclaimed name");
    for (round, n) in [0usize, 1, 2].into_iter().enumerate() {
        let claimed = bench.wait(topics.claim_writer(&writer)).expect("claim");
        assert_eq!(claimed.epoch, round as i64 + 1);
        assert_eq!(claimed.value, n.checked_sub(1).map(|n| format!("p{n}").into()));
        step(&topics, claimed.epoch, n).expect("append");
        assert!(matches!(
            step(&topics, claimed.epoch - 1, 99),
            Err(AppendError::WriterFenced { current, .. }) if current == claimed.epoch
        ));
        if round == 1 {
            bench.close(topics);
        } else {
            drop(topics);
        }
        topics = bench.open();
        assert_eq!(topics.progress(&writer).and_then(|p| p.value), Some(format!("p{n}").into()));
    }
    assert_eq!(records(&topics, 0), numbered(0..3));
    // Progress alone, and a partition twice.
    bench.wait(topics.claim_writer(&writer)).expect("claim");
    let alone = |batches| AtomicAppend { writer: writer.clone(), epoch: 4, batches, progress: "x".into() };
    bench.wait(topics.append_atomically(alone(vec![]))).expect("progress alone");
    let twice = vec![(at(0), batch(0, 1, 1_000_000)), (at(0), batch(0, 1, 1_000_000))];
    assert!(matches!(bench.wait(topics.append_atomically(alone(twice))), Err(AppendError::InvalidRecord(_))));
    assert_eq!(records(&topics, 0).len(), 3, "what is refused leaves no trace");
}

#[test]
fn fsyncs_do_not_grow_with_partitions() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 64);
    let writer = WriterId::new("w");
    bench.wait(topics.claim_writer(&writer)).expect("claim");
    let before = bench.syncs.load(Ordering::SeqCst);
    for round in 0..3 {
        let batches = (0..64).map(|p| (at(p), batch(round, 1, 1_000_000))).collect();
        let append = AtomicAppend { writer: writer.clone(), epoch: 1, batches, progress: "p".into() };
        bench.wait(topics.append_atomically(append)).expect("append");
    }
    assert_eq!(bench.syncs.load(Ordering::SeqCst) - before, 3, "one per group");
}

#[test]
fn an_fsync_error_takes_the_log_offline() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    bench.append(&topics, 0, batch(0, 1, 1_000_000)).expect("append");
    bench.fail_syncs.store(true, Ordering::SeqCst);
    assert!(matches!(bench.append(&topics, 0, batch(1, 1, 1_000_000)), Err(AppendError::Offline(_))));
    bench.fail_syncs.store(false, Ordering::SeqCst);
    let later = bench.append(&topics, 0, batch(1, 1, 1_000_000));
    assert!(matches!(later, Err(AppendError::Offline(r)) if r.contains("on fire")), "never tried again");
    assert!(topics.offline().is_some());
    assert!(matches!(topics.delete("t"), Err(TopicError::Offline(_))));
    assert_eq!(records(&topics, 0), numbered(0..1), "what was durable stays readable");
    assert!(bench.wait(topics.close()).is_err());
}

#[test]
fn a_full_disk_and_a_full_queue_refuse() {
    let mut bench = Bench::new();
    bench.settings.unsynced_bytes_max = 300;
    let topics = bench.open();
    create(&topics, 1);
    bench.free.store(1, Ordering::SeqCst);
    let topics = {
        drop(topics);
        bench.open()
    };
    assert!(matches!(
        bench.append(&topics, 0, batch(0, 1, 1_000_000)),
        Err(AppendError::DiskFull { free: 1, .. })
    ));
    bench.free.store(1 << 40, Ordering::SeqCst);
    bench.append(&topics, 0, batch(0, 1, 1_000_000)).expect("space again");
    let mut pending = Vec::new();
    let busy = (0..1_000).find_map(|_| match topics.append("t", 0, batch(0, 3, 1_000_000)) {
        Ok(one) => {
            pending.push(one);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(busy, Some(AppendError::Busy(_))));
    // Who waits for room before each append is never refused.
    for _ in 0..50 {
        bench.wait(topics.room(300));
        pending.push(topics.append("t", 0, batch(0, 3, 1_000_000)).expect("there was room"));
    }
    for one in pending {
        bench.wait(one).expect("what was taken becomes durable");
    }
    bench.append(&topics, 0, batch(0, 1, 1_000_000)).expect("room again");
}

#[test]
fn timestamps_are_found_in_any_order() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let partition = topics.partition("t", 0).expect("partition");
    assert_eq!(partition.offset_for_timestamp(0).expect("empty"), None);
    assert_eq!(partition.max_timestamp().expect("empty"), None);
    let mut expected: Vec<i64> = Vec::new();
    let append = |topics: &Topics, expected: &mut Vec<i64>, range: std::ops::Range<i64>| {
        for i in range {
            let time = 1_000_000 + (i * 7_919) % 5_000;
            bench.append(topics, 0, batch(expected.len(), 3, time)).expect("append");
            expected.extend((0..3).map(|d| time + d));
        }
    };
    append(&topics, &mut expected, 0..80);
    let check = |topics: &Topics, expected: &[i64]| {
        let partition = topics.partition("t", 0).expect("partition");
        for asked in (999_990..1_005_010).step_by(13) {
            let first = expected.iter().position(|t| *t >= asked).map(|o| (o as i64, expected[o]));
            assert_eq!(partition.offset_for_timestamp(asked).expect("find"), first, "{asked}");
        }
        let largest = expected.iter().copied().max().expect("some");
        let first = expected.iter().position(|t| *t == largest).expect("some");
        assert_eq!(partition.max_timestamp().expect("max"), Some((first as i64, largest)));
    };
    check(&topics, &expected);
    drop(topics);
    let topics = bench.open();
    check(&topics, &expected);
    append(&topics, &mut expected, 80..100);
    check(&topics, &expected);
}

#[test]
fn the_log_stamps_records_when_asked() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let change = ("message.timestamp.type".to_owned(), Some("LogAppendTime".to_owned()));
    topics.alter_config("t", &[change]).expect("alter");
    let appended = bench.append(&topics, 0, sequenced(1, 2, 5, (3, 0, 0))).expect("append");
    assert_eq!(appended.log_append_time_ms, Some(1_000_000));
    bench.clock.advance(500);
    let twin = bench.append(&topics, 0, sequenced(1, 2, 5, (3, 0, 0))).expect("duplicate");
    assert_eq!((twin.duplicate, twin.log_append_time_ms), (true, Some(1_000_000)));
    let partition = topics.partition("t", 0).expect("partition");
    assert_eq!(partition.max_timestamp().expect("max"), Some((0, 1_000_000)));
}

#[test]
fn consumers_set_the_materialized_mark() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    for i in 0..10 {
        bench.append(&topics, 0, batch(i, 1, 1_000_000)).expect("append");
    }
    let mark = || topics.partition("t", 0).expect("partition").marks().materialized;
    assert_eq!(mark(), 10);
    topics.note_consumed("a", "t", 0, 4);
    topics.note_consumed("b", "t", 0, 6);
    assert_eq!(mark(), 4);
    let groups: Vec<_> = topics.consumers().into_iter().map(|c| (c.group, c.offsets[&at(0)])).collect();
    assert_eq!(groups, [("a".to_owned(), 4), ("b".to_owned(), 6)]);
    topics.forget_consumer("a");
    assert_eq!(mark(), 6);
}

#[test]
fn a_cut_knows_topics_as_new_as_its_marks() {
    let bench = Bench::new();
    let topics = bench.open();
    let moving = topics.shared().publishing.lock();
    let cutting = {
        let topics = topics.clone();
        thread::spawn(move || topics.cut())
    };
    // Time for the cut to come as far as the lock; with less the test only sees less.
    thread::sleep(std::time::Duration::from_millis(100));
    let info = create(&topics, 1);
    topics.partition("t", 0).expect("partition").state.move_cut_mark(7);
    drop(moving);
    assert_eq!(cutting.join().expect("cut").stable(info.id, 0), 7);
}

/// A process of its own would be needed to keep the switch from other tests: run it alone, as the checkers do.
#[cfg(feature = "sabotage")]
#[test]
#[ignore = "turns a switch of the whole process: run alone"]
fn sabotage_acknowledges_what_is_not_durable() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    crate::sabotage::ACK_BEFORE_WRITE.store(true, Ordering::SeqCst);
    bench.fail_syncs.store(true, Ordering::SeqCst);
    assert!(bench.append(&topics, 0, batch(0, 1, 1_000_000)).is_ok());
    drop(topics);
    bench.fail_syncs.store(false, Ordering::SeqCst);
    crate::sabotage::ACK_BEFORE_WRITE.store(false, Ordering::SeqCst);
}
