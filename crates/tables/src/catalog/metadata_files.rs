//! Metadata files: `<table>/metadata/<version>-<uuid>.metadata.json`.
//!
//! Owns: their names, their bytes, a bounded cache of parsed ones.
//! Invariants: a metadata file never changes after it was written.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use iceberg::spec::TableMetadata;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{CatalogError, Tables};

/// Says where metadata files go, if not to `<table>/metadata`.
const METADATA_PATH: &str = "write.metadata.path";

/// Location of the file after `previous`, or of the first one.
pub(super) fn next_location(
    location: &str,
    properties: &HashMap<String, String>,
    previous: Option<&str>,
) -> String {
    let version = previous.map_or(0, |p| version(p).saturating_add(1));
    let directory = match properties.get(METADATA_PATH) {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{location}/metadata"),
    };
    format!("{directory}/{version:05}-{}.metadata.json", Uuid::new_v4())
}

/// The number in front of the file's name; 0 when a guest named it otherwise.
fn version(location: &str) -> u64 {
    let name = location.rsplit('/').next().unwrap_or(location);
    name.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Tables {
    pub(super) async fn read_metadata(&self, location: &str) -> Result<Arc<TableMetadata>, CatalogError> {
        if let Some(metadata) = self.0.metadata.get(location) {
            return Ok(metadata);
        }
        let bytes = self.objects().get(location).await?;
        let metadata: TableMetadata =
            serde_json::from_slice(&bytes).map_err(|e| CatalogError::Format(format!("{location}: {e}")))?;
        let metadata = Arc::new(metadata);
        self.0.metadata.put(location, &metadata);
        Ok(metadata)
    }

    /// Durable on return.
    pub(super) async fn write_metadata(
        &self,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<(), CatalogError> {
        let bytes =
            serde_json::to_vec(metadata).map_err(|e| CatalogError::Format(format!("{location}: {e}")))?;
        Ok(self.objects().put_new(location, bytes.into()).await?)
    }

    pub(super) fn remember_metadata(&self, location: &str, metadata: &Arc<TableMetadata>) {
        self.0.metadata.put(location, metadata);
    }
}

/// Parsed metadata by location; the oldest leave first.
#[derive(Debug)]
pub(super) struct MetadataCache {
    most: usize,
    kept: Mutex<(HashMap<Arc<str>, Arc<TableMetadata>>, VecDeque<Arc<str>>)>,
}

impl MetadataCache {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    fn get(&self, location: &str) -> Option<Arc<TableMetadata>> {
        self.kept.lock().0.get(location).cloned()
    }

    fn put(&self, location: &str, metadata: &Arc<TableMetadata>) {
        let mut kept = self.kept.lock();
        let (by_location, order) = &mut *kept;
        let location: Arc<str> = location.into();
        if by_location.insert(Arc::clone(&location), Arc::clone(metadata)).is_none() {
            order.push_back(location);
        }
        while order.len() > self.most {
            if let Some(oldest) = order.pop_front() {
                by_location.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up() {
        let none = HashMap::new();
        let first = next_location("file:///w/t", &none, None);
        assert!(first.starts_with("file:///w/t/metadata/00000-"), "{first}");
        let second = next_location("file:///w/t", &none, Some(&first));
        assert!(second.starts_with("file:///w/t/metadata/00001-"), "{second}");
        let guest = next_location("file:///w/t", &none, Some("file:///w/t/metadata/v7.metadata.json"));
        assert!(guest.starts_with("file:///w/t/metadata/00001-"), "{guest}");
        let elsewhere = HashMap::from([(METADATA_PATH.to_owned(), "file:///w/t/m/".to_owned())]);
        assert!(next_location("file:///w/t", &elsewhere, None).starts_with("file:///w/t/m/00000-"));
    }
}
