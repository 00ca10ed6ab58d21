//! Settings of materialize and publish.
//!
//! Owns: every limit of this crate, with its default.
//! Does not own: where settings come from; per-topic properties (`queries::mode`).

use std::time::Duration;

use crate::upkeep::UpkeepSettings;

/// Limits of moving data. Sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// A commit does not wait for its age once so many bytes of log wait for it.
    pub commit_bytes: u64,
    /// Size alone makes no commits closer to one another than this: under load they grow.
    pub commit_interval_min: Duration,
    /// A slow catalog is given four times the time that a commit took before the next one, up to this.
    pub commit_interval_max: Duration,
    /// Data files of one commit, about: rows of many partitions become several commits.
    pub commit_files_max: usize,
    /// A backlog larger than this becomes several snapshots. Below it, every snapshot is exactly one cut.
    pub backlog_bytes: u64,
    /// Bytes of log that are decoded at once.
    pub chunk_bytes: usize,
    /// Partitions of one table that are decoded at once.
    pub decode_lanes: usize,
    /// Decoded chunks that wait for the Parquet writer.
    pub chunks_ahead: usize,
    /// Tables that stage a commit at once.
    pub concurrent_commits: usize,
    /// How often the size of what waits is looked at while something waits.
    pub size_check: Duration,
    /// First pause after an error; it doubles up to `retry_max`.
    pub retry_first: Duration,
    pub retry_max: Duration,
    /// Requests to commit now that may wait for one table.
    pub requests_max: usize,
    /// Dropped offset ranges that a snapshot's summary lists; the count is always whole.
    pub ranges_listed_max: usize,
    /// Dead letters that one commit of a replay makes rows.
    pub replay_records: u64,
    /// Stretches of neighbouring offsets that they may be in: the table's metadata lists them until they have left the
    /// dead-letter table.
    pub replay_runs: usize,
    /// Dead letters beyond a table's progress that one commit takes into account.
    pub decided_max: usize,
    /// Switches of schema that a topic may have in its life.
    pub switches_max: usize,
    /// Declared pipelines.
    pub pipelines_max: usize,
    /// Longest SQL text of a pipeline.
    pub statement_bytes_max: usize,
    /// Rows of one run's result.
    pub result_rows_max: usize,
    /// Encoded bytes of one run's result.
    pub result_bytes_max: usize,
    /// When tables are kept in shape.
    pub upkeep: UpkeepSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit_bytes: 64 << 20,
            commit_interval_min: Duration::from_secs(1),
            commit_interval_max: Duration::from_secs(30),
            commit_files_max: 1_000,
            backlog_bytes: 1 << 30,
            chunk_bytes: 4 << 20,
            decode_lanes: 2,
            chunks_ahead: 2,
            concurrent_commits: 4,
            size_check: Duration::from_millis(200),
            retry_first: Duration::from_millis(200),
            retry_max: Duration::from_secs(30),
            requests_max: 64,
            ranges_listed_max: 1000,
            replay_records: 1_000_000,
            replay_runs: 50_000,
            decided_max: 1_000_000,
            switches_max: 10_000,
            pipelines_max: 1000,
            statement_bytes_max: 1 << 20,
            result_rows_max: 100_000,
            result_bytes_max: 64 << 20,
            upkeep: UpkeepSettings::default(),
        }
    }
}
