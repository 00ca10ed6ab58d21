//! Who may import whom, and who owns which foreign library.
//!
//! Owns: the two tables of ARCHITECTURE.md as data. Does not own: the document ([`super::documents`] holds both together).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Crate, what it may import, what it must never do.
pub(super) const LAYERS: &[(&str, &[&str], &str)] = &[
    ("base", &[], "do I/O, hold product rules"),
    ("storage", &["base"], "know what a topic or a table means (only where its bytes live)"),
    ("access", &["storage", "base"], "know doors or what they serve"),
    ("topics", &["storage", "base"], "decode payloads; know Arrow, Iceberg, sockets"),
    ("schemas", &["storage", "base"], "know offsets, partitions, tables"),
    ("tables", &["storage", "base"], "read from the log; know Kafka"),
    (
        "queries",
        &["topics", "schemas", "tables", "base"],
        "write anything (commands are parsed here, executed in pipelines)",
    ),
    ("pipelines", &["queries", "topics", "schemas", "tables", "storage", "base"], "listen on sockets"),
    (
        "gateway",
        &["pipelines", "queries", "access", "topics", "schemas", "tables", "base"],
        "touch storage; hold state beyond a connection; doors import each other",
    ),
    (
        "frazil",
        &["gateway", "pipelines", "queries", "access", "topics", "schemas", "tables", "storage", "base"],
        "hold logic other than wiring",
    ),
    (
        "testkit",
        &[
            "frazil",
            "gateway",
            "pipelines",
            "queries",
            "access",
            "topics",
            "schemas",
            "tables",
            "storage",
            "base",
        ],
        "be a dependency of a product crate",
    ),
    ("xtask", &[], "be a dependency of anything"),
];

/// Foreign library, and the crates that may name it.
pub(super) const OWNERS: &[(&str, &[&str])] = &[
    ("object_store", &["storage", "tables", "queries"]),
    ("redb", &["storage"]),
    ("ring", &["access"]),
    ("rdkafka", &["topics"]),
    ("jsonschema", &["schemas"]),
    ("iceberg", &["tables"]),
    ("parquet", &["tables"]),
    ("datafusion", &["queries"]),
    ("kafka-protocol", &["gateway"]),
    ("pgwire", &["gateway"]),
    ("axum", &["gateway"]),
    ("clap", &["frazil"]),
    ("serde-saphyr", &["frazil"]),
    ("tokio-postgres", &["frazil"]),
    ("arrow", &["schemas", "tables", "queries", "pipelines", "gateway", "frazil"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

pub(super) fn check(root: &Path, problems: &mut Vec<String>) -> Result<()> {
    let packages = packages(root)?;
    for package in packages.keys() {
        if !LAYERS.iter().any(|(name, ..)| name == package) {
            problems.push(format!(
                "crate {package} is in no layer: add it to ARCHITECTURE.md and tidy/layers.rs"
            ));
        }
    }
    for (name, dependencies) in &packages {
        check_crate(name, dependencies, problems);
    }
    Ok(())
}

fn check_crate(name: &str, dependencies: &[Dependency], problems: &mut Vec<String>) {
    let Some((_, may_import, never)) = LAYERS.iter().find(|(layer, ..)| *layer == name) else { return };
    for dependency in dependencies {
        let (target, dev) = (dependency.name.as_str(), dependency.kind.as_deref() == Some("dev"));
        if LAYERS.iter().any(|(layer, ..)| *layer == target) {
            let forbidden =
                if dev { matches!(target, "testkit" | "xtask") } else { !may_import.contains(&target) };
            if forbidden && target != name {
                let allowed =
                    if may_import.is_empty() { "none of our crates".into() } else { may_import.join(", ") };
                problems.push(format!(
                    "{name} imports {target}: it may import {allowed}, and must never {never}"
                ));
            }
        }
        if let Some((library, owners)) = OWNERS.iter().find(|(library, _)| *library == target)
            && !owners.contains(&name)
            && !dev
            && name != "testkit"
        {
            problems.push(format!("{name} names {library}, which belongs to {}", owners.join(" and ")));
        }
    }
}

fn packages(root: &Path) -> Result<BTreeMap<String, Vec<Dependency>>> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    Ok(metadata.packages.into_iter().map(|p| (p.name, p.dependencies)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, target: &str, kind: Option<&str>) -> Vec<String> {
        let mut problems = Vec::new();
        let dependency = Dependency { name: target.into(), kind: kind.map(str::to_owned) };
        check_crate(name, &[dependency], &mut problems);
        problems
    }

    #[test]
    fn forbidden_imports_are_named() {
        assert!(problems("queries", "topics", None).is_empty());
        assert_eq!(
            problems("topics", "tables", None),
            [
                "topics imports tables: it may import storage, base, and must never decode payloads; know Arrow, Iceberg, sockets"
            ]
        );
        assert_eq!(problems("topics", "arrow", None).len(), 1);
        assert_eq!(problems("gateway", "storage", None).len(), 1);
        assert_eq!(problems("queries", "testkit", Some("dev")).len(), 1);
        assert!(problems("gateway", "storage", Some("dev")).is_empty());
    }
}
