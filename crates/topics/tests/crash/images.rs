//! Power cuts on a real ext4: every block that reaches the device is logged in order, with the flushes between; an image
//! is the file system of one moment less any subset of the writes since the last flush. It is mounted, its journal is
//! replayed by the kernel, and the log must hold what was acknowledged before that moment.
//!
//! Needs root (loop mounts) and qemu-storage-daemon (Debian: qemu-system-common), which writes the block log.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::killed::{Client, Conditions, Life, open_real, runtime};
use crate::model::*;
use crate::{long, seed};

const SEED: u64 = 300;
const IMAGES: u64 = 320;
/// Images within which a planted fault must show.
#[cfg(feature = "sabotage")]
const IMAGES_WITH_FAULT: u64 = 80;
const SECTOR: u64 = 512;
const DISK_BYTES: u64 = 32 << 20;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// Runs a program; its output, or its cure.
fn run(program: &str, args: &[&str]) -> String {
    let cure = "needs root and Debian's qemu-system-common, mount, e2fsprogs";
    let outcome = Command::new(program).args(args).output();
    let output = outcome.map_err(|e| format!("{program}: {e}; {cure}")).expect("a program");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {errors}; {cure}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// A block device that logs its writes, with a file system on it. Taken apart when dropped, whatever happened.
struct Rig {
    dir: PathBuf,
    device: Option<String>,
    mounted: bool,
}

impl Rig {
    fn new() -> Self {
        // In memory where there is some: thousands of images are copied.
        let shared = Path::new("/dev/shm");
        let root = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let dir = root.join(format!("frazil-images-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(dir.join("mount")).expect("directory");
        let mut rig = Self { dir, device: None, mounted: false };
        // The log is as long as what was written to it: its length says where it was at a moment.
        for (name, bytes) in [("base", DISK_BYTES), ("log", 0), ("device", 0)] {
            File::create(rig.path(name)).and_then(|f| f.set_len(bytes)).expect("file");
        }
        let (base, log) = (rig.path("base"), rig.path("log"));
        run(
            "qemu-storage-daemon",
            &[
                "--blockdev",
                &format!("driver=file,node-name=f0,filename={}", text(&base)),
                "--blockdev",
                &format!("driver=file,node-name=l0,filename={}", text(&log)),
                "--blockdev",
                "driver=blklogwrites,node-name=blw,file=f0,log=l0,log-sector-size=512",
                "--export",
                &format!(
                    "type=fuse,id=e0,node-name=blw,mountpoint={},writable=on",
                    text(&rig.path("device"))
                ),
                "--pidfile",
                text(&rig.path("pid")),
                "--daemonize",
            ],
        );
        let device = run("losetup", &["-f", "--show", text(&rig.path("device"))]);
        rig.device = Some(device.clone());
        run("mkfs.ext4", &["-q", "-E", "nodiscard", &device]);
        run("mount", &[&device, text(&rig.path("mount"))]);
        rig.mounted = true;
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Unmounts and ends the daemon: the log is complete.
    fn stop(&mut self) {
        if std::mem::take(&mut self.mounted) {
            let _ = Command::new("umount").arg(self.path("mount")).status();
        }
        if let Some(device) = self.device.take() {
            let _ = Command::new("losetup").args(["-d", &device]).status();
        }
        if let Ok(pid) = fs::read_to_string(self.path("pid")) {
            let _ = Command::new("kill").arg(pid.trim()).status();
            let begun = Instant::now();
            while self.path("pid").exists() && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// One logged write, and where its bytes lie in the log.
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    data: u64,
    /// Where the next entry begins.
    end: u64,
}

/// After a header sector the entries, each a header sector and its data.
struct BlockLog {
    file: File,
    at: u64,
    entries: Vec<Entry>,
}

impl BlockLog {
    fn open(path: &Path) -> Self {
        Self { file: File::open(path).expect("log"), at: SECTOR, entries: Vec::new() }
    }

    /// Its length now, bytes. Every write that the device has acknowledged lies before that, because the daemon
    /// acknowledges a write once its entry is written.
    fn length(&self) -> u64 {
        self.file.metadata().expect("log").len()
    }

    /// Entries that end at or before `length`.
    fn entries_within(&self, length: u64) -> usize {
        self.entries.partition_point(|entry| entry.end <= length)
    }

    /// Reads all entries; the daemon has ended.
    fn read(&mut self) {
        let mut head = [0; 32];
        while self.file.read_exact_at(&mut head, self.at).is_ok() {
            let number = |at: usize| head[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
            let (sector, sectors, flags) = (number(0), number(8), number(16));
            if sectors == 0 && flags == 0 {
                break;
            }
            let data = self.at + SECTOR;
            self.at = data + if flags & DISCARD == 0 { sectors * SECTOR } else { 0 };
            self.entries.push(Entry { sector, sectors, flags, data, end: self.at });
        }
    }

    /// Carries out a part of an entry: `sectors` of it from sector number `from` on.
    fn apply(&self, entry: &Entry, from: u64, sectors: u64, image: &File) {
        if entry.flags & DISCARD != 0 || sectors == 0 {
            return;
        }
        let mut bytes = vec![0; (sectors * SECTOR) as usize];
        self.file.read_exact_at(&mut bytes, entry.data + from * SECTOR).expect("the log's data");
        image.write_all_at(&bytes, (entry.sector + from) * SECTOR).expect("image");
    }
}

/// What was acknowledged when the log had so many bytes.
struct Mark {
    length: u64,
    known: Known,
}

/// Lives of the server on the device. Small files are rolled all the time, and a roll syncs what an append did not: only
/// with large ones would a missing sync of an append be missed.
fn live(rig: &Rig, log: &BlockLog, seed: u64, fault: Option<&str>) -> Vec<Mark> {
    let mut random = Random(seed);
    let (mut client, mut marks) = (Client::default(), Vec::new());
    for files in [Files::Small, Files::Large, Files::Small, Files::Large] {
        let conditions = Conditions { fault, all_durable: true, files };
        let mut server = Life::begin(&rig.path("mount").join("data"), conditions);
        client.begin_life(server.until_ready().expect("the log opens"));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(600 + random.below(400)) {
            client.work(&mut server, Duration::from_millis(10)).expect("appends");
            // Nothing is in flight then that could sync what was acknowledged after all.
            client.settle(&mut server).expect("acknowledgements");
            marks.push(Mark { known: client.known, length: log.length() });
        }
        for line in server.kill() {
            client.hear(&line).expect("acknowledgements");
        }
    }
    marks
}

/// Makes images of moments of the run and checks each; the first finding.
fn campaign(seed: u64, images: u64, fault: Option<&str>) -> Result<(), String> {
    let mut rig = Rig::new();
    let mut log = BlockLog::open(&rig.path("log"));
    let marks = live(&rig, &log, seed, fault);
    rig.stop();
    log.read();
    let marks: Vec<(usize, Known)> = marks.iter().map(|m| (log.entries_within(m.length), m.known)).collect();
    let (first, last) = (marks[0].0, marks[marks.len() - 1].0);
    println!(
        "{} writes were logged, {} marks, images from {first} to {last}",
        log.entries.len(),
        marks.len()
    );
    let runtime = runtime();
    let mut random = Random(seed);
    // Half of them just after an acknowledgement: what is missing then was acknowledged too early.
    let mut moments: Vec<usize> = (0..images)
        .map(|n| match n % 2 {
            0 => first + random.below((last - first) as u64 + 1) as usize,
            _ => marks[random.below(marks.len() as u64) as usize].0,
        })
        .collect();
    moments.sort_unstable();
    let durable = rig.path("durable");
    File::create(&durable).and_then(|f| f.set_len(DISK_BYTES)).expect("file");
    let base = File::options().write(true).open(&durable).expect("file");
    let mut applied = 0;
    for (number, at) in moments.into_iter().enumerate() {
        // A flush makes everything before it durable.
        let flushed = (0..at).rev().find(|i| log.entries[*i].flags & FLUSH != 0).unwrap_or(0);
        for entry in &log.entries[applied..flushed.max(applied)] {
            log.apply(entry, 0, entry.sectors, &base);
        }
        applied = applied.max(flushed);
        let image = rig.path("image");
        fs::copy(&durable, &image).expect("copy");
        let file = File::options().write(true).open(&image).expect("image");
        for entry in &log.entries[applied..at] {
            match random.below(4) {
                _ if entry.flags & FUA != 0 => log.apply(entry, 0, entry.sectors, &file),
                0 | 1 => {}
                2 => log.apply(entry, 0, entry.sectors, &file),
                _ => {
                    let from = random.below(entry.sectors + 1);
                    log.apply(entry, from, random.below(entry.sectors - from + 1), &file);
                }
            }
        }
        drop(file);
        let known = marks.iter().rev().find(|(from, _)| *from <= at).map_or_else(Known::default, |m| m.1);
        let mount = rig.path("mount");
        run("mount", &["-o", "loop", text(&image), text(&mount)]);
        rig.mounted = true;
        let outcome =
            open_real(&mount.join("data"), &runtime, Files::Small).and_then(|topics| check(&topics, &known));
        run("umount", &[text(&mount)]);
        rig.mounted = false;
        outcome.map_err(|finding| format!("image {number}, after write {at}: {finding}"))?;
    }
    Ok(())
}

#[test]
fn no_power_cut_on_ext4_takes_back_what_was_acknowledged() {
    if !long() {
        println!("only with `cargo xtask test --long`");
        return;
    }
    let seed = seed(SEED);
    println!("power cuts on ext4: seed {seed}, {IMAGES} images");
    if let Err(finding) = campaign(seed, IMAGES, None) {
        panic!("FRAZIL_SEED={seed}: {finding}");
    }
    #[cfg(feature = "sabotage")]
    for fault in ["no-fsync", "ack-before-durable"] {
        let finding = campaign(seed, IMAGES_WITH_FAULT, Some(fault));
        println!("{fault}: {finding:?}");
        assert!(finding.is_err(), "{fault} was not seen");
    }
}
