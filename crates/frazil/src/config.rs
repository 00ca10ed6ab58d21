//! `frazil.yaml`: what a node should have, declared.
//!
//! Owns: the blocks of the file, reading them strictly (an unknown key is refused with the nearest name), merging a
//! directory of files, interpolation, the offline checks.
//! Does not own: putting a configuration into effect (`node/apply`); what topic properties mean (topics, queries).
//! Invariants: every problem names file, line and key; reading goes on after a problem, so that all are shown at once.

mod check;
mod groups;
mod interpolate;
mod maintenance;
mod nearest;
mod pipelines;
mod problem;
mod reader;
mod security;
mod server;
mod topics;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use groups::GroupBlock;
pub use maintenance::MaintenanceBlock;
pub use pipelines::PipelineBlock;
pub use problem::{Place, Problem, Problems};
pub use security::SecurityBlock;
pub(crate) use server::refuse_beyond_loopback;
pub use server::{BrokerBlock, ListenBlock, TablesBlock};
pub use topics::TopicBlock;

use interpolate::Variables;
use reader::Block;

/// Largest configuration file, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most files of one directory.
const FILES_MAX: usize = 1_000;

/// A whole configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    pub name: Option<String>,
    pub topics: Vec<TopicBlock>,
    pub pipelines: Vec<PipelineBlock>,
    pub listen: ListenBlock,
    pub broker: BrokerBlock,
    pub security: SecurityBlock,
    pub maintenance: MaintenanceBlock,
    pub tables: TablesBlock,
    /// `observability.logs.level`.
    pub log_level: Option<String>,
}

/// Blocks of the file that exist, and those that the design has but this version does not.
const BLOCKS: &[&str] = &["version", "name", "topics", "pipelines", "server", "observability"];
const LATER_BLOCKS: &[&str] = &[
    "connections",
    "connectors",
    "tables",
    "ingest",
    "generators",
    "services",
    "secrets",
    "landing",
    "alerts",
];

impl Config {
    /// Reads a file, or all `*.yaml` and `*.yml` files of a directory, with the process's environment.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        Self::load_with(path, &|name| std::env::var(name).ok())
    }

    /// The same with other variables.
    pub fn load_with(path: &Path, variables: Variables<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut config = Self::default();
        for file in files_of(path, &mut problems) {
            config.read_file(&file, variables, &mut problems);
        }
        check::check(&config, &mut problems);
        problems.into_result(config)
    }

    fn read_file(&mut self, file: &Path, variables: Variables<'_>, problems: &mut Problems) {
        let text = match read_text(file) {
            Ok(text) => text,
            Err(reason) => return problems.add(Place::file(file), "", reason),
        };
        let mut root = match tree::parse(file, &text) {
            Ok(root) => root,
            Err(problem) => return problems.push(problem),
        };
        interpolate::interpolate(&mut root, variables, problems);
        let mut block = Block::open(root, "", problems);
        match block.take("version") {
            None => block.problem("version", "is missing; write `version: 1`"),
            Some(node) => {
                if node.text() != Some("1") {
                    block.problem_at(&node.place, "version", "this program reads version 1");
                }
            }
        }
        if let Some(name) = block.text("name") {
            if self.name.as_ref().is_some_and(|have| *have != name) {
                block.problem("name", "differs from the name in another file");
            }
            self.name = Some(name);
        }
        let directory = file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        self.read_topics(&mut block, &directory);
        self.read_pipelines(&mut block, &directory);
        if let Some(server) = block.block("server") {
            server::read(
                server,
                &mut self.listen,
                &mut self.broker,
                &mut self.security,
                &mut self.maintenance,
                &mut self.tables,
            );
        }
        if let Some(observability) = block.block("observability") {
            server::read_observability(observability, &mut self.log_level);
        }
        block.close(BLOCKS, LATER_BLOCKS);
    }

    fn read_topics(&mut self, block: &mut Block<'_>, directory: &Path) {
        for (name, place, entry) in block.entries("topics") {
            if let Some(first) = self.topics.iter().find(|t| t.name == name) {
                let reason = format!("is declared twice, first at {}", first.place);
                block.problem_at(&place, &format!("topics.{name}"), reason);
                continue;
            }
            let entry = Block::open(entry, &format!("topics.{name}"), block.problems());
            self.topics.push(topics::read(name, place, entry, directory));
        }
    }

    fn read_pipelines(&mut self, block: &mut Block<'_>, directory: &Path) {
        for (name, place, entry) in block.entries("pipelines") {
            if let Some(first) = self.pipelines.iter().find(|p| p.name == name) {
                let reason = format!("is declared twice, first at {}", first.place);
                block.problem_at(&place, &format!("pipelines.{name}"), reason);
                continue;
            }
            let entry = Block::open(entry, &format!("pipelines.{name}"), block.problems());
            self.pipelines.extend(pipelines::read(name, place, entry, directory));
        }
    }
}

fn files_of(path: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            problems.add(Place::file(path), "", format!("cannot be listed: {error}"));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|p| p.is_file() && matches!(p.extension().and_then(|e| e.to_str()), Some("yaml" | "yml")))
        .collect();
    files.sort();
    if files.is_empty() {
        problems.add(Place::file(path), "", "has no *.yaml file");
    }
    if files.len() > FILES_MAX {
        problems.add(Place::file(path), "", format!("has more than {FILES_MAX} files"));
        files.truncate(FILES_MAX);
    }
    files
}

/// A text file of reasonable size.
pub(crate) fn read_text(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|e| format!("cannot be read: {e}"))?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("has {length} bytes, more than {FILE_BYTES_MAX}"));
    }
    std::fs::read_to_string(file).map_err(|e| format!("cannot be read: {e}"))
}
