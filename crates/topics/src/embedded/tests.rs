use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use base::clock::ManualClock;
use base::{Supervisor, TopicName};
use bytes::Bytes;
use storage::disk::Entry;
use storage::{Control, DataDirectory, Disk, DiskFile, OpenMode, RealDisk, SharedDisk, layout};

use super::*;
use crate::batch::{BatchBuilder, Batches, Compression};

mod appends;
mod compaction;
mod faults;
mod groups;
mod power;
mod restarts;
mod retention;
mod transactions;
mod upkeep_power;

/// The real disk, counting and failing on demand.
#[derive(Debug, Clone, Default)]
struct Watched {
    syncs: Arc<AtomicU64>,
    fail_syncs: Arc<AtomicBool>,
    fail_only: FailOnly,
    hold_syncs: Arc<Mutex<()>>,
    free: Arc<AtomicI64>,
    /// Nothing can be written any more.
    full: Arc<AtomicBool>,
}

/// Extension of the files whose syncs fail.
type FailOnly = Arc<Mutex<Option<&'static str>>>;

#[derive(Debug)]
struct WatchedFile(Arc<dyn DiskFile>, Watched, PathBuf);

impl WatchedFile {
    fn refuse_full(&self) -> io::Result<()> {
        if self.1.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.refuse_full()?;
        self.0.write_at(offset, bytes)
    }
    fn write_vectored_at(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        self.refuse_full()?;
        self.0.write_vectored_at(offset, slices)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let Self(_, watched, path) = self;
        watched.syncs.fetch_add(1, Ordering::SeqCst);
        let _held = watched.hold_syncs.lock();
        let only = *watched.fail_only.lock();
        let fails = only.is_some_and(|extension| path.extension().is_some_and(|e| e == extension));
        if fails || watched.fail_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is on fire"));
        }
        self.0.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

impl Disk for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(WatchedFile(RealDisk.open(path, mode)?, self.clone(), path.to_owned())))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.read_dir(path)
    }
    fn exists(&self, path: &Path) -> bool {
        RealDisk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::SeqCst) as u64)
    }
}

/// One data directory, opened as often as wanted.
struct Bench {
    path: PathBuf,
    runtime: tokio::runtime::Runtime,
    clock: Arc<ManualClock>,
    syncs: Arc<AtomicU64>,
    fail_syncs: Arc<AtomicBool>,
    fail_only: FailOnly,
    hold_syncs: Arc<Mutex<()>>,
    free: Arc<AtomicI64>,
    full: Arc<AtomicBool>,
    settings: Settings,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Bench {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("frazil-topics-{}", uuid::Uuid::new_v4()));
        Self {
            path,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_time()
                .build()
                .expect("runtime"),
            clock: Arc::new(ManualClock::at(1_000_000)),
            syncs: Arc::default(),
            fail_syncs: Arc::default(),
            fail_only: Arc::default(),
            hold_syncs: Arc::default(),
            free: Arc::new(AtomicI64::new(1 << 40)),
            full: Arc::default(),
            settings: Settings {
                segment_bytes: 4_000,
                index_interval_bytes: 500,
                recovery_bytes: 1 << 16,
                ..Settings::default()
            },
        }
    }

    fn try_open(&self) -> Result<Topics, OpenError> {
        let disk: SharedDisk = Arc::new(Watched {
            syncs: Arc::clone(&self.syncs),
            fail_syncs: Arc::clone(&self.fail_syncs),
            fail_only: Arc::clone(&self.fail_only),
            hold_syncs: Arc::clone(&self.hold_syncs),
            free: Arc::clone(&self.free),
            full: Arc::clone(&self.full),
        });
        let directory = DataDirectory::open(Arc::clone(&disk), &self.path).expect("directory");
        let control = Control::open(&disk, &layout::control_file(&self.path)).expect("control");
        let clock: SharedClock = Arc::<ManualClock>::clone(&self.clock);
        let deps = Deps { directory, control, clock };
        Topics::open(self.settings.clone(), deps, &Supervisor::new(self.runtime.handle().clone()))
    }

    fn open(&self) -> Topics {
        self.try_open().expect("open")
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn close(&self, topics: Topics) {
        self.wait(topics.close()).expect("close");
    }

    /// Appends and waits.
    fn append(&self, topics: &Topics, partition: i32, batch: Bytes) -> Result<Appended, AppendError> {
        let pending = topics.append("t", partition, batch)?;
        self.wait(pending)
    }

    fn segment_files(&self, topics: &Topics, extension: &str) -> Vec<PathBuf> {
        let dir = layout::partition_dir(&self.path, topics.topic("t").expect("topic").id, 0);
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .expect("list")
            .map(|e| e.expect("entry").path())
            .filter(|p| p.extension().is_some_and(|e| e == extension))
            .collect();
        files.sort();
        files
    }

    fn wal_files(&self) -> Vec<PathBuf> {
        let dir = layout::wal_dir(&self.path);
        let mut files: Vec<_> =
            std::fs::read_dir(dir).expect("list").map(|e| e.expect("entry").path()).collect();
        files.retain(|f| f.extension().is_some());
        files.sort();
        files
    }
}

fn create(topics: &Topics, partitions: i32) -> Arc<TopicInfo> {
    let new = NewTopic { name: "t".into(), partitions: Some(partitions), config: BTreeMap::new() };
    topics.create(new).expect("create")
}

/// A batch of `count` records of which the first has the value `first`, at `timestamp_ms` and later.
fn batch(first: usize, count: usize, timestamp_ms: i64) -> Bytes {
    sequenced(first, count, timestamp_ms, (-1, -1, -1))
}

fn sequenced(first: usize, count: usize, timestamp_ms: i64, producer: (i64, i16, i32)) -> Bytes {
    let codec = [Compression::None, Compression::Lz4, Compression::Zstd][first % 3];
    let mut builder = BatchBuilder::new().compression(codec).producer(producer.0, producer.1, producer.2);
    for i in 0..count {
        let value = format!("{:06}-{}", first + i, "x".repeat((first * 7 + i) % 90));
        builder.push(timestamp_ms + i as i64, Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("batch")
}

/// All readable records of a partition: (offset, number in the value).
fn records(topics: &Topics, partition: i32) -> Vec<(i64, usize)> {
    records_of(topics, "t", partition)
}

fn records_of(topics: &Topics, topic: &str, partition: i32) -> Vec<(i64, usize)> {
    let partition = topics.partition(topic, partition).expect("partition");
    let marks = partition.marks();
    let (mut from, mut all) = (marks.log_start, Vec::new());
    while from < marks.durable {
        let read = partition.read(from, marks.durable, 700).expect("read");
        for batch in Batches::new(&read.bytes) {
            let records = batch.expect("batch").records(1 << 20).expect("records");
            for record in &records {
                let record = record.expect("record");
                let text = std::str::from_utf8(record.value.expect("value")).expect("text");
                all.push((record.offset, text[..6].parse().expect("number")));
            }
        }
        assert!(read.next > from, "reading goes on");
        from = read.next;
    }
    all
}

fn numbered(range: std::ops::Range<usize>) -> Vec<(i64, usize)> {
    range.map(|i| (i as i64, i)).collect()
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicName::new("t").expect("name"), partition }
}
