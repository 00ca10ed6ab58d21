use super::*;
use crate::directory::tests::{Temporary, temporary};
use crate::disk::RealDisk;

fn open(dir: &Temporary, first: u64) -> Result<(Vec<Vec<u8>>, Wal), WalError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    let found = Wal::recover(&disk, &dir.path().join("wal"), first)?;
    let mut records = Vec::new();
    found.replay::<WalError>(&mut |record| {
        records.push(record.bytes.to_vec());
        Ok(())
    })?;
    Ok((records, found.start(1_000)?))
}

fn write(wal: &mut Wal, records: &[&'static [u8]]) {
    for record in records {
        let (a, b) = record.split_at(record.len() / 2);
        wal.queue(vec![Bytes::from_static(a), Bytes::from_static(b)]).expect("queue");
    }
    wal.sync().expect("sync");
}

fn path(dir: &Temporary, number: u64) -> PathBuf {
    dir.path().join("wal").join(file_name(number))
}

#[test]
fn records_come_back_in_order_over_files() {
    let dir = temporary();
    let (none, mut wal) = open(&dir, 0).expect("new");
    assert!(none.is_empty());
    write(&mut wal, &[b"one", b"two"]);
    wal.roll().expect("roll");
    write(&mut wal, &[b"three"]);
    assert_eq!(wal.current_file(), 2);
    drop(wal);
    let (records, mut wal) = open(&dir, 0).expect("open");
    assert_eq!(records, [&b"one"[..], b"two", b"three"]);
    assert_eq!(wal.current_file(), 3);
    write(&mut wal, &[b"four"]);
    drop(wal);
    assert_eq!(open(&dir, 2).expect("from 2").0, [&b"three"[..], b"four"]);
    assert!(!path(&dir, 1).exists(), "a file below the first needed one goes");
    assert!(matches!(open(&dir, 9), Err(WalError::Damaged { reason, .. }) if reason.contains("missing")));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off() {
    let dir = temporary();
    let (_, mut wal) = open(&dir, 0).expect("new");
    write(&mut wal, &[b"kept"]);
    write(&mut wal, &[b"torn"]);
    let end = wal.position as usize;
    drop(wal);
    let mut whole = std::fs::read(path(&dir, 1)).expect("read");
    assert!(whole.len() > end && whole[end..].iter().all(|byte| *byte == 0), "it grew by a step of zeros");
    whole.truncate(end);
    for end in FRAME_BYTES + 4..whole.len() {
        let torn = temporary();
        std::fs::create_dir_all(torn.path().join("wal")).expect("dir");
        for filler in [&[][..], &[0; 100], &[0xff; 100]] {
            let _ = std::fs::remove_file(path(&torn, 2));
            std::fs::write(path(&torn, 1), [&whole[..end], filler].concat()).expect("write");
            let (records, _) = open(&torn, 0).expect("open");
            assert_eq!(records, [b"kept"], "cut at {end}");
        }
        assert_eq!(open(&torn, 0).expect("again").0, [b"kept"]);
    }
}

#[test]
fn damage_before_synced_frames_is_refused_with_its_place() {
    let dir = temporary();
    let (_, mut wal) = open(&dir, 0).expect("new");
    write(&mut wal, &[b"one"]);
    write(&mut wal, &[b"two"]);
    write(&mut wal, &[b"three"]);
    drop(wal);
    let whole = std::fs::read(path(&dir, 1)).expect("read");
    for at in 0..2 * (FRAME_BYTES + 3) {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        std::fs::write(path(&dir, 1), bad).expect("write");
        let start = if at < FRAME_BYTES + 3 { 0 } else { (FRAME_BYTES + 3) as u64 };
        match open(&dir, 0) {
            Err(WalError::Damaged { position, file, .. }) => {
                assert_eq!(position, start);
                assert!(file.ends_with("00000000000000000001.wal"));
            }
            other => panic!("damage at {at} was not seen: {other:?}"),
        }
    }
}

#[test]
fn a_hole_in_an_unsynced_group_is_a_torn_tail() {
    let dir = temporary();
    let (_, mut wal) = open(&dir, 0).expect("new");
    write(&mut wal, &[b"kept"]);
    write(&mut wal, &[b"lost", b"left over"]);
    drop(wal);
    let mut bytes = std::fs::read(path(&dir, 1)).expect("read");
    let hole = FRAME_BYTES + 4;
    bytes[hole..hole + FRAME_BYTES].fill(0);
    std::fs::write(path(&dir, 1), bytes).expect("write");
    assert_eq!(open(&dir, 0).expect("open").0, [b"kept"]);
}

#[test]
fn a_closed_file_must_be_whole_and_files_must_not_vanish() {
    let dir = temporary();
    let (_, mut wal) = open(&dir, 0).expect("new");
    write(&mut wal, &[b"one"]);
    wal.roll().expect("roll");
    write(&mut wal, &[b"two"]);
    wal.roll().expect("roll");
    drop(wal);
    let whole = std::fs::read(path(&dir, 1)).expect("read");
    let seal = FRAME_BYTES + b"one".len();
    std::fs::write(path(&dir, 1), &whole[..seal]).expect("unseal");
    assert!(matches!(open(&dir, 0), Err(WalError::Damaged { .. })));
    std::fs::write(path(&dir, 1), &whole).expect("restore");
    std::fs::remove_file(path(&dir, 2)).expect("remove");
    assert!(matches!(open(&dir, 0), Err(WalError::Damaged { file, .. }) if file.ends_with("2.wal")));
}

#[test]
fn a_spare_file_brings_nothing_back() {
    let dir = temporary();
    let (_, mut wal) = open(&dir, 0).expect("new");
    write(&mut wal, &[b"old one", b"old two", b"old three"]);
    wal.roll().expect("roll");
    release(&RealDisk, &dir.path().join("wal"), 1).expect("release");
    assert!(dir.path().join("wal").join(SPARE).exists());
    write(&mut wal, &[b"new"]);
    wal.roll().expect("roll over the spare");
    assert!(!dir.path().join("wal").join(SPARE).exists());
    write(&mut wal, &[b"new one"]);
    drop(wal);
    let len = std::fs::metadata(path(&dir, 3)).expect("file").len();
    assert!(len > 4 * FRAME_BYTES as u64, "the file keeps its length");
    assert_eq!(open(&dir, 2).expect("open").0, [&b"new"[..], b"new one"]);
}
