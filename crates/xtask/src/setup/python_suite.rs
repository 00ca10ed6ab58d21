//! kafka-python's integration tests, from its source distribution.
//!
//! Owns: which version, the Python environment that runs them. Does not own: what is expected of them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, debian, fresh, quiet, suites_dir, verify_sha256};

const PACKAGE: &str = "kafka-python==3.0.12";
const FILE: &str = "kafka_python-3.0.12.tar.gz";
const SHA256: &str = "4ccda3616b9aa5c353d74a97f2770d6cd1b950890d77ab0e8890e09a48eeed65";
/// What the tests import beside the package itself.
const REQUIREMENTS: &[&str] = &[
    "pytest==9.2.0",
    "pytest-mock==3.17.0",
    "pytest-timeout==2.4.0",
    "py==1.11.0",
    "lz4==4.4.5",
    "python-snappy==0.7.3",
    "zstandard==0.25.0",
];

/// What the fixtures import and the source distribution leaves out: a broker that runs already.
const SERVICE: &str = "\
class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass


class SpawnedService:
    pass
";

/// The Python to run the tests with, and the directory of the unpacked sources.
#[derive(Debug)]
pub(crate) struct PythonSuite {
    pub(crate) python: PathBuf,
    pub(crate) sources: PathBuf,
}

/// Fetches and unpacks them.
pub(crate) fn kafka_python() -> Result<PythonSuite> {
    let dir = suites_dir()?.join("kafka-python");
    let suite = PythonSuite {
        python: dir.join("environment/bin/python"),
        sources: dir.join(FILE.trim_end_matches(".tar.gz")),
    };
    let stamp = Stamp::of(&dir, format!("{PACKAGE} {SHA256} {REQUIREMENTS:?} {SERVICE}"));
    if stamp.is_current() {
        return Ok(suite);
    }
    let system = debian("python3", "python3")?;
    eprintln!("fetching kafka-python's integration tests into {}", dir.display());
    fresh(&dir)?;
    quiet(Command::new(system).args(["-m", "venv", "environment"]).current_dir(&dir))
        .context("python3 -m venv failed; type: sudo apt-get install -y python3-venv")?;
    let pip = || {
        let mut command = Command::new(&suite.python);
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).current_dir(&dir);
        command
    };
    quiet(pip().arg("install").args(REQUIREMENTS)).context("pip install")?;
    quiet(pip().args(["download", "--no-deps", "--no-binary", ":all:", PACKAGE]))
        .with_context(|| format!("pip download {PACKAGE}"))?;
    verify_sha256(&dir.join(FILE), SHA256)?;
    quiet(Command::new("tar").args(["xzf", FILE]).current_dir(&dir))?;
    let tests = suite.sources.join("test");
    // Without it Python takes its own package of that name.
    fs::write(tests.join("__init__.py"), "")?;
    fs::write(tests.join("service.py"), SERVICE)?;
    stamp.set()?;
    Ok(suite)
}
