//! The registry's contents in memory, and their form in the control store.
//!
//! Owns: the keys and values of the `SUBJECTS` space; the indexes over them.
//! Does not own: what may be registered or deleted.
//! Invariants: mirrors the control store; every version's id has a schema. What lies in the default context has the keys
//! that it had before there were others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use base::SchemaId;
use serde::{Deserialize, Serialize};
use storage::layout::SUBJECTS;
use uuid::Uuid;

use super::contexts::{DEFAULT_CONTEXT, split};
use super::settings::{Mode, StoredSettings, SubjectConfig};
use super::{Annotations, REFERENCES_MAX, RegisteredSchema, RegistryError, SchemaReference, identity};

const CONTEXT_PREFIX: &str = "context/";
const ID_PREFIX: &str = "id/";
const VERSION_PREFIX: &str = "version/";
const SETTINGS_PREFIX: &str = "settings/";

/// Where everything of a context lies. Names of contexts have no slash.
pub(super) fn context_prefix(context: &str) -> String {
    match context {
        DEFAULT_CONTEXT => String::new(),
        context => format!("{CONTEXT_PREFIX}{context}/"),
    }
}

/// Key of a schema.
pub(super) fn id_key(context: &str, id: SchemaId) -> String {
    format!("{}{ID_PREFIX}{id:010}", context_prefix(context))
}

/// Key of the settings of a subject, or of the context with an empty one.
pub(super) fn settings_key(context: &str, subject: &str) -> String {
    format!("{}{SETTINGS_PREFIX}{subject}", context_prefix(context))
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
    pub(super) fn key(&self, context: &str) -> String {
        format!("{}{VERSION_PREFIX}{}/{:010}", context_prefix(context), self.subject, self.version)
    }
}

/// A version within its subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) version: i32,
    pub(super) id: SchemaId,
    pub(super) deleted: bool,
}

/// The books of all contexts.
#[derive(Debug, Default)]
pub(super) struct Books(BTreeMap<String, Book>);

impl Books {
    pub(super) fn load(control: &storage::Control) -> Result<Self, RegistryError> {
        let mut books = Self::default();
        books.0.insert(DEFAULT_CONTEXT.into(), Book::load(control, DEFAULT_CONTEXT)?);
        for (key, _) in control.scan(SUBJECTS, CONTEXT_PREFIX)? {
            let context = key.strip_prefix(CONTEXT_PREFIX).and_then(|rest| rest.split_once('/'));
            if let Some((context, _)) = context.filter(|(context, _)| !books.0.contains_key(*context)) {
                books.0.insert(context.to_owned(), Book::load(control, context)?);
            }
        }
        Ok(books)
    }

    pub(super) fn of(&self, context: &str) -> &Book {
        static EMPTY: LazyLock<Book> = LazyLock::new(Book::default);
        self.0.get(context).unwrap_or(&EMPTY)
    }

    pub(super) fn of_mut(&mut self, context: &str) -> &mut Book {
        self.0.entry(context.to_owned()).or_default()
    }

    pub(super) fn contexts(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, context: &str) -> bool {
        self.0.contains_key(context)
    }

    pub(super) fn forget(&mut self, context: &str) {
        self.0.remove(context);
    }
}

/// Everything that is in one context.
#[derive(Debug, Default)]
pub(super) struct Book {
    schemas: BTreeMap<SchemaId, Known>,
    identities: HashMap<u128, SchemaId>,
    guids: HashMap<Uuid, SchemaId>,
    subjects: BTreeMap<String, BTreeMap<i32, (SchemaId, bool)>>,
    /// By subject; under the empty one those of the context.
    settings: BTreeMap<String, StoredSettings>,
}

/// A schema, and the ids that its references stand for.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) schema: Arc<RegisteredSchema>,
    pub(super) annotations: Arc<Annotations>,
    /// In the order of the schema's references. Fixed at registration: a subject that is deleted for good and
    /// registered anew has other schemas under the same versions.
    pub(super) referenced: Vec<SchemaId>,
    /// See [`identity::of`].
    pub(super) identity: u128,
}

/// A schema as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredSchema {
    #[serde(flatten)]
    schema: RegisteredSchema,
    /// See [`Known::referenced`]; absent where it was stored before ids were kept.
    #[serde(default)]
    referenced: Vec<SchemaId>,
    #[serde(default, flatten)]
    annotations: Annotations,
}

impl Known {
    pub(super) fn stored(&self) -> StoredSchema {
        StoredSchema {
            schema: RegisteredSchema::clone(&self.schema),
            referenced: self.referenced.clone(),
            annotations: Annotations::clone(&self.annotations),
        }
    }
}

impl Book {
    fn load(control: &storage::Control, context: &str) -> Result<Self, RegistryError> {
        let mut book = Self::default();
        let within = |prefix: &str| format!("{}{prefix}", context_prefix(context));
        for (_, version) in control.scan_json::<StoredVersion>(SUBJECTS, &within(VERSION_PREFIX))? {
            book.put(version);
        }
        for (_, stored) in control.scan_json(SUBJECTS, &within(ID_PREFIX))? {
            let StoredSchema { schema, mut referenced, annotations } = stored;
            if referenced.len() < schema.references.len() {
                let found = |r: &SchemaReference| book.entries(&r.subject).find(|e| e.version == r.version);
                referenced = schema.references.iter().map(|r| found(r).map_or(0, |e| e.id)).collect();
            }
            let identity = identity::of(
                schema.schema_type,
                &schema.schema,
                &schema.references,
                &referenced,
                &annotations,
            )?;
            let (schema, annotations) = (Arc::new(schema), Arc::new(annotations));
            book.add_schema(Known { schema, annotations, referenced, identity });
        }
        let prefix = within(SETTINGS_PREFIX);
        for (key, settings) in control.scan_json::<StoredSettings>(SUBJECTS, &prefix)? {
            book.set(key.strip_prefix(&prefix).unwrap_or_default(), settings);
        }
        Ok(book)
    }

    pub(super) fn add_schema(&mut self, known: Known) {
        let id = known.schema.id;
        // An import may give one schema a second id: the first one goes on standing for it.
        self.identities.entry(known.identity).or_insert(id);
        self.guids.entry(known.annotations.guid_of(&known.schema)).or_insert(id);
        self.schemas.insert(id, known);
    }

    /// The ids that references stand for; every one must be a version that is not deleted.
    pub(super) fn referenced(
        &self,
        context: &str,
        references: &[SchemaReference],
    ) -> Result<Vec<SchemaId>, RegistryError> {
        let invalid = |reason| RegistryError::InvalidSchema { reason };
        if references.len() > REFERENCES_MAX {
            return Err(invalid(format!("it has more than {REFERENCES_MAX} references")));
        }
        let found = references.iter().map(|SchemaReference { name, subject, version }| {
            let (elsewhere, bare) = split(subject);
            if elsewhere.is_some_and(|named| named != context) {
                return Err(invalid(format!(
                    "its reference {name} leads into another context, {subject}: references stay within theirs"
                )));
            }
            let entry = match version {
                -1 => self.live(bare).last(),
                version => self.live(bare).find(|e| e.version == *version),
            };
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

    pub(super) fn by_identity(&self, identity: u128) -> Option<&Known> {
        self.identities.get(&identity).and_then(|id| self.known(*id))
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

    pub(super) fn subjects(&self, deleted_too: bool) -> Vec<String> {
        let shown = |subject: &&String| deleted_too || self.live(subject).next().is_some();
        self.subjects.keys().filter(shown).cloned().collect()
    }

    pub(super) fn usages(&self, id: SchemaId, deleted_too: bool) -> Vec<(String, i32)> {
        let mut usages = Vec::new();
        for subject in self.subjects.keys() {
            let entries = self.entries(subject).filter(|e| e.id == id && (deleted_too || !e.deleted));
            usages.extend(entries.map(|e| (subject.clone(), e.version)));
        }
        usages
    }

    fn refers(&self, entry: &Entry, subject: &str, version: i32) -> bool {
        let is = |(reference, id): (&SchemaReference, &SchemaId)| {
            let named = reference.version == version || reference.version == -1;
            split(&reference.subject).1 == subject
                && named
                && self.entries(subject).any(|e| e.version == version && e.id == *id)
        };
        self.known(entry.id)
            .is_some_and(|known| known.schema.references.iter().zip(&known.referenced).any(is))
    }

    /// A subject with a live version that refers to the given one.
    pub(super) fn referrer(&self, subject: &str, version: i32) -> Option<String> {
        self.subjects.keys().find(|name| self.live(name).any(|e| self.refers(&e, subject, version))).cloned()
    }

    /// Ids of the schemas of live versions that refer to the given one.
    pub(super) fn referrers(&self, subject: &str, version: i32) -> Vec<SchemaId> {
        let names = self.subjects.keys();
        let mut ids: Vec<SchemaId> = names
            .flat_map(|name| self.live(name).filter(|e| self.refers(e, subject, version)).map(|e| e.id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(super) fn settings(&self, subject: &str) -> Option<&StoredSettings> {
        self.settings.get(subject)
    }

    pub(super) fn config(&self, subject: &str) -> Option<&SubjectConfig> {
        self.settings(subject).and_then(|settings| settings.config.as_ref())
    }

    pub(super) fn mode(&self, subject: &str) -> Option<Mode> {
        self.settings(subject).and_then(|settings| settings.mode)
    }

    pub(super) fn set(&mut self, subject: &str, settings: StoredSettings) {
        if settings.is_empty() {
            self.settings.remove(subject);
        } else {
            self.settings.insert(subject.to_owned(), settings);
        }
    }
}
