//! The architecture as a test.
//!
//! Owns: the rules of ARCHITECTURE.md that a machine can check.
//! Does not own: formatting (rustfmt) and lints (rustc, clippy).

mod budgets;
mod documents;
mod layers;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Checks every rule and reports all violations at once.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut problems = Vec::new();
    layers::check(&root, &mut problems)?;
    budgets::check(&root, &mut problems)?;
    documents::check(&root, &mut problems)?;
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    bail!("{} violations of the house rules (CONTRIBUTING.md)", problems.len())
}

/// A source file of a crate.
struct Source {
    /// Relative to the workspace.
    path: String,
    text: String,
}

impl Source {
    /// Test code has no budget: tests are read one at a time.
    fn is_test(&self) -> bool {
        let path = &self.path;
        path.contains("/tests/")
            || path.ends_with("tests.rs")
            || path.contains("/examples/")
            || path.contains("/benches/")
    }
}

/// Every Rust file below `crates/`.
fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut dirs: Vec<PathBuf> = vec![root.join("crates")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
                found.push(Source { path: relative, text: fs::read_to_string(&path)? });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
