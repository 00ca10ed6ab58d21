//! The registry: contexts, subjects, versions, ids.
//!
//! Owns: what was registered and set, durably, in the control store's `SUBJECTS` space.
//! Does not own: HTTP (gateway/http/registry); the rules of compatibility (`compatibility`).
//! Invariants: registering the same schema under the same subject again returns the same id and version; ids belong to a
//! context, start at 1, and the same schema has the same id under every subject of it (unless an import says otherwise);
//! an id never changes its schema and is kept when its last version is deleted for good (topics may hold records that
//! were decoded with it). Records are decoded with the schemas of the default context.

use std::sync::Arc;

use base::SchemaId;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use uuid::Uuid;

mod book;
mod contexts;
mod deletion;
mod forms;
mod identity;
mod record_name;
mod registration;
mod resolved;
mod settings;
mod types;

use book::{Book, Books, Entry, StoredVersion};
pub use contexts::DEFAULT_CONTEXT;
pub use forms::Form;
pub use registration::Registration;
pub use resolved::{ReferencedSchema, ResolvedSchema};
pub use settings::{ConfigChange, Mode, SubjectConfig};
pub use types::*;

/// The embedded registry, seen from one of its contexts: subjects and ids are those of the context. Clones share it. Reads are from memory; changes block for
/// about as long as an fsync.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    /// `.` or `.name`.
    context: Arc<str>,
}

#[derive(Debug)]
struct Shared {
    control: storage::Control,
    /// Held by a change from its decision until it is in the books: changes are one after the other.
    changing: Mutex<()>,
    books: RwLock<Books>,
    changes: watch::Sender<u64>,
}

impl Registry {
    /// Reads what was registered. The registry is seen from its default context.
    pub fn open(control: storage::Control) -> Result<Self, RegistryError> {
        let shared = Shared {
            books: RwLock::new(Books::load(&control)?),
            control,
            changing: Mutex::new(()),
            changes: watch::Sender::new(0),
        };
        Ok(Self { shared: Arc::new(shared), context: DEFAULT_CONTEXT.into() })
    }

    /// Subjects of the context, sorted, without the context's name; with the soft-deleted ones when asked.
    pub fn subjects(&self, deleted_too: bool) -> Vec<String> {
        self.book(|book| book.subjects(deleted_too))
    }

    /// Versions of a subject, ascending; with the soft-deleted ones when asked.
    pub fn versions(&self, subject: &str, deleted_too: bool) -> Result<Vec<i32>, RegistryError> {
        let versions: Vec<i32> = self.book(|book| {
            book.entries(subject).filter(|e| deleted_too || !e.deleted).map(|e| e.version).collect()
        });
        if versions.is_empty() {
            return Err(self.subject_not_found(subject));
        }
        Ok(versions)
    }

    /// One version that is not deleted.
    pub fn version(&self, subject: &str, version: Version) -> Result<SubjectVersion, RegistryError> {
        self.version_among(subject, version, false)
    }

    /// One version, of those that are not deleted or of all.
    pub fn version_among(
        &self,
        subject: &str,
        version: Version,
        deleted_too: bool,
    ) -> Result<SubjectVersion, RegistryError> {
        self.book(|book| {
            let among = || book.entries(subject).filter(|e| deleted_too || !e.deleted);
            let latest = among().last().ok_or_else(|| self.subject_not_found(subject))?;
            let entry = match version {
                Version::Latest => latest,
                Version::Number(number) => among()
                    .find(|e| e.version == number)
                    .ok_or_else(|| self.version_not_found(subject, number))?,
            };
            self.subject_version(book, subject, entry)
        })
    }

    /// All versions of the subjects of the context that begin with `prefix`, by subject and version.
    pub fn all_versions(&self, prefix: &str, deleted_too: bool, latest_only: bool) -> Vec<SubjectVersion> {
        self.book(|book| {
            let names = book.subjects(deleted_too).into_iter().filter(|name| name.starts_with(prefix));
            let versions = names.flat_map(|name| {
                let shown: Vec<Entry> = book.entries(&name).filter(|e| deleted_too || !e.deleted).collect();
                let from = if latest_only { shown.len().saturating_sub(1) } else { 0 };
                let found = shown.into_iter().skip(from);
                found.filter_map(|entry| self.subject_version(book, &name, entry).ok()).collect::<Vec<_>>()
            });
            versions.collect()
        })
    }

    /// A schema by its id; deleted ones too, since records may have been written with them.
    pub fn by_id(&self, id: SchemaId) -> Result<Arc<RegisteredSchema>, RegistryError> {
        self.book(|book| book.schema(id)).ok_or(RegistryError::SchemaNotFound(id))
    }

    /// A schema by its GUID; deleted ones too.
    pub fn by_guid(&self, guid: Uuid) -> Result<Arc<RegisteredSchema>, RegistryError> {
        self.book(|book| book.by_guid(guid)).ok_or(RegistryError::GuidNotFound(guid))
    }

    /// What was registered with a schema beside its text, by its id.
    pub fn annotations(&self, id: SchemaId) -> Result<Arc<Annotations>, RegistryError> {
        self.book(|book| book.known(id).map(|known| known.annotations.clone()))
            .ok_or(RegistryError::SchemaNotFound(id))
    }

    /// The highest id that was given.
    pub fn last_id(&self) -> SchemaId {
        self.book(Book::last_id)
    }

    /// Subjects and versions that use a schema, sorted; deleted versions only when asked.
    pub fn usages(&self, id: SchemaId, deleted_too: bool) -> Result<Vec<(String, i32)>, RegistryError> {
        self.book(|book| {
            book.schema(id).ok_or(RegistryError::SchemaNotFound(id))?;
            let usages = book.usages(id, deleted_too).into_iter();
            Ok(usages.map(|(subject, version)| (self.full_name(&subject), version)).collect())
        })
    }

    /// Whether any version of a subject, deleted ones included, has a schema: whether records may name it.
    pub fn is_used_by(&self, id: SchemaId, subject: &str) -> bool {
        self.book(|book| book.entries(subject).any(|entry| entry.id == id))
    }

    /// Ids of the schemas that refer to a version, ascending.
    pub fn referenced_by(&self, subject: &str, version: Version) -> Result<Vec<SchemaId>, RegistryError> {
        let found = self.version_among(subject, version, true)?;
        Ok(self.book(|book| book.referrers(subject, found.version)))
    }

    /// Changes with every registration, deletion and setting.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn announce(&self) {
        self.shared.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Reads the book of the context.
    fn book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(self.shared.books.read().of(&self.context))
    }

    fn subject_version(
        &self,
        book: &Book,
        subject: &str,
        entry: Entry,
    ) -> Result<SubjectVersion, RegistryError> {
        let known = book.known(entry.id).ok_or(RegistryError::SchemaNotFound(entry.id))?;
        Ok(SubjectVersion {
            subject: self.full_name(subject),
            version: entry.version,
            schema: known.schema.clone(),
            annotations: known.annotations.clone(),
            deleted: entry.deleted,
        })
    }

    fn subject_not_found(&self, subject: &str) -> RegistryError {
        RegistryError::SubjectNotFound(self.full_name(subject))
    }

    fn version_not_found(&self, subject: &str, version: i32) -> RegistryError {
        RegistryError::VersionNotFound { subject: self.full_name(subject), version: version.to_string() }
    }
}

fn check_subject(subject: &str) -> Result<(), RegistryError> {
    let reason = if subject.is_empty() {
        "it is empty".to_owned()
    } else if subject.len() > SUBJECT_BYTES_MAX {
        format!("it is longer than {SUBJECT_BYTES_MAX} bytes")
    } else if subject.chars().any(char::is_control) {
        "it has a control character".to_owned()
    } else if subject.starts_with(":.") {
        "what begins with `:.` names a context".to_owned()
    } else if subject == "__GLOBAL" || subject == "__EMPTY" {
        "the name is reserved".to_owned()
    } else {
        return Ok(());
    };
    Err(RegistryError::InvalidSubject { reason })
}

#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tests;
