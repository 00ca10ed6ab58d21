//! Schemathesis, in an environment of its own.
//!
//! Owns: which version. Does not own: what it is asked.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, debian, fresh, quiet, suites_dir};

const PACKAGE: &str = "schemathesis==4.32.5";

/// The program.
pub(crate) fn program() -> Result<PathBuf> {
    let dir = suites_dir()?.join("schemathesis");
    let program = dir.join("environment/bin/schemathesis");
    let stamp = Stamp::of(&dir, PACKAGE.to_owned());
    if stamp.is_current() {
        return Ok(program);
    }
    let system = debian("python3", "python3")?;
    eprintln!("fetching {PACKAGE} into {}", dir.display());
    fresh(&dir)?;
    quiet(Command::new(system).args(["-m", "venv", "environment"]).current_dir(&dir))
        .context("python3 -m venv failed; type: sudo apt-get install -y python3-venv")?;
    let python = dir.join("environment/bin/python");
    quiet(
        Command::new(python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE])
            .current_dir(&dir),
    )
    .context("pip install")?;
    stamp.set()?;
    Ok(program)
}
