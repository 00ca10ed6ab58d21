//! The registry's contents in memory, and their form in the control store.
//!
//! Owns: the keys and values of the `SUBJECTS` space; the indexes over them.
//! Does not own: what may be registered or deleted.
//! Invariants: mirrors the control store; every version's id has a schema.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base::SchemaId;
use serde::{Deserialize, Serialize};
use storage::layout::SUBJECTS;

use super::{NewSchema, RegisteredSchema, RegistryError, SCHEMA_BYTES_MAX, SchemaReference, SchemaType};

const ID_PREFIX: &str = "id/";
const VERSION_PREFIX: &str = "version/";

/// Key of a schema.
pub(super) fn id_key(id: SchemaId) -> String {
    format!("{ID_PREFIX}{id:010}")
}

/// A version of a subject as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredVersion {
    pub(super) subject: String,
    pub(super) version: i32,
    pub(super) id: SchemaId,
    pub(super) deleted: bool,
}

impl StoredVersion {
    pub(super) fn key(&self) -> String {
        format!("{VERSION_PREFIX}{}/{:010}", self.subject, self.version)
    }
}

/// A version within its subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) version: i32,
    pub(super) id: SchemaId,
    pub(super) deleted: bool,
}

/// Everything that is registered.
#[derive(Debug, Default)]
pub(super) struct Book {
    schemas: BTreeMap<SchemaId, Arc<RegisteredSchema>>,
    identities: HashMap<String, SchemaId>,
    subjects: BTreeMap<String, BTreeMap<i32, (SchemaId, bool)>>,
}

/// What makes two schemas the same: type, canonical text (white space and number spelling do not count, the order
/// of members does, since columns follow it) and references.
pub(super) fn identity_of(schema: &NewSchema) -> Result<String, RegistryError> {
    if schema.schema.len() > SCHEMA_BYTES_MAX {
        let reason = format!("it is longer than {SCHEMA_BYTES_MAX} bytes");
        return Err(RegistryError::InvalidSchema { reason });
    }
    match schema.schema_type {
        SchemaType::Json => identity(&schema.schema, &schema.references),
        SchemaType::Avro => Err(RegistryError::UnsupportedType("AVRO".into())),
        SchemaType::Protobuf => Err(RegistryError::UnsupportedType("PROTOBUF".into())),
    }
}

fn identity(text: &str, references: &[SchemaReference]) -> Result<String, RegistryError> {
    let document = crate::dialect::parse(text).map_err(|reason| RegistryError::InvalidSchema { reason })?;
    let references: Vec<_> = references.iter().map(|r| (&r.name, &r.subject, r.version)).collect();
    Ok(serde_json::json!(["JSON", document, references]).to_string())
}

impl Book {
    pub(super) fn load(control: &storage::Control) -> Result<Self, RegistryError> {
        let mut book = Self::default();
        for (_, schema) in control.scan_json::<RegisteredSchema>(SUBJECTS, ID_PREFIX)? {
            let identity = identity(&schema.schema, &schema.references)?;
            book.add_schema(identity, Arc::new(schema));
        }
        for (_, version) in control.scan_json::<StoredVersion>(SUBJECTS, VERSION_PREFIX)? {
            book.put(version);
        }
        Ok(book)
    }

    pub(super) fn add_schema(&mut self, identity: String, schema: Arc<RegisteredSchema>) {
        self.identities.insert(identity, schema.id);
        self.schemas.insert(schema.id, schema);
    }

    pub(super) fn put(&mut self, stored: StoredVersion) {
        let versions = self.subjects.entry(stored.subject).or_default();
        versions.insert(stored.version, (stored.id, stored.deleted));
    }

    pub(super) fn remove(&mut self, subject: &str, version: i32) {
        if let Some(versions) = self.subjects.get_mut(subject) {
            versions.remove(&version);
            if versions.is_empty() {
                self.subjects.remove(subject);
            }
        }
    }

    pub(super) fn last_id(&self) -> SchemaId {
        self.schemas.keys().next_back().copied().unwrap_or(0)
    }

    pub(super) fn last_version(&self, subject: &str) -> i32 {
        self.entries(subject).last().map_or(0, |e| e.version)
    }

    pub(super) fn schema(&self, id: SchemaId) -> Option<Arc<RegisteredSchema>> {
        self.schemas.get(&id).cloned()
    }

    pub(super) fn by_identity(&self, identity: &str) -> Option<Arc<RegisteredSchema>> {
        self.identities.get(identity).and_then(|id| self.schema(*id))
    }

    /// All versions of a subject, ascending.
    pub(super) fn entries(&self, subject: &str) -> impl Iterator<Item = Entry> + '_ {
        let versions = self.subjects.get(subject).into_iter().flatten();
        versions.map(|(version, (id, deleted))| Entry { version: *version, id: *id, deleted: *deleted })
    }

    /// The versions that are not deleted, ascending.
    pub(super) fn live(&self, subject: &str) -> impl Iterator<Item = Entry> + '_ {
        self.entries(subject).filter(|e| !e.deleted)
    }

    /// The live version of a subject that has a schema.
    pub(super) fn version_of(&self, subject: &str, id: SchemaId) -> Option<i32> {
        self.live(subject).find(|e| e.id == id).map(|e| e.version)
    }

    pub(super) fn subjects(&self, deleted_too: bool) -> Vec<String> {
        let shown = |subject: &&String| deleted_too || self.live(subject).next().is_some();
        self.subjects.keys().filter(shown).cloned().collect()
    }

    pub(super) fn usages(&self, id: SchemaId) -> Vec<(String, i32)> {
        let mut usages = Vec::new();
        for subject in self.subjects.keys() {
            usages.extend(self.live(subject).filter(|e| e.id == id).map(|e| (subject.clone(), e.version)));
        }
        usages
    }

    /// A subject with a live version that refers to the given one.
    pub(super) fn referrer(&self, subject: &str, version: i32) -> Option<String> {
        let refers = |e: &Entry| {
            self.schemas.get(&e.id).is_some_and(|schema| {
                schema.references.iter().any(|r| r.subject == subject && r.version == version)
            })
        };
        self.subjects.keys().find(|name| self.live(name).any(|e| refers(&e))).cloned()
    }
}
