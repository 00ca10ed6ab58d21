//! The block `server.maintenance`.
//!
//! Owns: its switches.
//! Does not own: what they switch (`pipelines::UpkeepSettings`).

use super::reader::Block;

/// What the node does to its tables unasked; none keeps the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaintenanceBlock {
    pub enabled: Option<bool>,
    pub compaction: Option<bool>,
    pub snapshot_expiry: Option<bool>,
    pub manifest_rewrite: Option<bool>,
    pub orphan_removal: Option<bool>,
}

impl MaintenanceBlock {
    /// The settings with what this block says.
    pub fn apply(&self, settings: &mut ::pipelines::UpkeepSettings) {
        for (said, setting) in [
            (self.enabled, &mut settings.enabled),
            (self.compaction, &mut settings.compaction),
            (self.snapshot_expiry, &mut settings.expiry),
            (self.manifest_rewrite, &mut settings.manifests),
            (self.orphan_removal, &mut settings.orphans),
        ] {
            *setting = said.unwrap_or(*setting);
        }
    }

    pub(super) fn read(&mut self, mut block: Block<'_>) {
        for (key, slot) in [
            ("enabled", &mut self.enabled),
            ("compaction", &mut self.compaction),
            ("snapshot_expiry", &mut self.snapshot_expiry),
            ("manifest_rewrite", &mut self.manifest_rewrite),
            ("orphan_removal", &mut self.orphan_removal),
        ] {
            *slot = block.boolean(key).or(*slot);
        }
        block.close(&["enabled", "compaction", "snapshot_expiry", "manifest_rewrite", "orphan_removal"], &[]);
    }
}
