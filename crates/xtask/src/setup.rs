//! Set-up of the outside clients that judge us.
//!
//! Owns: the Python environment (pinned, kept beside the build's target directory) and the Debian packages.
//! Does not own: what is done with them.
//! Invariants: everything is there afterwards, or the error is the one line to type.

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
}

/// Finds or installs all of them.
pub(crate) fn outside_clients() -> Result<OutsideClients> {
    let kcat = debian("kcat", "kcat")?;
    let psql = debian("psql", "postgresql-client")?;
    let python = python()?;
    let duckdb_extensions = duckdb_extensions(&python)?;
    Ok(OutsideClients { python, kcat, psql, duckdb_extensions })
}

fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A program from a Debian package: installed when we may, else the line to type.
fn debian(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = which(program) {
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
    which(program).with_context(|| format!("{program} is missing; type: sudo apt-get install -y {package}"))
}

fn quiet(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
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
