//! Files of a snapshot.

use std::collections::HashMap;

/// A data file to read.
#[derive(Debug, Clone)]
pub struct ScanFile {
    /// Location, as in the manifest.
    pub location: String,
    pub size_bytes: u64,
    pub rows: u64,
    /// Column statistics by field id: lower and upper bound in Iceberg's binary form, nulls.
    pub lower_bounds: HashMap<i32, Vec<u8>>,
    pub upper_bounds: HashMap<i32, Vec<u8>>,
    pub null_counts: HashMap<i32, u64>,
}

/// All live data files of one snapshot.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    pub snapshot_id: Option<i64>,
    pub files: Vec<ScanFile>,
}
