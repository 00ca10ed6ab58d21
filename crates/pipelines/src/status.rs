//! What runs, how far it is, what is wrong and what to type.

use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    pub version: String,
    pub log_id: String,
    pub uptime_ms: i64,
    /// Why the log is offline.
    pub offline: Option<String>,
    /// What an operator should look at, although the log goes on.
    pub alarms: Vec<String>,
    pub topics: Vec<TopicStatus>,
    pub tables: Vec<TableStatus>,
    pub pipelines: Vec<PipelineStatus>,
    pub upkeep: UpkeepStatus,
}

/// How tables are kept in shape.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UpkeepStatus {
    pub enabled: bool,
    /// What is done just now, and to which table.
    pub running: Option<String>,
    pub tables: Vec<TableUpkeepStatus>,
}

/// What was done to one table since the node has started.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TableUpkeepStatus {
    pub table: String,
    pub files_compacted: u64,
    pub last_compaction_ms: Option<i64>,
    pub snapshots_expired: u64,
    /// Files of expired snapshots.
    pub files_deleted: u64,
    /// Files of expired snapshots that readers may still be at.
    pub files_waiting: u64,
    pub orphans_removed: u64,
    /// Manifests of the current snapshot when they were last counted.
    pub manifests: u64,
    /// What compaction does not touch, and why.
    pub left_alone: Option<String>,
    /// What has failed; it is tried again.
    pub message: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct TopicStatus {
    pub name: String,
    pub id: String,
    pub partitions: Vec<PartitionStatus>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PartitionStatus {
    pub partition: i32,
    pub log_start: i64,
    pub materialized: i64,
    pub stable: i64,
    pub durable: i64,
    pub appended: i64,
    pub size_bytes: u64,
    /// Bytes that retention would have removed already and keeps for the table.
    pub held_bytes: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct TableStatus {
    pub topic: String,
    pub table: String,
    /// `running`, `waiting` (for a schema), `paused` (until properties, schemas or table change), `diverged`,
    /// `rolled_back`, `failing`.
    pub state: String,
    /// What happened, and what to type.
    pub message: Option<String>,
    pub snapshot_id: Option<i64>,
    pub snapshots: usize,
    pub records: u64,
    /// Stable offsets that are not committed yet.
    pub lag: i64,
    pub dead_letters: u64,
    pub dropped: u64,
    /// Offsets that the log had deleted before the table had them, as far as its snapshots still tell.
    pub skipped: u64,
    pub last_commit_ms: Option<i64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PipelineStatus {
    pub name: String,
    /// `idle`, `running`, `paused`.
    pub state: String,
    pub runs: u64,
    pub last_run_ms: Option<i64>,
    pub last_rows: Option<u64>,
    pub message: Option<String>,
}
