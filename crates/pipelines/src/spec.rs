//! What a pipeline is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A declared query whose results are published to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub sql: String,
    pub trigger: Trigger,
    pub into: Target,
    #[serde(default)]
    pub on_error: OnError,
}

/// When a pipeline runs: `every: 5s`, or `on_commit: [trades]` (a first run at once, then after data commits).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    Every(String),
    OnCommit(Vec<String>),
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub topic: String,
    /// Columns whose JSON object is the record key; required for `upsert`.
    #[serde(default)]
    pub key: Vec<String>,
    #[serde(default)]
    pub format: Format,
    #[serde(default)]
    pub mode: PublishMode,
    /// Partitions when the topic has to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Topic properties when the topic has to be made, for example `redpanda.iceberg.mode`.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishMode {
    /// The whole result of each run.
    #[default]
    Append,
    /// Rows changed by key since the last run, a tombstone for vanished ones.
    Upsert,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnError {
    /// Attempts before it pauses; the pause ends by a new definition or a restart.
    #[serde(default = "retries")]
    pub retry: u32,
}

fn retries() -> u32 {
    5
}
impl Default for OnError {
    fn default() -> Self {
        Self { retry: retries() }
    }
}

/// A definition that cannot work; says which part and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pipeline {pipeline}: {field}: {reason}")]
pub struct SpecError {
    pub pipeline: String,
    pub field: String,
    pub reason: String,
}
