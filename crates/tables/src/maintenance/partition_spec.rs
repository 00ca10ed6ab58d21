//! Changing how a table is partitioned.
//!
//! Owns: the new spec and the commit that makes it the default.
//! Does not own: the grammar (`partitioning`).
//! Invariants: files keep the spec they were written with; a spec that was there before is taken up again under its id.

use std::collections::HashMap;

use iceberg::spec::TableMetadataBuilder;
use iceberg::{TableRequirement, TableUpdate};

use crate::catalog::{CatalogError, Table, TableIdent, Tables};
use crate::commit::CommitError;
use crate::commit::append::{pause, too_busy};
use crate::maintenance::refs::same_table;
use crate::partitioning;

/// Property with the text that the default spec was made of.
pub(crate) const PARTITION_BY: &str = "frazil.table.partition-by";

impl Tables {
    /// New rows are partitioned by `text` (as in `NewTable::partition_by`) from the next writer on; rows that are there
    /// stay where they are, and are read as before.
    pub async fn set_partition_spec(&self, ident: &TableIdent, text: &str) -> Result<Table, CommitError> {
        let attempts = self.settings().commit_attempts.max(1);
        for attempt in 0..attempts {
            pause(attempt).await;
            let table = self.load(ident).await?;
            let metadata = &table.metadata;
            let spec = partitioning::parse(text, metadata.current_schema())?;
            let wanted: Vec<_> = spec.fields().iter().map(|f| (f.source_id, f.transform)).collect();
            let has: Vec<_> = metadata
                .default_partition_spec()
                .fields()
                .iter()
                .map(|f| (f.source_id, f.transform))
                .collect();
            let noted = metadata.properties().get(PARTITION_BY).is_some_and(|noted| noted == text);
            if wanted == has && noted {
                return Ok(table);
            }
            let mut updates = Vec::new();
            if wanted != has {
                updates.push(TableUpdate::AddSpec { spec });
                updates.push(TableUpdate::SetDefaultSpec { spec_id: TableMetadataBuilder::LAST_ADDED });
            }
            let property = (PARTITION_BY.to_owned(), text.to_owned());
            updates.push(TableUpdate::SetProperties { updates: HashMap::from([property]) });
            let requirements = vec![
                same_table(&table),
                TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
                TableRequirement::DefaultSpecIdMatch {
                    default_spec_id: metadata.default_partition_spec_id(),
                },
                TableRequirement::LastAssignedPartitionIdMatch {
                    last_assigned_partition_id: metadata.last_partition_id(),
                },
            ];
            match self.commit(ident, requirements, updates).await {
                Err(CommitError::RequirementFailed(_)) => {}
                // Made or not, the next look at the spec tells.
                Err(CommitError::Catalog(e)) if !matches!(e, CatalogError::NoSuchTable(_)) => {
                    tracing::warn!(table = %ident, error = %e, "changing the partition spec: looking again");
                }
                done => return done,
            }
        }
        Err(too_busy(ident, attempts))
    }
}
