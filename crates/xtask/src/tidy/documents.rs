//! Documents that cannot rot: ARCHITECTURE.md says what the layers say.
//!
//! Owns: the comparison of documents with the workspace. Does not own: prose.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::layers::{LAYERS, OWNERS};
use super::sources;

/// Files that a visitor expects.
const EXPECTED: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "deny.toml",
    "rust-toolchain.toml",
    ".ci/run",
];

pub(super) fn check(root: &Path, problems: &mut Vec<String>) -> Result<()> {
    for file in EXPECTED {
        if !root.join(file).exists() {
            problems.push(format!("{file} is missing"));
        }
    }
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for (name, may_import, never) in LAYERS {
        let imports = if may_import.is_empty() { "–".to_owned() } else { may_import.join(", ") };
        let row = format!("| {name} | {imports} | {never} |");
        if !architecture.contains(&row) {
            problems.push(format!("ARCHITECTURE.md: the table of layers lacks the row `{row}`"));
        }
    }
    for (library, owners) in OWNERS {
        let row = format!("| {library} | {} |", owners.join(", "));
        if !architecture.contains(&row) {
            problems.push(format!("ARCHITECTURE.md: the table of foreign libraries lacks the row `{row}`"));
        }
    }
    // The README's test command and CI's are one.
    let ci = fs::read_to_string(root.join(".ci/run")).unwrap_or_default();
    let readme = fs::read_to_string(root.join("README.md")).unwrap_or_default();
    for command in ["cargo xtask test", "cargo run --release -- demo"] {
        if !readme.contains(command) {
            problems.push(format!("README.md does not name `{command}`"));
        }
    }
    if !ci.lines().any(|line| line == "cargo xtask test") {
        problems.push(".ci/run does not call `cargo xtask test`".into());
    }
    check_links(root, problems)
}

/// Modules that ARCHITECTURE.md names in backquotes as `crate/module` exist.
fn check_links(root: &Path, problems: &mut Vec<String>) -> Result<()> {
    let paths: Vec<String> = sources(root)?.into_iter().map(|s| s.path).collect();
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    for word in architecture.split('`').skip(1).step_by(2) {
        let Some((name, module)) = word.split_once('/') else { continue };
        if !LAYERS.iter().any(|(layer, ..)| *layer == name) {
            continue;
        }
        let stem = format!("crates/{name}/src/{}", module.trim_end_matches('/'));
        if !paths.iter().any(|p| *p == format!("{stem}.rs") || p.starts_with(&format!("{stem}/"))) {
            problems.push(format!("ARCHITECTURE.md names `{word}`, which does not exist"));
        }
    }
    Ok(())
}
