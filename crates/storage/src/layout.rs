//! The names of everything durable.
//!
//! Owns: every path below the data directory, and the spaces of the control store.
//! Does not own: what lies in the files. The one place that knows the physical names of all domains, on purpose.

use std::path::{Path, PathBuf};

use base::{PartitionId, TopicId};

use crate::control::Space;

/// Topics, their configuration and producer-id blocks.
pub const TOPICS: Space = Space("topics");
/// Schema registry: subjects, versions, ids.
pub const SUBJECTS: Space = Space("subjects");
/// Iceberg catalog: namespaces and table pointers.
pub const CATALOG: Space = Space("catalog");
/// Pipeline definitions.
pub const PIPELINES: Space = Space("pipelines");

/// Users and ACLs.
pub const ACCESS: Space = Space("access");

pub(crate) const SPACES: &[Space] = &[TOPICS, SUBJECTS, CATALOG, PIPELINES, ACCESS];

/// Version and identity of the data directory.
pub fn format_file(data_dir: &Path) -> PathBuf {
    data_dir.join("frazil.json")
}

/// Held locked while a process uses the directory.
pub fn lock_file(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

/// The control store.
pub fn control_file(data_dir: &Path) -> PathBuf {
    data_dir.join("control.redb")
}

/// Space that is given up when the disk is full, so that the log can still be opened.
pub fn reserve_file(data_dir: &Path) -> PathBuf {
    data_dir.join("reserve")
}

/// The write-ahead log.
pub fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("log").join("wal")
}

/// Recovery points, named progress, clean-shutdown mark.
pub fn checkpoint_file(data_dir: &Path) -> PathBuf {
    data_dir.join("log").join("checkpoint.json")
}

/// Where partitions begin whose records were deleted since the last checkpoint, or before.
pub fn log_start_file(data_dir: &Path) -> PathBuf {
    data_dir.join("log").join("log-start.json")
}

/// All partitions of one life of a topic.
pub fn topic_dir(data_dir: &Path, topic: TopicId) -> PathBuf {
    data_dir.join("log").join("topics").join(topic.to_string())
}

/// The segments of one partition.
pub fn partition_dir(data_dir: &Path, topic: TopicId, partition: PartitionId) -> PathBuf {
    topic_dir(data_dir, topic).join(partition_name(partition))
}

/// The directory of a partition within its topic's.
pub fn partition_name(partition: PartitionId) -> String {
    partition.to_string()
}

/// Kafka's name for the file of a segment: base offset in 20 digits, and `log`, `index`, `timeindex` or `txnindex`.
pub fn segment_file(partition_dir: &Path, base_offset: i64, extension: &str) -> PathBuf {
    partition_dir.join(format!("{base_offset:020}.{extension}"))
}

/// Root of the Iceberg warehouse: `<warehouse>/<namespace>/<table>/{data,metadata}`.
pub fn warehouse_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("warehouse")
}
