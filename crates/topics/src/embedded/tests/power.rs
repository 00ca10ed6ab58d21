//! Power cuts on the simulated disk: whatever unsynced bytes and names survive, what was acknowledged is there, once,
//! and nothing is there in halves: neither atomic appends nor transactions.

use std::collections::BTreeSet;

use storage::simulated::SimulatedDisk;

use super::transactions::{Actor, committed_until};
use super::*;

const CUTS: u64 = 400;

/// A small generator of pseudo-random numbers (xorshift64*), so that failures repeat.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below.max(1)
    }
}

/// What a client of the log knows for sure.
#[derive(Debug, Default)]
struct Known {
    /// Batches of the idempotent producer that were acknowledged, all to partition 0.
    produced: usize,
    /// Number of the last atomic append that was acknowledged.
    published: Option<usize>,
    /// Records of the topic that comes and goes, in its present life.
    churned: Option<usize>,
    /// Number of the next transaction over partitions 3 and 4.
    next: usize,
    /// Transactions of which an outcome was acknowledged.
    committed: BTreeSet<usize>,
    aborted: BTreeSet<usize>,
    /// The one that was begun last and that nobody has heard the end of.
    open: Option<Open>,
    slow: Option<Actor>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    actor: Actor,
    number: usize,
    /// How it was asked to end.
    outcome: Option<bool>,
}

/// Numbers in the slow transaction start here.
const SLOW: usize = 500_000;

/// Nothing but the loss of power may stop a transaction that follows the rules.
fn lost(error: TransactionError) -> AppendError {
    match error {
        TransactionError::Append(error) => error,
        TransactionError::Topic(error) => AppendError::Offline(error.to_string()),
        other => panic!("{other}"),
    }
}

pub(super) fn open_on(disk: &SimulatedDisk, runtime: &tokio::runtime::Runtime) -> Option<Topics> {
    let disk: SharedDisk = Arc::new(disk.clone());
    let directory = DataDirectory::open_simulated(Arc::clone(&disk), Path::new("/data")).ok()?;
    let control = Control::open(&disk, &layout::control_file(Path::new("/data"))).ok()?;
    let deps = Deps { directory, control, clock: Arc::new(ManualClock::at(1_000_000)) };
    let settings = Settings {
        segment_bytes: 700,
        index_interval_bytes: 200,
        wal_file_bytes: 1_500,
        reserve_bytes: 0,
        recovery_bytes: 0,
        ..Settings::default()
    };
    match Topics::open(settings, deps, &Supervisor::new(runtime.handle().clone())) {
        Ok(topics) => Some(topics),
        Err(OpenError::Damaged { file, position, reason }) => panic!("{file} {position}: {reason}"),
        Err(_) => None,
    }
}

/// Works until the power goes, noting what was acknowledged.
async fn work(topics: &Topics, known: &mut Known, steps: u64, dice: &mut Dice) -> Result<(), AppendError> {
    let writer = WriterId::new("w");
    let epoch = topics.claim_writer(&writer).await?.epoch;
    for _ in 0..steps {
        match dice.roll(12) {
            0..=3 => {
                // Up to three in flight, the first of them perhaps a retry of one that was lost or not.
                let mut waiting = Vec::new();
                for n in known.produced..known.produced + 1 + dice.roll(3) as usize {
                    waiting.push(topics.append("t", 0, sequenced(n, 1, 1_000_000, (5, 0, n as i32)))?);
                }
                for one in waiting {
                    assert_eq!(one.await?.base_offset, known.produced as i64, "the offset of its number");
                    known.produced += 1;
                }
            }
            4..=6 => {
                let n = known.published.map_or(0, |n| n + 1);
                let batches = vec![(at(1), batch(n, 1, 1_000_000)), (at(2), batch(n, 1, 1_000_000))];
                let progress = n.to_string().into();
                let append = AtomicAppend { writer: writer.clone(), epoch, batches, progress };
                topics.append_atomically(append).await?;
                known.published = Some(n);
            }
            7 => churn(topics, known, dice).await?,
            8 => crawl(topics, known, dice).await?,
            _ => transact(topics, known, dice).await?,
        }
    }
    Ok(())
}

impl Known {
    fn heard(&mut self, number: usize, committed: bool) {
        let heard = if committed { &mut self.committed } else { &mut self.aborted };
        heard.insert(number);
        self.open = None;
    }
}

/// A few transactions of one producer, each over two partitions.
async fn transact(topics: &Topics, known: &mut Known, dice: &mut Dice) -> Result<(), AppendError> {
    if let Some(Open { actor, number, outcome: Some(outcome) }) = known.open
        && dice.roll(2) == 0
    {
        // The answer was lost, with the power or without: asked again, the answer is the same.
        actor.end(topics, outcome).await.map_err(lost)?;
        known.heard(number, outcome);
    }
    // Whoever takes over is not told how it ended.
    known.open = None;
    let actor = Actor::init(topics, "copy").await.map_err(lost)?;
    for sequence in 0..1 + dice.roll(3) as i32 {
        let number = known.next;
        known.next += 1;
        known.open = Some(Open { actor, number, outcome: None });
        actor.add(topics, &[3, 4]).await.map_err(lost)?;
        actor.send(topics, 3, number, sequence).await?;
        actor.send(topics, 4, number, sequence).await?;
        if dice.roll(6) == 0 {
            return Ok(());
        }
        let outcome = dice.roll(3) > 0;
        known.open = Some(Open { actor, number, outcome: Some(outcome) });
        actor.end(topics, outcome).await.map_err(lost)?;
        known.heard(number, outcome);
    }
    Ok(())
}

/// A transaction that stays open while others come and go.
async fn crawl(topics: &Topics, known: &mut Known, dice: &mut Dice) -> Result<(), AppendError> {
    if let Some(actor) = known.slow.take() {
        return actor.end(topics, dice.roll(2) == 0).await.map_err(lost);
    }
    let actor = Actor::init(topics, "slow").await.map_err(lost)?;
    actor.add(topics, &[3]).await.map_err(lost)?;
    actor.send(topics, 3, SLOW, 0).await?;
    known.slow = Some(actor);
    Ok(())
}

/// Whole transactions or nothing, whichever are still open; then, with all ended, those that were acknowledged.
fn check_transactions(topics: &Topics, known: &mut Known, runtime: &tokio::runtime::Runtime) {
    let Some(info) = topics.topic("t") else { return };
    let cut = topics.cut();
    let seen = |partition, end| -> Vec<usize> {
        let all = committed_until(topics, partition, end);
        all.into_iter().filter(|number| *number < SLOW).collect()
    };
    let [left, right] = [3, 4].map(|p| seen(p, cut.stable(info.id, p)));
    assert_eq!(left, right, "a torn transaction");
    assert!(left.is_sorted_by(|a, b| a < b), "doubled or reordered: {left:?}");
    known.slow = None;
    let ended = runtime.block_on(async {
        Actor::init(topics, "slow").await?;
        match known.open {
            Some(Open { actor, number, outcome: Some(outcome) }) => {
                actor.end(topics, outcome).await?;
                known.heard(number, outcome);
            }
            _ => drop(Actor::init(topics, "copy").await?),
        }
        Ok(())
    });
    if ended.map_err(lost).is_err() {
        return;
    }
    known.open = None;
    for partition in [3, 4] {
        let marks = topics.partition("t", partition).expect("partition").marks();
        assert_eq!(marks.stable, marks.durable, "nothing is open");
        let seen: BTreeSet<usize> = seen(partition, marks.stable).into_iter().collect();
        assert!(known.committed.is_subset(&seen), "lost: {:?}", known.committed.difference(&seen));
        assert!(known.aborted.is_disjoint(&seen), "void: {:?}", known.aborted.intersection(&seen));
    }
}

async fn churn(topics: &Topics, known: &mut Known, dice: &mut Dice) -> Result<(), AppendError> {
    let offline = |e: TopicError| AppendError::Offline(e.to_string());
    if topics.topic("u").is_none() {
        known.churned = None;
        topics.create(NewTopic { name: "u".into(), ..NewTopic::default() }).map_err(offline)?;
        known.churned = Some(0);
    } else if dice.roll(3) == 0 {
        known.churned = None;
        topics.delete("u").map_err(offline)?;
    } else {
        let n = topics.partition("u", 0).expect("partition").marks().appended as usize;
        topics.append("u", 0, batch(n, 1, 1_000_000))?.await?;
        known.churned = Some(n + 1);
    }
    Ok(())
}

/// Holds what the log has against what was acknowledged; goes on from what the log has.
fn check(topics: &Topics, known: &mut Known, runtime: &tokio::runtime::Runtime) {
    let produced = records(topics, 0);
    assert_eq!(produced, numbered(0..produced.len()));
    assert!(produced.len() >= known.produced, "{} of {} are there", produced.len(), known.produced);
    let progress = topics.progress(&WriterId::new("w")).and_then(|p| p.value);
    let progress = progress.map(|v| std::str::from_utf8(&v).expect("text").parse::<usize>().expect("number"));
    assert!(progress >= known.published, "{progress:?} of {:?} is there", known.published);
    for partition in [1, 2] {
        assert_eq!(records(topics, partition), numbered(0..progress.map_or(0, |n| n + 1)));
    }
    known.published = progress;
    if let Some(count) = known.churned {
        let partition = topics.partition("u", 0).expect("an acknowledged topic");
        assert!(partition.marks().durable >= count as i64);
    }
    known.churned = None;
    if let Some(partition) = topics.partition("u", 0) {
        let end = partition.marks().durable;
        let read = partition.read(0, end, 1 << 20).expect("read");
        assert!(end == 0 || !read.bytes.is_empty());
    }
    check_transactions(topics, known, runtime);
}

#[test]
fn power_cuts_lose_nothing_and_halve_nothing() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("runtime");
    let mut dice = Dice(7);
    let (mut cuts, mut seed, mut recovered) = (0, 0, 0);
    while cuts < CUTS {
        let mut disk = SimulatedDisk::new();
        let mut known = Known::default();
        let topics = open_on(&disk, &runtime).expect("the first start has power");
        create(&topics, 5);
        drop(topics);
        for _ in 0..6 {
            let cut_in_recovery = dice.roll(3) == 0;
            if cut_in_recovery {
                disk.cut_power_after(dice.roll(60));
            }
            let opened = open_on(&disk, &runtime);
            if let Some(topics) = opened {
                recovered += 1;
                check(&topics, &mut known, &runtime);
                if !cut_in_recovery {
                    disk.cut_power_after(dice.roll(120));
                }
                let steps = 1 + dice.roll(60);
                let _ = runtime.block_on(work(&topics, &mut known, steps, &mut dice));
                if dice.roll(2) == 0 {
                    // The power may go in the middle of a clean end, too.
                    let _ = runtime.block_on(topics.close());
                }
            }
            cuts += 1;
            seed += 1;
            disk = disk.after_power_cut(seed);
        }
        let topics = open_on(&disk, &runtime).expect("with power it opens");
        check(&topics, &mut known, &runtime);
        runtime.block_on(work(&topics, &mut known, 5, &mut dice)).expect("with power it works");
        check(&topics, &mut known, &runtime);
    }
    assert!(recovered > CUTS / 3);
}
