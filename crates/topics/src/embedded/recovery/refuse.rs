//! Directories that no recovery may go on from.
//!
//! Owns: telling a directory that lost files from an empty one.
//! Does not own: damage inside files (whoever reads them says so).

use std::path::Path;

use super::{damaged, io_error};
use crate::embedded::checkpoint::Checkpoint;
use crate::error::OpenError;

/// A checkpoint that names records, and no directory that ever held any: nothing to go on from.
pub(super) fn refuse_missing_segments(
    disk: &dyn storage::Disk,
    topics_dir: &Path,
    found: Option<&Checkpoint>,
) -> Result<(), OpenError> {
    let points = found.iter().flat_map(|c| c.partitions.values()).flat_map(|p| p.values());
    let filled = points.filter(|point| point.segment.is_some()).count();
    if filled > 0 && !disk.exists(topics_dir) {
        let reason = format!(
            "the directory is missing, {filled} partitions have records in it; make it to go on without them"
        );
        return Err(damaged(topics_dir, 0, reason));
    }
    Ok(())
}

/// Without its checkpoint a log with records cannot be told from garbage: never throw it away.
pub(super) fn refuse_log_without_checkpoint(
    disk: &dyn storage::Disk,
    topics_dir: &Path,
    checkpoint: &Path,
) -> Result<(), OpenError> {
    let list = |path: &Path| disk.read_dir(path).map_err(io_error(path.display().to_string()));
    for topic in list(topics_dir)?.iter().filter(|e| e.is_dir) {
        let topic = topics_dir.join(&topic.name);
        for partition in list(&topic)?.iter().filter(|e| e.is_dir) {
            if list(&topic.join(&partition.name))?.iter().any(|e| e.len > 0) {
                return Err(damaged(checkpoint, 0, "the file is missing although there are segments"));
            }
        }
    }
    Ok(())
}
