//! Power cuts while records are deleted, aged out and compacted: what was acknowledged above a served log start is
//! there, the last record of each key is, and nothing below a served log start comes back.

use storage::simulated::SimulatedDisk;

use super::compaction::{create_compacted, keyed, last_of_each, rows};
use super::power::Dice;
use super::*;

const CUTS: u64 = 300;

/// What a client knows for sure.
#[derive(Debug, Default)]
struct Known {
    /// Acknowledged rows of the compacted topic: offset, key, value.
    rows: Vec<(i64, String, Option<String>)>,
    /// Acknowledged records of the topic of which old ones are deleted.
    produced: usize,
    /// The largest log start that was seen of it.
    log_start: i64,
}

fn open_on(
    disk: &SimulatedDisk,
    runtime: &tokio::runtime::Runtime,
    clock: &Arc<ManualClock>,
) -> Option<Topics> {
    let disk: SharedDisk = Arc::new(disk.clone());
    let directory = DataDirectory::open_simulated(Arc::clone(&disk), Path::new("/data")).ok()?;
    let control = Control::open(&disk, &layout::control_file(Path::new("/data"))).ok()?;
    let clock: SharedClock = Arc::<ManualClock>::clone(clock);
    let settings = Settings {
        segment_bytes: 600,
        index_interval_bytes: 150,
        wal_file_bytes: 2_500,
        reserve_bytes: 0,
        recovery_bytes: 0,
        cleaner_keys_max: 12,
        ..Settings::default()
    };
    let supervisor = Supervisor::new(runtime.handle().clone());
    match Topics::open(settings, Deps { directory, control, clock }, &supervisor) {
        Ok(topics) => Some(topics),
        Err(OpenError::Damaged { file, position, reason }) => panic!("{file} {position}: {reason}"),
        Err(_) => None,
    }
}

fn old(topics: &Topics) -> Option<Marks> {
    Some(topics.partition("old", 0)?.marks())
}

async fn work(
    topics: &Topics,
    known: &mut Known,
    steps: u64,
    dice: &mut Dice,
    clock: &ManualClock,
) -> Result<(), AppendError> {
    for _ in 0..steps {
        match dice.roll(8) {
            0..=2 => {
                let number = known.rows.len();
                let key = format!("k{}", dice.roll(6));
                let value =
                    (dice.roll(5) > 0).then(|| format!("{number:05}{}", "y".repeat(dice.roll(60) as usize)));
                let batch = keyed(&[(&key, value.as_deref())], (-1, -1, -1));
                let at = topics.append("t", 0, batch)?.await?.base_offset;
                known.rows.push((at, key, value));
            }
            3 | 4 => {
                let n = known.produced;
                let at = topics.append("old", 0, sequenced(n, 1, 1_000_000, (5, 0, n as i32)))?.await?;
                assert_eq!(at.base_offset, n as i64, "the offset of its number");
                known.produced = n + 1;
            }
            5 => {
                let Some(marks) = old(topics) else { continue };
                let span = (marks.durable - marks.log_start) as u64;
                let before = marks.log_start + dice.roll(span + 1) as i64;
                match topics.delete_records("old", 0, Some(before)) {
                    Ok(log_start) => known.log_start = known.log_start.max(log_start),
                    Err(error) => return Err(AppendError::Offline(error.to_string())),
                }
            }
            _ => {
                clock.advance(400 + dice.roll(3_000) as i64);
                topics.upkeep();
            }
        }
        if let Some(marks) = old(topics) {
            known.log_start = known.log_start.max(marks.log_start);
        }
    }
    Ok(())
}

/// Holds what the log has against what was acknowledged; goes on from what the log has.
fn check(topics: &Topics, known: &mut Known) {
    let marks = old(topics).expect("a topic");
    assert!(marks.log_start >= known.log_start, "{} came back below {}", marks.log_start, known.log_start);
    assert!(marks.durable >= known.produced as i64);
    let partition = topics.partition("old", 0).expect("partition");
    let mut from = marks.log_start;
    while from < marks.durable {
        let read = partition.read(from, marks.durable, 500).expect("read");
        let first = Batches::new(&read.bytes).next().expect("a batch").expect("batch");
        assert_eq!(first.base_offset(), from, "no gap");
        from = read.next;
    }
    known.produced = usize::try_from(marks.durable).expect("small");
    known.log_start = marks.log_start;

    let found = rows(topics, 400);
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets grow");
    let (last, expected) = (last_of_each(&found), last_of_each(&known.rows));
    let acknowledged = known.rows.last().map_or(-1, |row| row.0);
    for (key, (offset, value)) in &expected {
        match last.get(key) {
            Some((at, have)) if at == offset => assert_eq!(have, value),
            // Something later that nobody was told about.
            Some((at, _)) => assert!(*at > acknowledged, "{key}: {at} instead of {offset}"),
            None => assert!(value.is_none(), "{key} is lost"),
        }
    }
    for (offset, key, value) in found.iter().filter(|row| row.0 <= acknowledged) {
        assert!(known.rows.contains(&(*offset, key.clone(), value.clone())), "{offset} was never written");
    }
    known.rows.extend(found.into_iter().filter(|row| row.0 > acknowledged));
}

#[test]
fn power_cuts_bring_nothing_back_and_take_no_last_value() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("runtime");
    let mut dice = Dice(11);
    let (mut cuts, mut seed, mut recovered, mut compacted) = (0, 0, 0, 0);
    while cuts < CUTS {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let mut disk = SimulatedDisk::new();
        let mut known = Known::default();
        let topics = open_on(&disk, &runtime, &clock).expect("the first start has power");
        create_compacted(&topics, &[("delete.retention.ms", "4000")]);
        let config = [("retention.ms", "9000"), ("segment.ms", "2500"), ("retention.bytes", "1500")];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        topics.create(NewTopic { name: "old".into(), partitions: Some(1), config }).expect("create");
        drop(topics);
        for _ in 0..6 {
            let cut_in_recovery = dice.roll(3) == 0;
            if cut_in_recovery {
                disk.cut_power_after(dice.roll(80));
            }
            if let Some(topics) = open_on(&disk, &runtime, &clock) {
                recovered += 1;
                check(&topics, &mut known);
                if !cut_in_recovery {
                    disk.cut_power_after(dice.roll(400));
                }
                let steps = 5 + dice.roll(80);
                let _ = runtime.block_on(work(&topics, &mut known, steps, &mut dice, &clock));
                if dice.roll(3) == 0 {
                    let _ = runtime.block_on(topics.close());
                }
            }
            cuts += 1;
            seed += 1;
            disk = disk.after_power_cut(seed);
        }
        let topics = open_on(&disk, &runtime, &clock).expect("with power it opens");
        check(&topics, &mut known);
        runtime.block_on(work(&topics, &mut known, 60, &mut dice, &clock)).expect("with power it works");
        clock.advance(10_000);
        compacted += topics.upkeep().compacted.partitions;
        check(&topics, &mut known);
        assert_eq!(topics.offline(), None);
    }
    assert!(recovered > CUTS / 3 && compacted > 0, "{recovered} {compacted}");
}
