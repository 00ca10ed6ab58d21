//! Set-up of the outside clients that judge us.
//!
//! Owns: the Python environment (pinned, kept beside the build's target directory) and the Debian packages; the suites
//! of the conformance command in the modules below.
//! Does not own: what is done with them.
//! Invariants: everything is there afterwards, or the error is the one line to type.

pub(crate) mod iceberg_kit;
pub(crate) mod kafka_tools;
pub(crate) mod librdkafka;
pub(crate) mod python_suite;
pub(crate) mod rdkafka_crate;
pub(crate) mod schemathesis;
pub(crate) mod spark;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const REQUIREMENTS: &str = include_str!("../../testkit/python/requirements.txt");

/// Where the outside clients are.
pub(crate) struct OutsideClients {
    pub(crate) python: PathBuf,
    pub(crate) kcat: PathBuf,
    pub(crate) psql: PathBuf,
    /// DuckDB's extensions as it wants them laid out: `<dir>/v<version>/<platform>/*.duckdb_extension`.
    pub(crate) duckdb_extensions: PathBuf,
    /// The sources of librdkafka with its test-runner built.
    pub(crate) librdkafka: PathBuf,
}

/// Finds or installs all of them.
pub(crate) fn outside_clients() -> Result<OutsideClients> {
    let kcat = debian("kcat", "kcat")?;
    let psql = debian("psql", "postgresql-client")?;
    // The guide's examples call it.
    debian("curl", "curl")?;
    let python = python()?;
    let duckdb_extensions = duckdb_extensions(&python)?;
    let librdkafka = librdkafka::test_runner()?;
    Ok(OutsideClients { python, kcat, psql, duckdb_extensions, librdkafka })
}

/// What the power cuts on ext4 need, which only the long run carries out.
pub(crate) fn power_cut_tools() -> Result<()> {
    for (program, package) in
        [("qemu-storage-daemon", "qemu-system-common"), ("losetup", "mount"), ("mkfs.ext4", "e2fsprogs")]
    {
        debian(program, package)?;
    }
    Ok(())
}

fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A program from a Debian package: installed when we may, else the line to type.
fn debian(program: &str, package: &str) -> Result<PathBuf> {
    debian_package(package, || which(program)).with_context(|| format!("{program} is missing"))
}

/// A C header from a Debian package.
fn debian_header(header: &str, package: &str) -> Result<()> {
    let find = || Some(Path::new("/usr/include").join(header)).filter(|path| path.is_file());
    debian_package(package, find).map(drop).with_context(|| format!("{header} is missing"))
}

/// What `find` looks for, after installing the package that brings it.
fn debian_package(package: &str, find: impl Fn() -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = find() {
        return Ok(path);
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    if root && which("apt-get").is_some() {
        eprintln!("installing {package}");
        let _ = quiet(Command::new("apt-get").args(["update", "-qq"]));
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "-qq", "--no-install-recommends", package]);
        install.env("DEBIAN_FRONTEND", "noninteractive");
        quiet(&mut install).with_context(|| format!("apt-get install {package}"))?;
    }
    find().with_context(|| format!("type: sudo apt-get install -y {package}"))
}

fn quiet(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Runs a command and fails with the end of what it printed; for builds, which print a lot.
fn build_step(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| shown.clone())?;
    if !output.status.success() {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        bail!("{shown} ended with {}:\n{tail}", output.status);
    }
    Ok(())
}

/// What a directory was made from: it is made again when that changes, or when making it broke off.
struct Stamp {
    file: PathBuf,
    recipe: String,
}

impl Stamp {
    fn of(dir: &Path, recipe: String) -> Self {
        Self { file: dir.join("made-from"), recipe }
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|made| made == self.recipe)
    }

    fn set(&self) -> Result<()> {
        Ok(fs::write(&self.file, &self.recipe)?)
    }
}

/// An empty directory below the target directory.
fn fresh(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())
}

/// Where the suites of the conformance command live.
fn suites_dir() -> Result<PathBuf> {
    let dir = target_dir().join("conformance");
    fs::create_dir_all(&dir)?;
    Ok(dir.canonicalize()?)
}

/// Compares a downloaded file with the checksum that we looked at.
fn verify_sha256(file: &Path, expected: &str) -> Result<()> {
    let output = Command::new("sha256sum").arg(file).output().context("sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.split_whitespace().next().unwrap_or_default();
    if found != expected {
        bail!(
            "{} has the SHA-256 {found}, expected is {expected}: it is not what was reviewed",
            file.display()
        );
    }
    Ok(())
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// A Python with exactly the pinned clients; made again when the pins change.
fn python() -> Result<PathBuf> {
    let venv = target_dir().join("outside-clients");
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements.installed");
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(python);
    }
    let system =
        which("python3").context("python3 is missing; type: sudo apt-get install -y python3 python3-venv")?;
    let _ = fs::remove_dir_all(&venv);
    fs::create_dir_all(&venv)?;
    eprintln!("making {} with the pinned Python clients", venv.display());
    quiet(Command::new(system).args(["-m", "venv"]).arg(&venv))
        .context("python3 -m venv failed; type: sudo apt-get install -y python3-venv")?;
    let requirements = venv.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    quiet(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )
    .with_context(|| format!("type: {} -m pip install -r {}", python.display(), requirements.display()))?;
    fs::write(stamp, REQUIREMENTS)?;
    Ok(python)
}

/// The extensions come as wheels; DuckDB looks for them under its version and platform.
fn duckdb_extensions(python: &Path) -> Result<PathBuf> {
    let script = "import duckdb, glob, os, site, sys; \
        p = duckdb.sql('PRAGMA platform').fetchone()[0]; v = duckdb.__version__; \
        print(v); print(p); \
        print('\\n'.join(f for d in site.getsitepackages() for f in glob.glob(d + '/**/*.duckdb_extension', recursive=True)))";
    let output = Command::new(python).args(["-c", script]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let (Some(version), Some(platform)) = (lines.next(), lines.next()) else {
        bail!("DuckDB does not start: {}", String::from_utf8_lossy(&output.stderr).trim());
    };
    let root = target_dir().join("outside-clients/duckdb-extensions");
    let dir = root.join(format!("v{version}")).join(platform);
    fs::create_dir_all(&dir)?;
    for file in lines.map(Path::new) {
        let target = dir.join(file.file_name().context("an extension has a file name")?);
        if !target.exists() {
            fs::copy(file, &target)?;
        }
    }
    Ok(root)
}
