//! Power cuts at every change of recorded runs: any subset of unsynced bytes and names survives, in any order.
//!
//! A run is recorded once, restarts and kills included; the disk of any of its moments is made from the history, so a
//! crash point costs no more than a recovery.

#[cfg(feature = "sabotage")]
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::simulated::{History, SimulatedDisk};
use storage::{Control, SharedDisk};
use tokio::runtime::Runtime;
use topics::Topics;

use crate::model::*;
use crate::{long, seed};

const SEED: u64 = 20_261_121;
/// Crash points of the default campaign.
const POINTS: u64 = 20_500;
const LANES: u64 = 2;

/// What clients knew when the history was so long.
struct Mark {
    at: usize,
    known: Known,
}

struct Run {
    history: History,
    marks: Vec<Mark>,
    control: Control,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("runtime")
}

fn open_on(disk: &SimulatedDisk, control: &Control, runtime: &Runtime) -> Result<Topics, String> {
    let shared: SharedDisk = Arc::new(disk.clone());
    let directory = directory(&shared).map_err(|e| e.to_string())?;
    open(directory, control.clone(), runtime, Files::Small).map_err(|e| base::fault::chain(&e))
}

/// Works for a while on one disk, with kills and clean restarts in between, and keeps its history.
fn record(seed: u64, lying: bool, runtime: &Runtime) -> Result<Run, String> {
    let mut random = Random(seed);
    // The control store has campaigns of its own; here it never changes and needs no cuts.
    let apart: SharedDisk = Arc::new(SimulatedDisk::new());
    let control = Control::open(&apart, "/control.redb".as_ref()).map_err(|e| e.to_string())?;
    let disk = SimulatedDisk::new();
    let topics = open_on(&disk, &control, runtime)?;
    create(&topics);
    if lying {
        disk.lie();
    }
    disk.record();
    let (mut known, mut marks) = (Known::default(), Vec::new());
    let mut topics = Some(topics);
    for _ in 0..3 {
        let open = match topics.take() {
            Some(open) => open,
            None => open_on(&disk, &control, runtime)?,
        };
        known = check(&open, &known)?;
        // What a recovery showed is as good as acknowledged.
        marks.push(Mark { at: disk.recorded(), known });
        runtime.block_on(work(&open, &disk, &mut known, &mut marks, &mut random))?;
        if random.below(2) == 0 {
            runtime.block_on(open.close()).map_err(|e| e.to_string())?;
        }
    }
    Ok(Run { history: disk.history(), marks, control })
}

async fn work(
    topics: &Topics,
    disk: &SimulatedDisk,
    known: &mut Known,
    marks: &mut Vec<Mark>,
    random: &mut Random,
) -> Result<(), String> {
    let epoch = topics.claim_writer(&writer()).await.map_err(|e| e.to_string())?.epoch;
    for _ in 0..20 {
        if random.below(4) == 0 {
            topics.append_atomically(atomic(epoch, known.atomic)).await.map_err(|e| e.to_string())?;
            known.atomic += 1;
        } else {
            let partition = random.below(PRODUCERS as u64) as usize;
            let mut first = known.acknowledged[partition];
            let mut pending = Vec::new();
            for _ in 0..=random.below(WINDOW as u64) {
                let batch = batch(partition, first);
                let append = topics.append(TOPIC, partition as i32, batch).map_err(|e| e.to_string())?;
                pending.push((first, append));
                first += count(first);
            }
            for (first, append) in pending {
                let appended = append.await.map_err(|e| e.to_string())?;
                if appended.base_offset != first {
                    return Err(format!("batch {first} is at {}", appended.base_offset));
                }
                known.acknowledged[partition] = first + count(first);
                marks.push(Mark { at: disk.recorded(), known: *known });
            }
        }
        marks.push(Mark { at: disk.recorded(), known: *known });
    }
    Ok(())
}

/// Every moment of a run as a crash point; gives how many there were.
fn cut_everywhere(run: Run, seed: u64, runtime: &Runtime) -> Result<u64, String> {
    let Run { mut history, marks, control } = run;
    let mut random = Random(seed);
    let mut points = 0;
    for at in 0..=history.len() {
        history.advance_to(at);
        let known = marks.iter().rev().find(|m| m.at <= at).map_or_else(Known::default, |m| m.known);
        let cut = random.next();
        let told = |finding| format!("change {at} of seed {seed}, cut {cut}: {finding}");
        let disk = history.after_power_cut(cut);
        let again = recover(&disk, &control, &known, runtime, &mut random).map_err(told)?;
        points += 1;
        if let Some(known) = again {
            // What the first recovery showed must survive the next crash, whichever kind it is.
            let next = if random.below(2) == 0 { disk.after_kill() } else { disk.after_power_cut(cut) };
            recover(&next, &control, &known, runtime, &mut random).map_err(told)?;
            points += 1;
        }
    }
    Ok(points)
}

/// Opens the log and checks it; goes on with it now and then. Gives what is known if there shall be another crash.
fn recover(
    disk: &SimulatedDisk,
    control: &Control,
    known: &Known,
    runtime: &Runtime,
    random: &mut Random,
) -> Result<Option<Known>, String> {
    let topics = open_on(disk, control, runtime)?;
    let mut found = check(&topics, known)?;
    if let Some(partition) = (0..PRODUCERS).find(|p| !is_boundary(found.acknowledged[*p])) {
        return Err(format!("partition {partition} ends within a batch"));
    }
    if random.below(4) > 0 {
        return Ok(None);
    }
    // The client retries what was not acknowledged to it: it gets the offset it always had.
    for partition in 0..PRODUCERS {
        let first = known.acknowledged[partition];
        let append =
            topics.append(TOPIC, partition as i32, batch(partition, first)).map_err(|e| e.to_string())?;
        let appended = runtime.block_on(append).map_err(|e| e.to_string())?;
        if appended.base_offset != first {
            return Err(format!("a retry of batch {first} was put at {}", appended.base_offset));
        }
        found.acknowledged[partition] = found.acknowledged[partition].max(first + count(first));
    }
    Ok(Some(found))
}

/// Runs until there were so many crash points.
fn campaign(seed: u64, points: u64, lying: bool) -> Result<u64, String> {
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let done = &done;
                scope.spawn(move || {
                    let runtime = runtime();
                    for round in 0_u64.. {
                        if done.load(Ordering::Relaxed) >= points {
                            break;
                        }
                        let seed = seed + LANES * round + lane;
                        let run = record(seed, lying, &runtime).map_err(|e| format!("seed {seed}: {e}"))?;
                        done.fetch_add(cut_everywhere(run, seed, &runtime)?, Ordering::Relaxed);
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(|_| Err("a lane panicked".into())))
    })?;
    Ok(done.into_inner())
}

#[test]
fn no_power_cut_takes_back_what_was_acknowledged() {
    let seed = seed(SEED);
    let points = if long() { 10 * POINTS } else { POINTS };
    println!("power cuts on the simulated disk: seed {seed}, at least {points} crash points");
    match campaign(seed, points, false) {
        Ok(points) => println!("{points} crash points, nothing lost"),
        Err(finding) => panic!("FRAZIL_SEED={seed}: {finding}"),
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_found() {
    let finding = campaign(SEED, POINTS / 4, true).expect_err("a disk without syncs loses nothing?");
    println!("{finding}");
}

/// The switch is one of the whole process, so it gets one of its own.
#[test]
#[ignore = "has a planted fault: run by the test below"]
fn with_a_planted_fault() {
    #[cfg(feature = "sabotage")]
    for name in std::env::var("FRAZIL_SABOTAGE").iter() {
        topics::sabotage::switch(name).expect("a fault").store(true, Ordering::SeqCst);
    }
    campaign(SEED, POINTS / 4, false).expect("a finding");
}

#[cfg(feature = "sabotage")]
#[test]
fn an_acknowledgement_before_the_fsync_is_found() {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["simulated::with_a_planted_fault", "--exact", "--ignored", "--nocapture"])
        .env("FRAZIL_SABOTAGE", "ack-before-durable")
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("lost"), "nobody saw it: {text}");
}
