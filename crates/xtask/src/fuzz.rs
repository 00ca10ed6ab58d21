//! The fuzz command.
//!
//! Owns: building the targets in /fuzz with coverage (a stable compiler is enough without sanitizers), running them
//! under their limits, the table of what came out.
//! Does not own: the targets.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup;

/// What cargo-fuzz passes for `--sanitizer none`.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// Memory of a target, MiB: beyond it is a finding.
const RSS_MIB: u32 = 256;
/// Address space of a target, MiB: what is asked for and never touched grows this alone, and fails beyond it.
const ADDRESS_SPACE_MIB: u32 = 768;
/// Seconds that one input may take.
const INPUT_SECONDS: u32 = 10;
const INPUT_BYTES_MAX: u32 = 16_384;
/// How often the address space of a running target is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs `targets`, or all, for `minutes` each.
pub(crate) fn run(minutes: &str, targets: &[&str]) -> Result<()> {
    let minutes: f64 = minutes.parse().context("--minutes wants a number")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let all = names(&root)?;
    let chosen: Vec<String> = match targets {
        [] => all.clone(),
        some => some.iter().map(|target| (*target).to_owned()).collect(),
    };
    if let Some(unknown) = chosen.iter().find(|name| !all.contains(name)) {
        bail!("no target `{unknown}`: there are {}", all.join(", "));
    }
    let programs = build(&root)?;
    let work = setup::target_dir().join("fuzz-runs");
    let (mut findings, mut lines) = (0, Vec::new());
    for name in chosen {
        let (line, clean) = Target::start(&name, &programs, &work, minutes)?.finish()?;
        eprintln!("{line}");
        findings += usize::from(!clean);
        lines.push(line);
    }
    println!("\n{}", lines.join("\n"));
    if findings > 0 {
        bail!("{findings} targets found something; their inputs are in {}", work.display());
    }
    Ok(())
}

/// The targets, from the names of their files.
fn names(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; gives the directory of their programs.
fn build(root: &Path) -> Result<PathBuf> {
    // The same versions as the product has.
    std::fs::copy(root.join("../Cargo.lock"), root.join("Cargo.lock"))?;
    let rustc = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let text = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let target_dir = std::path::absolute(setup::target_dir())?.join("fuzz");
    let mut cargo = crate::tests::cargo_command();
    cargo
        .args(["build", "--bins", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        // Build scripts and macros are for the host: with a target of its own they get no coverage.
        .args(["--target", host, "--target-dir"])
        .arg(&target_dir)
        .env("RUSTFLAGS", FLAGS);
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("the fuzz targets do not build");
    }
    Ok(target_dir.join(host).join("debug"))
}

struct Target {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Target {
    fn start(name: &str, programs: &Path, work: &Path, minutes: f64) -> Result<Self> {
        let (corpus, seeds) = (work.join(name).join("corpus"), work.join(name).join("seeds"));
        for dir in [&corpus, &seeds] {
            std::fs::create_dir_all(dir)?;
        }
        let log = work.join(name).join("log");
        let output = std::fs::File::create(&log)?;
        let artifacts = format!("-artifact_prefix={}/", work.join(name).display());
        let limited = format!("ulimit -v {}; exec nice -n 19 \"$@\"", u64::from(ADDRESS_SPACE_MIB) << 10);
        let child = Command::new("sh")
            .args(["-c", &limited, "sh"])
            .arg(programs.join(name))
            .arg(format!("-max_total_time={}", (minutes * 60.0) as u64))
            .arg(format!("-rss_limit_mb={RSS_MIB}"))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .args(["-print_final_stats=1", &artifacts])
            .args([&corpus, &seeds])
            .env("FRAZIL_SEEDS", &seeds)
            // An arena for each thread would reserve address space that nobody asked for.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{name}: cannot start sh"))?;
        eprintln!("== {name}: {}", log.display());
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits for its end; its line in the table, and whether it found nothing.
    fn finish(mut self) -> Result<(String, bool)> {
        let mut peak_kib = 0;
        let clean = loop {
            if let Some(status) = self.child.try_wait()? {
                break status.success();
            }
            std::thread::sleep(LOOK_EVERY);
            peak_kib = address_space_kib(self.child.id()).unwrap_or(peak_kib);
        };
        let text = String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned();
        let stat = |name: &str| {
            let found = text.lines().rev().find_map(|line| line.split_once(&format!("stat::{name}:")));
            found.map_or("?", |(_, value)| value.trim()).to_owned()
        };
        let covered = |mut lines: Box<dyn Iterator<Item = &str> + '_>| {
            let found = lines.find_map(|line| line.split_once(" cov: ")?.1.split(' ').next());
            found.unwrap_or("?").to_owned()
        };
        let outcome = if clean { "no finding" } else { "FINDING" };
        let line = format!(
            "{:<14} {:>10} runs, {:>6}/s, coverage {} -> {}, {} MiB of {} MiB address space, {outcome}",
            self.name,
            stat("number_of_executed_units"),
            stat("average_exec_per_sec"),
            covered(Box::new(text.lines())),
            covered(Box::new(text.lines().rev())),
            stat("peak_rss_mb"),
            peak_kib >> 10,
        );
        Ok((line, clean))
    }
}

/// The largest address space that a process has had, where the system tells.
fn address_space_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
