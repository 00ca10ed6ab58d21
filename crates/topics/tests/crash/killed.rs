//! kill -9 of a real process with a real disk, in short lives: the log alone, so that a life costs milliseconds.
//!
//! The killed process is this test program again, told to be the server. It reads what to append from its input and
//! writes acknowledgements to its output: what it wrote there before it died counts.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use storage::{Control, DataDirectory, RealDisk, layout};
use topics::{Terms, Topics, Until};

use crate::model::*;
use crate::{long, seed};

const SEED: u64 = 3_041;
/// Lives of the default campaign.
const LIVES: u32 = 170;
/// Lives within which a planted fault must show.
#[cfg(feature = "sabotage")]
const LIVES_WITH_FAULT: u32 = 60;
/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Its producer asks for acks=1: that survives a kill, too.
const WRITTEN_ONLY: usize = PRODUCERS - 1;

pub(crate) fn open_real(
    dir: &Path,
    runtime: &tokio::runtime::Runtime,
    files: Files,
) -> Result<Topics, String> {
    let directory = DataDirectory::open(Arc::new(RealDisk), dir).map_err(|e| base::fault::chain(&e))?;
    let control = Control::open(directory.disk(), &layout::control_file(directory.path()))
        .map_err(|e| base::fault::chain(&e))?;
    open(directory, control, runtime, files).map_err(|e| base::fault::chain(&e))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("runtime")
}

/// The server: lines `PARTITION FIRST` append a batch, `atomic N` appends atomically.
#[test]
#[ignore = "is killed: started by the campaign"]
fn server() {
    #[cfg(feature = "sabotage")]
    for name in std::env::var("FRAZIL_SABOTAGE").iter() {
        let switch = topics::sabotage::switch(name).expect("a fault");
        switch.store(true, std::sync::atomic::Ordering::SeqCst);
    }
    let dir = PathBuf::from(std::env::var_os("FRAZIL_LOG_DIR").expect("a directory"));
    let all_durable = std::env::var_os("FRAZIL_ALL_DURABLE").is_some();
    let files = if std::env::var_os("FRAZIL_LARGE_FILES").is_some() { Files::Large } else { Files::Small };
    let runtime = runtime();
    let topics = open_real(&dir, &runtime, files).unwrap_or_else(|e| panic!("cannot open: {e}"));
    create(&topics);
    let epoch = runtime.block_on(topics.claim_writer(&writer())).expect("claim").epoch;
    let progress = topics.progress(&writer()).and_then(|p| p.value);
    let next = progress.map_or(0, |v| 1 + String::from_utf8_lossy(&v).parse::<i64>().expect("number"));
    println!("ready {next}");
    for line in std::io::stdin().lines() {
        let line = line.expect("input");
        let (what, number) = line.split_once(' ').expect("two words");
        let number: i64 = number.parse().expect("number");
        let topics = topics.clone();
        if what == "atomic" {
            runtime.spawn(async move {
                match topics.append_atomically(atomic(epoch, number)).await {
                    Ok(_) => println!("acknowledged atomic {number} {number}"),
                    Err(error) => println!("refused {error}"),
                }
            });
            continue;
        }
        let partition: usize = what.parse().expect("partition");
        let until = if partition == WRITTEN_ONLY && !all_durable { Until::Written } else { Until::Durable };
        let terms = Terms { until, ..Terms::default() };
        match topics.append_on(terms, TOPIC, partition as i32, batch(partition, number)) {
            Ok(pending) => {
                runtime.spawn(async move {
                    match pending.await {
                        Ok(a) => println!("acknowledged {partition} {number} {}", a.base_offset),
                        Err(error) => println!("refused {error}"),
                    }
                });
            }
            Err(error) => println!("refused {error}"),
        }
    }
}

/// What a life of the server is like.
#[derive(Clone, Copy)]
pub(crate) struct Conditions<'a> {
    pub(crate) fault: Option<&'a str>,
    /// Every batch is answered once it is durable.
    pub(crate) all_durable: bool,
    pub(crate) files: Files,
}

/// One life of the server.
pub(crate) struct Life {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Life {
    pub(crate) fn begin(dir: &Path, conditions: Conditions<'_>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["killed::server", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("FRAZIL_LOG_DIR", dir)
            .env_remove("FRAZIL_SABOTAGE")
            .env_remove("FRAZIL_LARGE_FILES")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if conditions.all_durable {
            command.env("FRAZIL_ALL_DURABLE", "1");
        }
        if conditions.files == Files::Large {
            command.env("FRAZIL_LARGE_FILES", "1");
        }
        if let Some(fault) = conditions.fault {
            command.env("FRAZIL_SABOTAGE", fault);
        }
        let mut child = command.spawn().expect("spawn");
        let (input, output) = (child.stdin.take().expect("input"), child.stdout.take().expect("output"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // A last line without its end was cut by the kill: it was not told.
            let mut output = BufReader::new(output);
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
                if sender.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, input, lines }
    }

    /// Waits until the log is open; gives how many atomic appends it has.
    pub(crate) fn until_ready(&self) -> Result<i64, String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                // The test harness began the line.
                Ok(line) => match line.split_once("ready ") {
                    Some((_, count)) => return count.parse().map_err(|_| line.clone()),
                    None => continue,
                },
                Err(error) => return Err(format!("the log does not open: {error}")),
            }
        }
    }

    /// Whether the server still takes lines.
    fn ask(&mut self, line: &str) -> bool {
        writeln!(self.input, "{line}").is_ok()
    }

    /// kill -9; gives every line that was told before.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        self.lines.iter().collect()
    }
}

/// What the client knows and waits for.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) known: Known,
    /// Per producer, where the next new batch begins in this life.
    next: [i64; PRODUCERS],
    atomic_asked: bool,
}

impl Client {
    /// A server is ready that has so many atomic appends: one of unknown outcome is looked up, as pipelines do.
    pub(crate) fn begin_life(&mut self, atomic: i64) {
        self.known.atomic = atomic;
        self.next = self.known.acknowledged;
        self.atomic_asked = false;
    }

    pub(crate) fn hear(&mut self, line: &str) -> Result<(), String> {
        if line.starts_with("refused") {
            return Err(line.to_owned());
        }
        let Some(rest) = line.strip_prefix("acknowledged ") else { return Ok(()) };
        let words: Vec<&str> = rest.split(' ').collect();
        let [what, first, offset] = words[..] else { return Err(format!("{line}?")) };
        if first != offset {
            return Err(format!("batch {first} of {what} was put at {offset}: doubled or lost"));
        }
        let first: i64 = first.parse().map_err(|_| line.to_owned())?;
        match what.parse::<usize>() {
            Ok(partition) => {
                let end = &mut self.known.acknowledged[partition];
                *end = (*end).max(first + count(first));
            }
            Err(_) => {
                self.known.atomic = first + 1;
                self.atomic_asked = false;
            }
        }
        Ok(())
    }

    /// Waits until everything asked for is acknowledged.
    pub(crate) fn settle(&mut self, life: &mut Life) -> Result<(), String> {
        while self.atomic_asked
            || self.next.iter().zip(&self.known.acknowledged).any(|(next, end)| next > end)
        {
            let line = life.lines.recv_timeout(PATIENCE).map_err(|e| e.to_string())?;
            self.hear(&line)?;
        }
        Ok(())
    }

    /// Keeps the server busy: what was not acknowledged before comes first.
    pub(crate) fn work(&mut self, life: &mut Life, limit: Duration) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            for partition in 0..PRODUCERS {
                self.next[partition] = self.next[partition].max(self.known.acknowledged[partition]);
                let mut in_flight = 0;
                let mut at = self.known.acknowledged[partition];
                while at < self.next[partition] {
                    at += count(at);
                    in_flight += 1;
                }
                while in_flight < WINDOW {
                    let first = self.next[partition];
                    if !life.ask(&format!("{partition} {first}")) {
                        return Ok(());
                    }
                    self.next[partition] += count(first);
                    in_flight += 1;
                }
            }
            if !self.atomic_asked {
                self.atomic_asked = true;
                life.ask(&format!("atomic {}", self.known.atomic));
            }
            match life.lines.recv_timeout(Duration::from_millis(1)) {
                Ok(line) => self.hear(&line)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        Ok(())
    }
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Kills the server so often; what is found when something is lost, doubled or reordered.
fn campaign(seed: u64, lives: u32, fault: Option<&str>) -> Result<Known, String> {
    let dir = Directory(std::env::temp_dir().join(format!("frazil-killed-{}", uuid::Uuid::new_v4())));
    let mut random = Random(seed);
    let runtime = runtime();
    let mut client = Client::default();
    for life in 0..lives {
        let told = |finding| format!("life {life}: {finding}");
        let mut server = Life::begin(&dir.0, Conditions { fault, all_durable: false, files: Files::Small });
        if life > 0 && random.below(6) == 0 {
            // Recovery is killed, too.
            std::thread::sleep(Duration::from_millis(random.below(25)));
            server.kill();
            continue;
        }
        let atomic = server.until_ready().map_err(told)?;
        if atomic < client.known.atomic {
            let known = client.known.atomic;
            return Err(told(format!("{known} atomic appends were acknowledged, {atomic} are there: lost")));
        }
        client.begin_life(atomic);
        client.work(&mut server, Duration::from_millis(5 + random.below(60))).map_err(told)?;
        for line in server.kill() {
            client.hear(&line).map_err(told)?;
        }
        if life % 20 == 19 || life + 1 == lives {
            let topics = open_real(&dir.0, &runtime, Files::Small).map_err(told)?;
            check(&topics, &client.known).map_err(told)?;
        }
    }
    Ok(client.known)
}

#[test]
fn no_kill_loses_doubles_or_reorders_anything() {
    let seed = seed(SEED);
    let lives = if long() { 10 * LIVES } else { LIVES };
    println!("kill -9 of the log: seed {seed}, {lives} lives");
    match campaign(seed, lives, None) {
        Ok(known) => println!("{known:?}"),
        Err(finding) => panic!("FRAZIL_SEED={seed}: {finding}"),
    }
}

#[cfg(feature = "sabotage")]
#[test]
fn each_planted_fault_is_found() {
    for fault in ["ack-before-write", "truncate-too-much", "forget-producers"] {
        let finding = campaign(SEED, LIVES_WITH_FAULT, Some(fault));
        println!("{fault}: {finding:?}");
        assert!(finding.is_err(), "{fault} was not seen");
    }
}
