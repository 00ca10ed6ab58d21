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
use uuid::Uuid;

use super::{REFERENCES_MAX, RegisteredSchema, RegistryError, SchemaReference, identity};

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
    schemas: BTreeMap<SchemaId, Known>,
    identities: HashMap<String, SchemaId>,
    guids: HashMap<Uuid, SchemaId>,
    subjects: BTreeMap<String, BTreeMap<i32, (SchemaId, bool)>>,
}

/// A schema, and the ids that its references stand for.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) schema: Arc<RegisteredSchema>,
    /// In the order of the schema's references. Fixed at registration: a subject that is deleted for good and
    /// registered anew has other schemas under the same versions.
    pub(super) referenced: Vec<SchemaId>,
}

/// A schema as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredSchema {
    #[serde(flatten)]
    schema: RegisteredSchema,
    /// See [`Known::referenced`]; absent where it was stored before ids were kept.
    #[serde(default)]
    referenced: Vec<SchemaId>,
}

impl Known {
    pub(super) fn stored(&self) -> StoredSchema {
        StoredSchema { schema: RegisteredSchema::clone(&self.schema), referenced: self.referenced.clone() }
    }
}

impl Book {
    pub(super) fn load(control: &storage::Control) -> Result<Self, RegistryError> {
        let mut book = Self::default();
        for (_, version) in control.scan_json::<StoredVersion>(SUBJECTS, VERSION_PREFIX)? {
            book.put(version);
        }
        for (_, StoredSchema { schema, mut referenced }) in control.scan_json(SUBJECTS, ID_PREFIX)? {
            if referenced.len() < schema.references.len() {
                let found = |r: &SchemaReference| book.entries(&r.subject).find(|e| e.version == r.version);
                referenced = schema.references.iter().map(|r| found(r).map_or(0, |e| e.id)).collect();
            }
            let identity = identity::of(schema.schema_type, &schema.schema, &schema.references, &referenced)?;
            book.add_schema(identity, Known { schema: Arc::new(schema), referenced });
        }
        Ok(book)
    }

    pub(super) fn add_schema(&mut self, identity: String, known: Known) {
        let id = known.schema.id;
        self.identities.insert(identity, id);
        self.guids.insert(known.schema.guid(), id);
        self.schemas.insert(id, known);
    }

    /// The ids that references stand for; every one must be a version that is not deleted.
    pub(super) fn referenced(&self, references: &[SchemaReference]) -> Result<Vec<SchemaId>, RegistryError> {
        let invalid = |reason| RegistryError::InvalidSchema { reason };
        if references.len() > REFERENCES_MAX {
            return Err(invalid(format!("it has more than {REFERENCES_MAX} references")));
        }
        let found = references.iter().map(|SchemaReference { name, subject, version }| {
            let entry = self.live(subject).find(|e| e.version == *version);
            entry.map(|e| e.id).ok_or_else(|| {
                invalid(format!(
                    "its reference {name} names version {version} of subject {subject}, which does not exist"
                ))
            })
        });
        found.collect()
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
        self.known(id).map(|known| known.schema.clone())
    }

    pub(super) fn known(&self, id: SchemaId) -> Option<&Known> {
        self.schemas.get(&id)
    }

    pub(super) fn by_guid(&self, guid: Uuid) -> Option<Arc<RegisteredSchema>> {
        self.guids.get(&guid).and_then(|id| self.schema(*id))
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
            self.schemas.get(&e.id).is_some_and(|known| {
                known.schema.references.iter().any(|r| r.subject == subject && r.version == version)
            })
        };
        self.subjects.keys().find(|name| self.live(name).any(|e| refers(&e))).cloned()
    }
}
