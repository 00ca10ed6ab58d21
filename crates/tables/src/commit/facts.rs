//! What a table says about its progress.
//!
//! Owns: gathering facts from metadata; no I/O.
//! Does not own: judging them (`decide`).

use iceberg::spec::{SnapshotRef, TableMetadata};

use crate::catalog::CatalogError;
use crate::progress::{self, COMMIT_ID_KEY, Carried, PROGRESS_KEY};

/// The nearest snapshot on main that carries progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    pub snapshot_id: i64,
    pub carried: Carried,
}

/// Everything a decision depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Head of main.
    pub head: Option<i64>,
    /// Nearest carrier among main's ancestors, the head included.
    pub carrier: Option<Carrier>,
    /// No carrier was found, and the chain ends with a parent that has expired: sequence number of the oldest
    /// ancestor that is left.
    pub expired_before: Option<i64>,
    /// The table property.
    pub property: Option<Carried>,
}

impl Facts {
    /// Reads the facts out of metadata; the error names the text that does not parse.
    pub fn gather(metadata: &TableMetadata) -> Result<Self, CatalogError> {
        let mut facts = Self { head: metadata.current_snapshot_id(), ..Self::default() };
        let mut oldest = None;
        for snapshot in ancestors(metadata) {
            if let Some(text) = snapshot.summary().additional_properties.get(PROGRESS_KEY) {
                let at = format!("{PROGRESS_KEY} of snapshot {}", snapshot.snapshot_id());
                let progress =
                    progress::decode(text).map_err(|e| CatalogError::Format(format!("{at}: {e}")))?;
                let carried = Carried { sequence: snapshot.sequence_number(), progress };
                facts.carrier = Some(Carrier { snapshot_id: snapshot.snapshot_id(), carried });
                break;
            }
            oldest = Some(snapshot);
        }
        if facts.carrier.is_none() {
            facts.expired_before =
                oldest.filter(|s| s.parent_snapshot_id().is_some()).map(|s| s.sequence_number());
        }
        if let Some(text) = metadata.properties().get(PROGRESS_KEY) {
            let carried = progress::decode_carried(text)
                .map_err(|e| CatalogError::Format(format!("table property {PROGRESS_KEY}: {e}")))?;
            facts.property = Some(carried);
        }
        Ok(facts)
    }
}

/// Main's head and its ancestors, newest first, as far as they have not expired.
pub(crate) fn ancestors(metadata: &TableMetadata) -> impl Iterator<Item = &SnapshotRef> {
    // Sequence numbers fall along a chain; a guest's metadata with a ring of parents must not hold us for ever.
    let limit = metadata.snapshots().len();
    #[cfg(feature = "sabotage")]
    let limit = match crate::sabotage::ANCESTORS_UNSEEN.load(std::sync::atomic::Ordering::Relaxed) {
        true => limit.min(1),
        false => limit,
    };
    std::iter::successors(metadata.current_snapshot(), |snapshot| {
        snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent))
    })
    .take(limit)
}

/// The snapshot on main that the append `commit_id` made.
pub(crate) fn made_by<'a>(metadata: &'a TableMetadata, commit_id: &str) -> Option<&'a SnapshotRef> {
    ancestors(metadata)
        .find(|s| s.summary().additional_properties.get(COMMIT_ID_KEY).is_some_and(|id| id == commit_id))
}
