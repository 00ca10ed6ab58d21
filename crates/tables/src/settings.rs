//! Settings of tables.

use crate::maintenance;

/// Limits and defaults of table files. All sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Namespace of tables made from topics: the Postgres schema of the same name.
    pub default_namespace: String,
    /// How tables made from topics are partitioned when the topic does not say.
    pub default_partition_by: String,
    /// A data file is closed at about this size.
    pub target_file_bytes: u64,
    /// Most rows of one row group.
    pub row_group_rows: usize,
    /// zstd level of Parquet pages.
    pub zstd_level: i32,
    /// Most partition writers open at once.
    pub open_files_max: usize,
    /// Most snapshots kept in the metadata's log of previous metadata files.
    pub metadata_previous_max: usize,
    /// Most parsed metadata files kept in memory.
    pub metadata_cache_max: usize,
    /// Most data files whose manifest entries are kept in memory.
    pub manifest_cache_files_max: usize,
    /// Most manifests that are kept in memory as entries of manifest lists.
    pub list_cache_manifests_max: usize,
    /// Small manifests are merged when a commit finds this many.
    pub manifests_to_merge: usize,
    /// A manifest of this size is not merged any more.
    pub manifest_target_bytes: u64,
    /// Attempts of one append before it gives up.
    pub commit_attempts: u32,
    /// A guest's wish for a table's directory that lies elsewhere is passed over instead of refused.
    pub override_locations: bool,
    /// What maintenance may do at once, and what it keeps.
    pub maintenance: maintenance::Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_namespace: "public".into(),
            default_partition_by: "(hour(redpanda.timestamp))".into(),
            target_file_bytes: 128 << 20,
            row_group_rows: 512 << 10,
            zstd_level: 1,
            open_files_max: 64,
            metadata_previous_max: 100,
            metadata_cache_max: 64,
            manifest_cache_files_max: 50_000,
            list_cache_manifests_max: 50_000,
            manifests_to_merge: 20,
            manifest_target_bytes: 8 << 20,
            commit_attempts: 20,
            override_locations: false,
            maintenance: maintenance::Limits::default(),
        }
    }
}
