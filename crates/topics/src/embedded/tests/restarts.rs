use super::*;

#[test]
fn what_was_acknowledged_survives_being_dropped() {
    let mut bench = Bench::new();
    bench.settings.wal_file_bytes = 6_000;
    let mut next = 0;
    let topics = bench.open();
    create(&topics, 2);
    drop(topics);
    for round in 0..8 {
        let topics = bench.open();
        assert_eq!(topics.leader_epoch(), round + 1);
        assert_eq!(records(&topics, 0), numbered(0..next));
        for _ in 0..40 {
            bench.append(&topics, 0, batch(next, 1, 1_000_000)).expect("append");
            next += 1;
        }
        // Some that nobody waits for: there or not, but never in between.
        for extra in 0..3 {
            let _ = topics.append("t", 1, batch(extra, 1, 1_000_000));
        }
        drop(topics);
    }
    let topics = bench.open();
    assert_eq!(records(&topics, 0), numbered(0..next));
    assert!(bench.wal_files().len() < 4, "write-ahead files are released");
    let partition = topics.partition("t", 0).expect("partition");
    assert_eq!(partition.end_of_epoch(3), Some((3, 120)));
    assert_eq!(partition.end_of_epoch(9), Some((9, 320)));
}

#[test]
fn a_clean_end_keeps_the_epoch_and_close_is_idempotent() {
    let bench = Bench::new();
    for round in 0..3 {
        let topics = bench.open();
        if round == 0 {
            create(&topics, 1);
        }
        assert_eq!(topics.leader_epoch(), 0);
        bench.append(&topics, 0, batch(round, 1, 1_000_000)).expect("append");
        bench.wait(topics.close()).expect("close");
        bench.wait(topics.close()).expect("again");
        assert!(matches!(bench.append(&topics, 0, batch(9, 1, 1_000_000)), Err(AppendError::Offline(_))));
        assert_eq!(records(&topics, 0), numbered(0..round + 1));
    }
    // A clean end that is followed by an unclean one counts once.
    drop(bench.open());
    assert_eq!(bench.open().leader_epoch(), 1);
}

#[test]
fn the_supervisor_closes_the_log() {
    let bench = Bench::new();
    let disk: SharedDisk = Arc::new(RealDisk);
    let directory = DataDirectory::open(Arc::clone(&disk), &bench.path).expect("directory");
    let control = Control::open(&disk, &layout::control_file(&bench.path)).expect("control");
    let supervisor = Supervisor::new(bench.runtime.handle().clone());
    let deps = Deps { directory, control, clock: Arc::new(base::SystemClock) };
    let topics = Topics::open(bench.settings.clone(), deps, &supervisor).expect("open");
    bench.wait(supervisor.stop(std::time::Duration::from_secs(20)));
    drop(topics);
    assert_eq!(bench.open().leader_epoch(), 0);
}

fn filled(bench: &Bench, close: bool) -> usize {
    let topics = bench.open();
    create(&topics, 1);
    for i in 0..100 {
        bench.append(&topics, 0, batch(i, 1, 1_000_000)).expect("append");
    }
    if close {
        bench.close(topics)
    } else {
        drop(topics)
    }
    100
}

/// Where the frames of a write-ahead file end and the zeros begin that it has grown by.
fn frames_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_torn_tail_of_the_write_ahead_log_is_cut_off() {
    let bench = Bench::new();
    let n = filled(&bench, false);
    let last = bench.wal_files().pop().expect("file");
    let bytes = std::fs::read(&last).expect("read");
    std::fs::write(&last, &bytes[..frames_end(&bytes) - 5]).expect("tear");
    let topics = bench.open();
    assert_eq!(records(&topics, 0), numbered(0..n - 1), "the last record was torn, the others are whole");
    let appended = bench.append(&topics, 0, batch(n - 1, 1, 1_000_000)).expect("append");
    assert_eq!(appended.base_offset, n as i64 - 1);
}

#[test]
fn damage_in_the_write_ahead_log_is_refused() {
    let bench = Bench::new();
    filled(&bench, false);
    let last = bench.wal_files().pop().expect("file");
    let mut bytes = std::fs::read(&last).expect("read");
    let middle = frames_end(&bytes) / 2;
    bytes[middle] ^= 1;
    std::fs::write(&last, bytes).expect("damage");
    match bench.try_open() {
        Err(OpenError::Damaged { file, position, .. }) => {
            assert!(file.ends_with(".wal") && position > 0 && position <= middle as u64);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_lost_in_a_power_cut_are_written_again() {
    let bench = Bench::new();
    let n = filled(&bench, false);
    // Nothing of the segments was synced: the write-ahead log has it all.
    let topics_dir = bench.path.join("log").join("topics");
    for entry in walk_files(&topics_dir) {
        std::fs::write(&entry, vec![0; 1_000]).expect("zeros");
    }
    assert_eq!(records(&bench.open(), 0), numbered(0..n));
}

fn walk_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("list").flatten() {
        if entry.path().is_dir() { files.extend(walk_files(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}

#[test]
fn a_damaged_segment_is_refused_with_its_place() {
    let bench = Bench::new();
    filled(&bench, true);
    let topics = bench.open();
    let segments = bench.segment_files(&topics, "log");
    bench.close(topics);
    let whole = std::fs::read(&segments[0]).expect("read");
    let mut bad = whole.clone();
    bad[1_000] ^= 1;
    std::fs::write(&segments[0], bad).expect("damage");
    let topics = bench.open();
    let partition = topics.partition("t", 0).expect("partition");
    let mut from = 0;
    let damage = loop {
        match partition.read(from, i64::MAX, 1) {
            Ok(read) => from = read.next,
            Err(error) => break error,
        }
    };
    assert!(matches!(damage, ReadError::Damaged { file, position, .. }
        if segments[0].display().to_string() == file && position <= 1_000 && position > 500));
    bench.close(topics);
    std::fs::write(&segments[0], whole).expect("heal");

    // The active segment must be whole up to its checkpoint.
    let active = segments.last().expect("active");
    let whole = std::fs::read(active).expect("read");
    let refused = |what: &str| match bench.try_open() {
        Err(OpenError::Damaged { file, .. }) => assert_eq!(file, active.display().to_string(), "{what}"),
        other => panic!("{what}: {other:?}"),
    };
    std::fs::write(active, &whole[..whole.len() - 1]).expect("cut");
    refused("cut");
    let mut bad = whole.clone();
    *bad.last_mut().expect("byte") ^= 1;
    std::fs::write(active, bad).expect("damage");
    refused("last batch");
    std::fs::remove_file(active).expect("remove");
    refused("missing");
    std::fs::write(active, whole).expect("heal");
    assert_eq!(records(&bench.open(), 0), numbered(0..100));
}

#[test]
fn a_missing_checkpoint_is_no_empty_log() {
    let bench = Bench::new();
    filled(&bench, true);
    let checkpoint = layout::checkpoint_file(&bench.path);
    let whole = std::fs::read(&checkpoint).expect("read");
    std::fs::remove_file(&checkpoint).expect("remove");
    assert!(matches!(bench.try_open(), Err(OpenError::Damaged { .. })));
    let mut bad = whole.clone();
    bad[100] ^= 1;
    std::fs::write(&checkpoint, bad).expect("damage");
    assert!(matches!(bench.try_open(), Err(OpenError::Damaged { .. })));
    std::fs::write(&checkpoint, whole).expect("heal");
    assert_eq!(records(&bench.open(), 0), numbered(0..100));
}

#[test]
fn a_partition_moved_away_goes_on_behind_its_end() {
    let bench = Bench::new();
    filled(&bench, true);
    let topics_dir = bench.path.join("log").join("topics");
    let topic = std::fs::read_dir(&topics_dir).expect("list").flatten().next().expect("topic").path();
    std::fs::rename(topic.join("0"), bench.path.join("moved")).expect("move");
    for round in 0..2 {
        let topics = bench.open();
        let marks = topics.partition("t", 0).expect("partition").marks();
        assert_eq!((marks.log_start, marks.durable), (100, 100 + round));
        let appended = bench.append(&topics, 0, batch(100 + round as usize, 1, 1_000_000)).expect("append");
        assert_eq!(appended.base_offset, 100 + round);
        if round == 0 { drop(topics) } else { bench.close(topics) }
    }
    assert_eq!(records(&bench.open(), 0), [(100, 100), (101, 101)]);
}

#[test]
fn indexes_are_built_again() {
    let bench = Bench::new();
    let n = filled(&bench, true);
    let topics = bench.open();
    let sets = [bench.segment_files(&topics, "index"), bench.segment_files(&topics, "timeindex")];
    bench.close(topics);
    assert!(sets[0].len() > 2 && sets[0].len() == sets[1].len());
    let good: Vec<Vec<u8>> = sets[0].iter().map(|f| std::fs::read(f).expect("read")).collect();
    assert!(good[0].len() >= 16);
    type Spoil = fn(&Path);
    let spoils: [Spoil; 4] = [
        |f| std::fs::remove_file(f).expect("remove"),
        |f| std::fs::write(f, b"").expect("empty"),
        |f| std::fs::write(f, [0xff; 7]).expect("garbage"),
        |f| std::fs::write(f, [0x01; 240]).expect("plausible garbage"),
    ];
    for spoil in spoils {
        sets.iter().flatten().for_each(|f| spoil(f));
        let topics = bench.open();
        assert_eq!(records(&topics, 0), numbered(0..n));
        let partition = topics.partition("t", 0).expect("partition");
        assert_eq!(partition.offset_for_timestamp(0).expect("find"), Some((0, 1_000_000)));
        bench.close(topics);
    }
    sets.iter().flatten().for_each(|f| std::fs::remove_file(f).expect("remove"));
    let topics = bench.open();
    records(&topics, 0);
    topics.partition("t", 0).expect("partition").max_timestamp().expect("max");
    assert_eq!(std::fs::read(&sets[0][0]).expect("rebuilt"), good[0]);
}

#[test]
fn a_topic_made_again_has_another_id_and_no_old_records() {
    let bench = Bench::new();
    let topics = bench.open();
    let first = create(&topics, 1);
    let mut changes = topics.watch_topics();
    bench.append(&topics, 0, batch(0, 3, 1_000_000)).expect("append");
    let old = topics.partition("t", 0).expect("partition");
    let dir = layout::topic_dir(&bench.path, first.id);
    assert!(dir.exists());
    assert_eq!(topics.delete("t").expect("delete"), first.id);
    assert!(changes.has_changed().expect("open"));
    changes.mark_unchanged();
    assert!(!dir.exists());
    assert!(topics.topic("t").is_none() && topics.topic_by_id(first.id).is_none());
    assert!(matches!(old.read(0, 1, 1), Err(ReadError::UnknownPartition { .. })));
    assert!(matches!(topics.delete("t"), Err(TopicError::NotFound(_))));
    let second = create(&topics, 1);
    assert_ne!(first.id, second.id);
    assert!(matches!(old.read(0, 1, 1), Err(ReadError::UnknownPartition { .. })));
    assert_eq!(records(&topics, 0), []);
    bench.append(&topics, 0, batch(7, 1, 1_000_000)).expect("append");
    drop(topics);
    let topics = bench.open();
    assert_eq!(records(&topics, 0), [(0, 7)], "the write-ahead log brings nothing back");
    assert_eq!(topics.topic("t").expect("topic").id, second.id);
}

#[test]
fn topics_are_stored_and_orphans_removed() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 2);
    let info = topics.add_partitions("t", 5).expect("more");
    assert!(matches!(topics.add_partitions("t", 5), Err(TopicError::PartitionsOnlyGrow { .. })));
    topics.alter_config("t", &[("retention.ms".into(), Some("5".into()))]).expect("alter");
    let unknown = topics.alter_config("t", &[("retention.m".into(), Some("5".into()))]);
    assert!(matches!(unknown, Err(TopicError::UnknownConfig { .. })));
    let again = NewTopic { name: "t".into(), ..NewTopic::default() };
    assert!(matches!(topics.create(again.clone()), Err(TopicError::Exists(_))));
    assert!(topics.validate(&NewTopic { name: "a b".into(), ..again.clone() }).is_err());
    let none = NewTopic { name: "u".into(), partitions: Some(0), ..again };
    assert!(matches!(topics.validate(&none), Err(TopicError::PartitionCount(0, _))));
    bench.append(&topics, 4, batch(0, 1, 1_000_000)).expect("append");
    let orphan = layout::topic_dir(&bench.path, TopicId::random());
    std::fs::create_dir_all(orphan.join("0")).expect("orphan");
    // A crash between the control store and the directories.
    std::fs::remove_dir(layout::partition_dir(&bench.path, info.id, 3)).expect("remove");
    drop(topics);
    let topics = bench.open();
    assert!(!orphan.exists());
    let found = topics.topic("t").expect("topic");
    assert_eq!((found.partitions, found.config.get("retention.ms")), (5, Some("5")));
    assert_eq!(records(&topics, 4), [(0, 0)]);
    bench.append(&topics, 3, batch(0, 1, 1_000_000)).expect("append");
    assert_eq!(topics.list().len(), 1);
}

#[test]
fn a_control_store_older_than_the_log_costs_no_records() {
    let bench = Bench::new();
    drop(bench.open());
    let control = layout::control_file(&bench.path);
    let older = std::fs::read(&control).expect("copy");
    let n = filled(&bench, true);
    let newer = std::fs::read(&control).expect("copy");
    std::fs::write(&control, older).expect("restore the older one");
    for _ in 0..2 {
        match bench.try_open() {
            Err(OpenError::UnknownTopic { directory }) => assert!(Path::new(&directory).is_dir()),
            other => panic!("{other:?}"),
        }
    }
    std::fs::write(&control, newer).expect("restore the newest one");
    assert_eq!(records(&bench.open(), 0), numbered(0..n));
}

#[test]
fn an_interrupted_deletion_goes_on() {
    let bench = Bench::new();
    let topics = bench.open();
    let id = create(&topics, 1).id;
    bench.append(&topics, 0, batch(0, 3, 1_000_000)).expect("append");
    let dir = layout::topic_dir(&bench.path, id);
    let kept: Vec<_> =
        walk_files(&dir).into_iter().map(|f| (f.clone(), std::fs::read(f).expect("read"))).collect();
    topics.delete("t").expect("delete");
    drop(topics);
    // As if the crash had come before the directory was removed.
    for (file, bytes) in kept {
        std::fs::create_dir_all(file.parent().expect("directory")).expect("directory");
        std::fs::write(file, bytes).expect("write");
    }
    assert!(bench.open().list().is_empty());
    assert!(!dir.exists());
}

#[test]
fn topics_come_and_go_under_load() {
    let mut bench = Bench::new();
    bench.settings.wal_file_bytes = 3_000;
    bench.settings.open_files_max = 2;
    let topics = bench.open();
    let done = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..2)
        .map(|_| {
            let (topics, done, handle) = (topics.clone(), Arc::clone(&done), bench.runtime.handle().clone());
            thread::spawn(move || {
                let mut taken = 0;
                while !done.load(Ordering::SeqCst) {
                    match topics.append("t", 0, batch(taken, 1, 1_000_000)).map(|p| handle.block_on(p)) {
                        Ok(Ok(_)) => taken += 1,
                        Ok(Err(AppendError::UnknownPartition { .. }))
                        | Err(AppendError::UnknownPartition { .. }) => {}
                        other => panic!("{other:?}"),
                    }
                    if let Some(partition) = topics.partition("t", 0) {
                        match partition.read(0, i64::MAX, 1_000) {
                            Ok(_) | Err(ReadError::UnknownPartition { .. }) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }
                taken
            })
        })
        .collect();
    for _ in 0..15 {
        create(&topics, 1);
        let mut durable = topics.partition("t", 0).expect("partition").watch_durable();
        bench.wait(durable.wait_for(|end| *end > 20)).expect("load");
        topics.delete("t").expect("delete");
    }
    done.store(true, Ordering::SeqCst);
    assert!(load.into_iter().all(|l| l.join().expect("load") > 0));
    assert_eq!(topics.offline(), None);
    drop(topics);
    assert!(bench.open().list().is_empty());
}
