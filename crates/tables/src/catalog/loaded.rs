//! What a loaded table tells.

use arrow::datatypes::SchemaRef;
use uuid::Uuid;

use super::{CatalogError, SnapshotInfo, Table};
use crate::columns;
use crate::commit::facts::Facts;
use crate::commit::{CommitError, recorded_progress};
use crate::maintenance::PARTITION_BY;
use crate::progress::Progress;

impl Table {
    /// Identity of this life of the table.
    pub fn uuid(&self) -> Uuid {
        self.metadata.uuid()
    }

    /// The current columns as Arrow, with `PARQUET:field_id` metadata.
    pub fn arrow_schema(&self) -> Result<SchemaRef, CatalogError> {
        columns::arrow_schema(self.metadata.current_schema())
    }

    /// Head of main; none while the table is empty.
    pub fn current_snapshot_id(&self) -> Option<i64> {
        self.metadata.current_snapshot_id()
    }

    /// Oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        let mut snapshots: Vec<_> = self
            .metadata
            .snapshots()
            .map(|s| SnapshotInfo {
                id: s.snapshot_id(),
                parent: s.parent_snapshot_id(),
                sequence: s.sequence_number(),
                timestamp_ms: s.timestamp_ms(),
                operation: s.summary().operation.as_str().to_owned(),
                summary: s.summary().additional_properties.clone(),
            })
            .collect();
        snapshots.sort_by_key(|s| (s.sequence, s.timestamp_ms, s.id));
        snapshots
    }

    /// Progress as the commit would judge it (nearest carrier on main, property when the chain has expired); the error
    /// says that the table is rolled back, and how.
    pub fn progress(&self) -> Result<Progress, CommitError> {
        recorded_progress(self, &Facts::gather(&self.metadata)?)
    }

    /// Whether any commit has recorded progress in this table.
    pub fn has_carrier(&self) -> Result<bool, CatalogError> {
        let facts = Facts::gather(&self.metadata)?;
        Ok(facts.carrier.is_some() || facts.property.is_some())
    }

    /// Whether `Tables::evolve` would make the table take these columns; the error names what does not fit.
    pub fn accepts(&self, columns: &arrow::datatypes::Schema) -> Result<(), CommitError> {
        let last_id = self.metadata.last_column_id();
        columns::evolve::evolved(self.metadata.current_schema(), last_id, columns).map(drop)
    }

    /// Whether `Tables::set_partition_spec` would take this text; the error says what is wrong with it.
    pub fn accepts_partition_spec(&self, text: &str) -> Result<(), CatalogError> {
        crate::partitioning::parse(text, self.metadata.current_schema()).map(drop)
    }

    /// The text that the table was last partitioned by, where this program did it.
    pub fn partition_spec_text(&self) -> Option<&str> {
        self.metadata.properties().get(PARTITION_BY).map(String::as_str)
    }

    /// Rows in the current snapshot, from its summary.
    pub fn total_records(&self) -> u64 {
        let summary = self.metadata.current_snapshot().map(|s| s.summary());
        let total = summary.and_then(|s| s.additional_properties.get("total-records"));
        total.and_then(|t| t.parse().ok()).unwrap_or(0)
    }

    /// The metadata as Iceberg writes it, for catalogs' replies; snapshots in the order they came.
    pub fn metadata_json(&self) -> Result<String, CatalogError> {
        let format = |e: serde_json::Error| CatalogError::Format(format!("{}: {e}", self.metadata_location));
        let mut json = serde_json::to_value(&*self.metadata).map_err(format)?;
        if let Some(snapshots) = json.get_mut("snapshots").and_then(serde_json::Value::as_array_mut) {
            snapshots.sort_by_key(|s| (s["sequence-number"].as_i64(), s["timestamp-ms"].as_i64()));
        }
        serde_json::to_string(&json).map_err(format)
    }
}
