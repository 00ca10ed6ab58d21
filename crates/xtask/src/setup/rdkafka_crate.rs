//! The rdkafka crate's own tests, from cargo's registry.
//!
//! Owns: the copy that can be built by itself. Does not own: what is expected of the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Stamp, fresh, quiet, suites_dir};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// The directory of the copy. The version is the one that this program is built with: Cargo.lock pins it.
pub(crate) fn sources() -> Result<PathBuf> {
    let (version, source) = locate()?;
    let dir = suites_dir()?.join("rdkafka-crate");
    let stamp = Stamp::of(&dir, version);
    let copy = dir.join("rdkafka");
    if stamp.is_current() {
        return Ok(copy);
    }
    fresh(&dir)?;
    quiet(Command::new("cp").arg("-r").arg(&source).arg(&copy))?;
    // The copy lies below our workspace, of which it is no part.
    let manifest = copy.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(&manifest, format!("{text}\n[workspace]\n"))?;
    stamp.set()?;
    Ok(copy)
}

/// Version and unpacked sources of the crate in cargo's registry.
fn locate() -> Result<(String, PathBuf)> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let found =
        metadata.packages.into_iter().find(|p| p.name == "rdkafka").context("rdkafka is no dependency")?;
    let dir = found.manifest_path.parent().context("a manifest lies in a directory")?;
    Ok((found.version, dir.to_path_buf()))
}
