//! What the fuzz targets share: seeds, made of real bytes by the code that is fuzzed, and checksums put right, without
//! which no mutation would get far.
//!
//! Owns: nothing of the product. The targets name what they look at.

use std::path::Path;
use std::sync::Arc;

use base::{Supervisor, SystemClock};
use storage::simulated::SimulatedDisk;
use storage::wal::{Wal, WalError, file_name};
use storage::{Control, DataDirectory, Disk, OpenMode, SharedDisk};
use topics::batch::{BatchBuilder, Compression};

const HEADER_BYTES: usize = 61;

/// Writes seeds into the directory that `FRAZIL_SEEDS` names, where the fuzzer reads them next.
pub fn write_seeds(seeds: Vec<Vec<u8>>) {
    let Some(dir) = std::env::var_os("FRAZIL_SEEDS") else { return };
    std::fs::create_dir_all(&dir).expect("a directory for seeds");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(Path::new(&dir).join(format!("seed-{number:04}")), seed).expect("a seed");
    }
}

/// A batch of every codec and kind.
pub fn batches() -> Vec<Vec<u8>> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let mut all = Vec::new();
    for codec in [None, Gzip, Snappy, Lz4, Zstd] {
        for (records, producer) in [(1, (-1, -1, -1)), (3, (7, 1, 40)), (40, (7, 1, i32::MAX - 1))] {
            let mut builder = BatchBuilder::new().compression(codec).producer(producer.0, producer.1, producer.2);
            for n in 0..records {
                let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1")), (b"n", Option::None)];
                let value = format!("value {n} {}", "x".repeat(n * 3));
                let key = (n % 2 == 0).then_some(&b"key"[..]);
                let headers = if n % 3 == 0 { headers } else { &[] };
                builder.push(1_700_000_000_000 + n as i64, key, Some(value.as_bytes()), headers);
            }
            all.push(builder.build().expect("batch").to_vec());
        }
    }
    all
}

/// The files of a log that was written, rolled and closed on a simulated disk: `wal`, `log`, `index`, `timeindex` or
/// `checkpoint`.
pub fn files(kind: &str) -> Vec<Vec<u8>> {
    let disk = SimulatedDisk::new();
    let shared: SharedDisk = Arc::new(disk.clone());
    let directory = DataDirectory::open_simulated(Arc::clone(&shared), Path::new("/data")).expect("directory");
    let control = Control::open(&shared, Path::new("/control.redb")).expect("control");
    let settings = topics::Settings {
        segment_bytes: 3_000,
        index_interval_bytes: 100,
        wal_file_bytes: 4_000,
        recovery_bytes: 0,
        ..topics::Settings::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("runtime");
    let deps = topics::embedded::Deps { directory, control, clock: Arc::new(SystemClock) };
    let log = topics::Topics::open(settings, deps, &Supervisor::new(runtime.handle().clone())).expect("open");
    log.create(topics::NewTopic { name: "t".into(), partitions: Some(1), ..Default::default() }).expect("topic");
    let mut found = Vec::new();
    for batch in batches().iter().cycle().take(40) {
        // Of a producer the sequences would be out of order.
        let mut plain = batch.clone();
        plain[43..57].fill(0xff);
        let pending = log.append("t", 0, with_checksum(plain).into()).expect("append");
        runtime.block_on(pending).expect("durable");
        if kind == "wal" {
            found = collect(&disk, Path::new("/data"), kind);
        }
    }
    if kind != "wal" {
        runtime.block_on(log.close()).expect("close");
        found = collect(&disk, Path::new("/data"), kind);
    }
    found
}

fn collect(disk: &SimulatedDisk, dir: &Path, kind: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in disk.read_dir(dir).expect("list") {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            found.extend(collect(disk, &path, kind));
        } else if entry.name.ends_with(&format!(".{kind}")) || entry.name.starts_with(&format!("{kind}.")) {
            found.push(storage::disk::read_file(disk, &path).expect("read"));
        }
    }
    found
}

/// The records of the write-ahead files of [`files`].
pub fn wal_records() -> Vec<Vec<u8>> {
    files("wal").iter().flat_map(|file| recover_wal(file)).take(40).collect()
}

/// Recovers a write-ahead log of one file, then another one after the first was cut off; gives its records.
pub fn recover_wal(bytes: &[u8]) -> Vec<Vec<u8>> {
    let disk = SimulatedDisk::new();
    let shared: SharedDisk = Arc::new(disk.clone());
    let dir = Path::new("/wal");
    disk.create_dir_all(dir).expect("directory");
    // A frame names its file: take the number that the bytes themselves claim, so that seeds of any file are whole.
    let number = bytes.get(8..16).and_then(|b| b.try_into().ok()).map_or(1, u64::from_le_bytes).clamp(1, 1 << 40);
    let file = disk.open(&dir.join(file_name(number)), OpenMode::Create).expect("file");
    file.write_at(0, bytes).expect("write");
    let records = |first| -> Result<Vec<Vec<u8>>, WalError> {
        let found = Wal::recover(&shared, dir, first)?;
        let mut records = Vec::new();
        found.replay::<WalError>(&mut |record| {
            records.push(record.bytes.to_vec());
            Ok(())
        })?;
        drop(found.start(1 << 20)?);
        Ok(records)
    };
    match records(number) {
        Ok(found) => {
            let again = records(number).expect("what recovered once recovers again");
            assert_eq!(found, again);
            found
        }
        Err(_) => Vec::new(),
    }
}

fn with_checksum(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The bytes with the CRC of every batch that one can see made right, unless the last byte is odd.
pub fn with_right_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if bytes.last().is_some_and(|b| b % 2 == 1) {
        return bytes;
    }
    let mut at = 0;
    while at + HEADER_BYTES <= bytes.len() {
        let length = i32::from_be_bytes([bytes[at + 8], bytes[at + 9], bytes[at + 10], bytes[at + 11]]);
        let Ok(length) = usize::try_from(length) else { break };
        let end = at + 12 + length;
        if length < HEADER_BYTES - 12 || end > bytes.len() {
            break;
        }
        let crc = crc32c::crc32c(&bytes[at + 21..end]);
        bytes[at + 17..at + 21].copy_from_slice(&crc.to_be_bytes());
        at = end;
    }
    bytes
}
