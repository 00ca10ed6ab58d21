use super::*;
use crate::disk::{SharedDisk, read_file, write_file_atomically};

#[test]
fn synced_survives_and_unsynced_may_not() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let disk = SimulatedDisk::new();
        disk.create_dir_all(Path::new("/d")).expect("dir");
        let file = disk.open(Path::new("/d/f"), OpenMode::Create).expect("open");
        file.write_at(0, b"synced").expect("write");
        file.sync_data().expect("sync");
        disk.sync_dir(Path::new("/d")).expect("sync dir");
        file.write_at(6, b" unsynced").expect("write");
        let bytes = read_file(&disk.after_power_cut(seed), Path::new("/d/f")).expect("there");
        assert!(bytes.starts_with(b"synced"), "seed {seed}");
        if bytes == b"synced unsynced" { kept += 1 } else { lost += 1 }
    }
    assert!(lost > 10 && kept > 10, "{lost} lost, {kept} kept");
}

#[test]
fn an_atomic_write_is_old_or_new_at_every_cut() {
    for seed in 0..300 {
        let disk = SimulatedDisk::new();
        let path = Path::new("/f");
        write_file_atomically(&disk, path, b"old").expect("old");
        disk.cut_power_after(seed % 7);
        let done = write_file_atomically(&disk, path, b"newer").is_ok();
        let bytes = read_file(&disk.after_power_cut(seed), path).expect("there");
        assert!(bytes == b"newer" || (!done && bytes == b"old"), "seed {seed}: {bytes:?}");
    }
}

#[test]
fn the_control_store_survives_every_cut() {
    use crate::control::{Control, ControlError};
    use crate::layout::TOPICS;
    for seed in 0..200 {
        let disk = SimulatedDisk::new();
        disk.cut_power_after(seed * 2);
        let shared: SharedDisk = Arc::new(disk.clone());
        let mut acknowledged = 0;
        if let Ok(control) = Control::open(&shared, Path::new("/control.redb")) {
            for n in 0..8_u32 {
                let done = control.transact::<_, ControlError>(|tx| tx.put_json(TOPICS, "n", &n));
                if done.is_err() {
                    break;
                }
                acknowledged = n;
            }
        }
        let after: SharedDisk = Arc::new(disk.after_power_cut(seed));
        let control = Control::open(&after, Path::new("/control.redb")).expect("opens after a cut");
        let found = control.get_json::<u32>(TOPICS, "n").expect("reads").unwrap_or(0);
        assert!(found >= acknowledged, "seed {seed}: {found} < {acknowledged}");
    }
}
