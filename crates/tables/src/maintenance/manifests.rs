//! Manifest rewrite: fewer manifests, each of one stretch of partitions.
//!
//! Owns: when it is worth it, and its commit.
//! Does not own: the layout (`commit/layout`).

use std::collections::BTreeMap;

use iceberg::spec::{ManifestContentType, Operation};

use super::MaintenanceError;
use crate::catalog::{Table, TableIdent, Tables};
use crate::commit::layout::Layout;
use crate::commit::replace::Replacement;

/// What a rewrite has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewrittenManifests {
    /// The snapshot that it made; none when there was nothing to gain.
    pub snapshot_id: Option<i64>,
    pub before: usize,
    pub after: usize,
}

impl Tables {
    /// Writes the manifests of main's head anew when there are more than the limit; always when `force`.
    pub async fn rewrite_manifests(
        &self,
        ident: &TableIdent,
        force: bool,
    ) -> Result<RewrittenManifests, MaintenanceError> {
        let table = self.load(ident).await?;
        let before = self.data_manifests(&table).await?;
        let wanted = if force { 2 } else { self.settings().maintenance.manifests_max.max(2) };
        if before < wanted {
            return Ok(RewrittenManifests { snapshot_id: None, before, after: before });
        }
        let summary = BTreeMap::from([
            ("frazil.maintenance".to_owned(), "manifests".to_owned()),
            ("manifests-replaced".to_owned(), before.to_string()),
        ]);
        let replacement = Replacement { layout: Layout::Cluster, operation: Operation::Replace, summary };
        let made = self.replace(&table, Vec::new(), replacement).await?;
        let after = self.data_manifests(&self.load(ident).await?).await?;
        Ok(RewrittenManifests { snapshot_id: made.snapshot_id, before, after })
    }

    /// Data manifests of main's head.
    pub async fn data_manifests(&self, table: &Table) -> Result<usize, crate::CatalogError> {
        let Some(head) = table.metadata.current_snapshot() else { return Ok(0) };
        let list = self.manifest_list(&table.metadata, head).await?;
        Ok(list.iter().filter(|m| m.content == ManifestContentType::Data).count())
    }
}
