//! A disk that fails, one call at a time, and a disk that is full.

use storage::simulated::SimulatedDisk;

use super::*;

const SPACE: u64 = 40_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("runtime")
}

fn open_on(disk: &SimulatedDisk, runtime: &tokio::runtime::Runtime) -> Result<Topics, String> {
    let shared: SharedDisk = Arc::new(disk.clone());
    let directory =
        DataDirectory::open_simulated(shared, Path::new("/data")).map_err(|e| base::fault::chain(&e))?;
    let control = Control::open(directory.disk(), &layout::control_file(Path::new("/data")))
        .map_err(|e| base::fault::chain(&e))?;
    let deps = Deps { directory, control, clock: Arc::new(ManualClock::at(1_000_000)) };
    let settings = Settings {
        segment_bytes: 700,
        index_interval_bytes: 200,
        wal_file_bytes: 1_500,
        reserve_bytes: 2 * SPACE,
        recovery_bytes: SPACE,
        ..Settings::default()
    };
    Topics::open(settings, deps, &Supervisor::new(runtime.handle().clone()))
        .map_err(|e| base::fault::chain(&e))
}

#[test]
fn a_topic_costs_a_change_of_the_disk_per_partition_and_one_sync() {
    let cost = |partitions| {
        let (disk, runtime) = (SimulatedDisk::new(), runtime());
        let topics = open_on(&disk, &runtime).expect("open");
        let before = disk.operations();
        let new = NewTopic { name: "t".into(), partitions: Some(partitions), ..NewTopic::default() };
        topics.create(new).expect("create");
        disk.operations() - before
    };
    assert_eq!(cost(51) - cost(11), 40);
}

/// Works as long as the disk does; gives how many appends were acknowledged to each of two topics.
fn work(disk: &SimulatedDisk, runtime: &tokio::runtime::Runtime, from: [usize; 2]) -> [usize; 2] {
    let mut known = from;
    let Ok(topics) = open_on(disk, runtime) else { return known };
    for (topic, known) in ["t", "u"].iter().zip(&mut known) {
        let new = NewTopic { name: (*topic).into(), ..NewTopic::default() };
        if topics.topic(topic).is_none() && topics.create(new).is_err() {
            break;
        }
        let Some(partition) = topics.partition(topic, 0) else { break };
        *known = partition.marks().durable as usize;
        for _ in 0..6 {
            let Ok(pending) = topics.append(topic, 0, batch(*known, 1, 1_000_000)) else { break };
            let Ok(appended) = runtime.block_on(pending) else { break };
            assert_eq!(appended.base_offset, *known as i64);
            *known += 1;
        }
    }
    let _ = runtime.block_on(topics.close());
    known
}

fn check(disk: &SimulatedDisk, runtime: &tokio::runtime::Runtime, known: [usize; 2], what: &str) {
    let topics = open_on(disk, runtime).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (topic, known) in ["t", "u"].iter().zip(known) {
        match topics.partition(topic, 0) {
            None => assert_eq!(known, 0, "{what}: {topic}"),
            Some(partition) => {
                let marks = partition.marks();
                assert!(marks.durable >= known as i64, "{what}: {topic} {known} {marks:?}");
                let all = records_of(&topics, topic, 0);
                assert_eq!(all, numbered(0..marks.durable as usize), "{what}: {topic}");
            }
        }
    }
}

/// As SQLite tests: whichever call fails, once or from then on, nothing that was acknowledged is lost, and the next
/// process, or the one after a power cut, starts and goes on.
#[test]
fn whichever_call_fails_nothing_is_lost() {
    let runtime = runtime();
    let untouched = SimulatedDisk::new();
    assert_eq!(work(&untouched, &runtime, [0, 0]), [6, 6]);
    let calls = untouched.calls();
    let mut met = 0;
    for n in 0..calls {
        for (kind, stays) in kinds(n) {
            let what = format!("call {n} of {calls}, {kind:?}, stays {stays}");
            let disk = SimulatedDisk::new();
            disk.fail_after(n, kind, stays);
            let known = work(&disk, &runtime, [0, 0]);
            met += u64::from(disk.has_failed());
            check(&disk.after_power_cut(n), &runtime, known, &what);
            let next = disk.after_kill();
            check(&next, &runtime, known, &what);
            // What the next process writes stands on what the killed one left unsynced.
            let known = work(&next, &runtime, known);
            assert!(known[0] >= 6 && known[1] >= 6, "{what}: the next process works");
            check(&next.after_power_cut(n + 1), &runtime, known, &what);
        }
    }
    assert!(met > calls * 3 / 4, "{met} of {calls} calls failed");
}

/// How call number `n` fails: in turn, or in every way.
fn kinds(n: u64) -> Vec<(io::ErrorKind, bool)> {
    let all = [
        (io::ErrorKind::Other, false),
        (io::ErrorKind::StorageFull, true),
        (io::ErrorKind::Other, true),
        (io::ErrorKind::StorageFull, false),
    ];
    match std::env::var_os("FRAZIL_LONG") {
        Some(_) => all.to_vec(),
        None => vec![all[n as usize % all.len()]],
    }
}

#[test]
fn a_full_disk_stops_appends_and_nothing_else() {
    let runtime = runtime();
    let disk = SimulatedDisk::new();
    let topics = open_on(&disk, &runtime).expect("open");
    for name in ["t", "u"] {
        topics.create(NewTopic { name: name.into(), ..NewTopic::default() }).expect("create");
    }
    let mut count = 0;
    for _ in 0..40 {
        runtime.block_on(topics.append("t", 0, batch(count, 1, 1_000_000)).expect("room")).expect("durable");
        count += 1;
    }
    drop(topics);
    // Somebody else takes what is left, to the last byte.
    let disk = disk.after_kill();
    disk.leave_room_for(0);
    for round in 0..3 {
        let topics =
            open_on(&disk, &runtime).unwrap_or_else(|e| panic!("start {round} without a free byte: {e}"));
        assert!(topics.full().is_some_and(|text| text.contains("disk is full")), "{:?}", topics.alarms());
        let refused = topics.append("t", 0, batch(count, 1, 1_000_000)).expect_err("refused");
        assert!(matches!(refused, AppendError::DiskFull { .. }), "{refused}");
        assert_eq!(records(&topics, 0), numbered(0..count), "reads go on");
        assert_eq!(topics.offline(), None);
        if round == 1 {
            topics.delete("u").expect("deleting goes on");
        }
        if round == 0 { drop(topics) } else { runtime.block_on(topics.close()).expect("a clean end") }
    }
    disk.leave_room_for(10 * SPACE);
    let topics = open_on(&disk, &runtime).expect("open");
    assert_eq!((topics.full(), topics.alarms().len()), (None, 0));
    runtime.block_on(topics.append("t", 0, batch(count, 1, 1_000_000)).expect("room")).expect("durable");
    assert!(disk.exists(Path::new("/data/reserve")), "space is set aside again");
}

#[test]
fn what_was_accepted_gets_the_reserve_when_the_disk_fills_up() {
    let runtime = runtime();
    let disk = SimulatedDisk::new();
    let topics = open_on(&disk, &runtime).expect("open");
    create(&topics, 1);
    let one = batch(0, 1, 1_000_000);
    runtime.block_on(topics.append("t", 0, one).expect("room")).expect("durable");
    // Between two looks of the guard the disk fills up.
    disk.leave_room_for(0);
    let pending = topics.append("t", 0, batch(1, 1, 1_000_000)).expect("the guard has not looked again yet");
    runtime.block_on(pending).expect("durable all the same");
    assert!(!disk.exists(Path::new("/data/reserve")));
    assert!(matches!(topics.append("t", 0, batch(2, 1, 1_000_000)), Err(AppendError::DiskFull { .. })));
    runtime.block_on(topics.close()).expect("a clean end");
}

#[test]
fn an_fsync_error_of_a_checkpoint_takes_the_log_offline() {
    let mut bench = Bench::new();
    bench.settings.wal_file_bytes = 2_000;
    let topics = bench.open();
    create(&topics, 1);
    *bench.fail_only.lock() = Some("log");
    let mut next = 0;
    let error = loop {
        match bench.append(&topics, 0, batch(next, 1, 1_000_000)) {
            Ok(_) => next += 1,
            Err(error) => break error,
        }
        assert!(next < 10_000, "no checkpoint failed");
    };
    assert!(matches!(error, AppendError::Offline(_)), "{error}");
    assert!(topics.offline().is_some_and(|reason| reason.contains("checkpoint failed")));
    *bench.fail_only.lock() = None;
    assert!(matches!(topics.append("t", 0, batch(next, 1, 1_000_000)), Err(AppendError::Offline(_))));
    assert_eq!(records(&topics, 0), numbered(0..next), "reads go on");
    drop(topics);
    // The one that was refused may have become durable before the log went offline.
    let found = records(&bench.open(), 0);
    assert!(found.len() == next || found.len() == next + 1, "{found:?}: the write-ahead log was kept");
    assert_eq!(found, numbered(0..found.len()));
}

#[test]
fn an_fsync_error_of_the_control_store_takes_the_log_offline() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    *bench.fail_only.lock() = Some("redb");
    let error = topics.create(NewTopic { name: "u".into(), ..NewTopic::default() }).expect_err("failed");
    assert!(matches!(error, TopicError::Control(_)), "{error}");
    *bench.fail_only.lock() = None;
    assert!(topics.offline().is_some());
    assert!(matches!(topics.append("t", 0, batch(0, 1, 1_000_000)), Err(AppendError::Offline(_))));
    drop(topics);
    let topics = bench.open();
    bench.append(&topics, 0, batch(0, 1, 1_000_000)).expect("the next start goes on");
}

#[test]
fn written_is_told_before_durable_and_what_is_held_is_dropped_after_both() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    let held = Arc::new(());
    let terms = |until| Terms { until, hold: Some(Arc::<()>::clone(&held)), ..Terms::default() };
    let stuck = bench.hold_syncs.lock();
    let durable = topics.append_on(terms(Until::Durable), "t", 0, batch(0, 1, 1_000_000)).expect("append");
    let written = topics.append_on(terms(Until::Written), "t", 0, batch(1, 1, 1_000_000)).expect("append");
    let nobody = topics.append_on(terms(Until::Durable), "t", 0, batch(2, 1, 1_000_000)).expect("append");
    drop(nobody);
    // The writer may have taken the first one alone: then the second waits for its sync.
    drop(stuck);
    bench.wait(durable).expect("durable");
    assert_eq!(bench.wait(written).expect("written").base_offset, 1);
    // Nothing is left to be synced before the next one.
    bench.append(&topics, 0, batch(3, 1, 1_000_000)).expect("durable");
    let stuck = bench.hold_syncs.lock();
    let written = topics.append_on(terms(Until::Written), "t", 0, batch(4, 1, 1_000_000)).expect("append");
    assert_eq!(bench.wait(written).expect("written while the sync hangs").base_offset, 4);
    let marks = topics.partition("t", 0).expect("partition").marks();
    assert!(marks.durable == 4 && marks.appended == 5, "{marks:?}: not readable before it is durable");
    assert!(Arc::strong_count(&held) > 1, "not durable yet");
    drop(stuck);
    bench.close(topics);
    assert_eq!(Arc::strong_count(&held), 1, "everything held was dropped");
    assert_eq!(records(&bench.open(), 0), numbered(0..5));
}

#[test]
fn removed_directories_are_told() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 2);
    for i in 0..5 {
        bench.append(&topics, 0, batch(i, 1, 1_000_000)).expect("append");
    }
    let id = topics.topic("t").expect("topic").id;
    bench.close(topics);
    std::fs::remove_dir_all(layout::partition_dir(&bench.path, id, 0)).expect("remove");
    let topics = bench.open();
    let alarms = topics.alarms();
    assert!(alarms.len() == 1 && alarms[0].contains("t-0") && alarms[0].contains("0 to 5"), "{alarms:?}");
    bench.append(&topics, 0, batch(5, 1, 1_000_000)).expect("it goes on behind its end");
    bench.close(topics);
    std::fs::remove_dir_all(bench.path.join("log/topics")).expect("remove");
    match bench.try_open() {
        Err(OpenError::Damaged { file, reason, .. }) => {
            assert!(file.ends_with("log/topics") && reason.contains("missing"), "{file}: {reason}");
        }
        other => panic!("{other:?}"),
    }
    std::fs::create_dir_all(bench.path.join("log/topics")).expect("make it anew");
    let topics = bench.open();
    assert_eq!(topics.alarms().len(), 1);
    assert_eq!(topics.partition("t", 0).expect("partition").marks().log_start, 6);
}

#[test]
fn much_of_a_segment_is_synced_ahead_and_a_failure_there_ends_the_log() {
    let bench = Bench::new();
    let topics = bench.open();
    create(&topics, 1);
    *bench.fail_only.lock() = Some("log");
    // No checkpoint is due: the write-ahead file has room for all of it.
    let value = vec![b'v'; 256 << 10];
    for _ in 0..40 {
        let mut batch = BatchBuilder::new();
        batch.push(1_000_000, None, Some(&value), &[]);
        if bench.append(&topics, 0, batch.build().expect("batch")).is_err() {
            break;
        }
    }
    let waiting = async {
        while topics.offline().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    bench
        .wait(async { tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await })
        .expect("the log goes offline");
    *bench.fail_only.lock() = None;
}
