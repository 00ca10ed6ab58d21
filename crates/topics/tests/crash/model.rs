//! What clients do, and what must be true afterwards.
//!
//! One idempotent producer per partition writes the numbers from 0 on, in batches whose sizes follow from where they
//! begin. So number, sequence and offset of a record are the same, whatever was retried: a lost, doubled, reordered or
//! invented record cannot hide. One named writer appends atomically to two more partitions.

use std::path::Path;
use std::sync::Arc;

use base::clock::ManualClock;
use base::{Supervisor, TopicName};
use bytes::Bytes;
use storage::{Control, DataDirectory};
use topics::batch::{BatchBuilder, Batches};
use topics::{AtomicAppend, NewTopic, Settings, TopicPartition, Topics, WriterId};

pub(crate) const TOPIC: &str = "t";
/// Partitions with a producer each; an atomic append writes to the two after them.
pub(crate) const PRODUCERS: usize = 3;
/// Batches of a producer in flight.
pub(crate) const WINDOW: usize = 4;

/// A small generator (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// How large the log's files grow before the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// Rolling, checkpoints and releases happen within few records, and with them syncs of nearly everything.
    Small,
    /// Nothing ends within a run: what is durable is so by the syncs of appends alone.
    Large,
}

fn settings(files: Files) -> Settings {
    let (segment_bytes, wal_file_bytes) = match files {
        Files::Small => (1_500, 3_000),
        Files::Large => (1 << 20, 16 << 20),
    };
    Settings {
        segment_bytes,
        index_interval_bytes: 300,
        wal_file_bytes,
        reserve_bytes: 0,
        recovery_bytes: 0,
        ..Settings::default()
    }
}

pub(crate) fn open(
    directory: DataDirectory,
    control: Control,
    runtime: &tokio::runtime::Runtime,
    files: Files,
) -> Result<Topics, topics::OpenError> {
    let deps = topics::embedded::Deps { directory, control, clock: Arc::new(ManualClock::at(1_000_000)) };
    Topics::open(settings(files), deps, &Supervisor::new(runtime.handle().clone()))
}

pub(crate) fn create(topics: &Topics) {
    if topics.topic(TOPIC).is_none() {
        let partitions = Some(PRODUCERS as i32 + 2);
        let new = NewTopic { name: TOPIC.into(), partitions, ..NewTopic::default() };
        topics.create(new).expect("create");
    }
}

pub(crate) fn directory(disk: &storage::SharedDisk) -> Result<DataDirectory, storage::DirectoryError> {
    DataDirectory::open_simulated(Arc::clone(disk), Path::new("/data"))
}

/// Records of the batch that begins with `first`.
pub(crate) fn count(first: i64) -> i64 {
    1 + first * 7 % 3
}

/// The batch of a producer that begins with `first`.
pub(crate) fn batch(partition: usize, first: i64) -> Bytes {
    let producer = (100 + partition as i64, 0, first as i32);
    numbers(first, count(first), producer)
}

fn numbers(first: i64, count: i64, producer: (i64, i16, i32)) -> Bytes {
    // Codecs have tests of their own; unpacking would be most of the time here.
    let mut builder = BatchBuilder::new().producer(producer.0, producer.1, producer.2);
    for number in first..first + count {
        let value = format!("{number} {}", "x".repeat((number * 31 % 120) as usize));
        builder.push(1_000_000 + number, Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("batch")
}

/// The atomic append number `n` of the epoch.
pub(crate) fn atomic(epoch: i64, n: i64) -> AtomicAppend {
    let at = |partition: usize| TopicPartition {
        topic: TopicName::new(TOPIC).expect("name"),
        partition: partition as i32,
    };
    let none = (-1, -1, -1);
    let batches = vec![(at(PRODUCERS), numbers(n, 1, none)), (at(PRODUCERS + 1), numbers(n, 1, none))];
    AtomicAppend { writer: writer(), epoch, batches, progress: n.to_string().into() }
}

pub(crate) fn writer() -> WriterId {
    WriterId::new("w")
}

/// What clients know for sure: per producer the end of what was acknowledged, and how many atomic appends were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) acknowledged: [i64; PRODUCERS],
    pub(crate) atomic: i64,
}

/// Holds the log against what is known; gives what the log has, or the finding.
pub(crate) fn check(topics: &Topics, known: &Known) -> Result<Known, String> {
    let mut found = Known::default();
    for partition in 0..PRODUCERS {
        let end = read_all(topics, partition)?;
        if end < known.acknowledged[partition] {
            let lost = known.acknowledged[partition];
            return Err(format!("partition {partition}: {lost} were acknowledged, {end} are there: lost"));
        }
        found.acknowledged[partition] = end;
    }
    let progress = topics.progress(&writer()).and_then(|p| p.value);
    let text = progress.as_deref().map(|v| String::from_utf8_lossy(v).into_owned());
    found.atomic = text.map_or(0, |t| t.parse::<i64>().map_or(-1, |n| n + 1));
    if found.atomic < known.atomic {
        return Err(format!(
            "{} atomic appends were acknowledged, {} are there: lost",
            known.atomic, found.atomic
        ));
    }
    for partition in [PRODUCERS, PRODUCERS + 1] {
        let end = read_all(topics, partition)?;
        if end != found.atomic {
            return Err(format!(
                "partition {partition} has {end} of {} atomic appends: halved",
                found.atomic
            ));
        }
    }
    Ok(found)
}

/// Reads a partition from 0 on: each record must be its own number. Gives the end.
fn read_all(topics: &Topics, partition: usize) -> Result<i64, String> {
    let handle = topics.partition(TOPIC, partition as i32).ok_or("the topic is lost")?;
    let end = handle.marks().durable;
    let mut next = 0;
    while next < end {
        let read =
            handle.read(next, end, 1 << 20).map_err(|e| format!("partition {partition} {next}: {e}"))?;
        for batch in Batches::new(&read.bytes) {
            let batch = batch.map_err(|e| e.to_string())?;
            for record in batch.records(1 << 20).map_err(|e| e.to_string())?.iter() {
                let record = record.map_err(|e| e.to_string())?;
                let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                let number = value.split(' ').next().and_then(|n| n.parse::<i64>().ok());
                if record.offset != next || number != Some(next) {
                    let offset = record.offset;
                    return Err(format!("partition {partition}: {number:?} at {offset}, expected {next}"));
                }
                next += 1;
            }
        }
        if read.bytes.is_empty() {
            return Err(format!("partition {partition}: nothing at {next} below {end}"));
        }
    }
    // A time index that understates what it sums up would hide records from those who look for a time.
    let largest = handle.max_timestamp().map_err(|e| format!("partition {partition}: {e}"))?;
    let expected = (next > 0).then(|| (next - 1, 1_000_000 + next - 1));
    if largest != expected {
        return Err(format!("partition {partition}: the largest timestamp is {largest:?}, not {expected:?}"));
    }
    Ok(next)
}

/// Whether a batch ends at `end`.
pub(crate) fn is_boundary(end: i64) -> bool {
    let mut at = 0;
    while at < end {
        at += count(at);
    }
    at == end
}
