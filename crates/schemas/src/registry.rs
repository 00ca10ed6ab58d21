//! The registry: subjects, versions, ids.
//!
//! Owns: what was registered, durably, in the control store's `SUBJECTS` space.
//! Does not own: HTTP (gateway/http/registry).
//! Invariants: registering the same schema under the same subject again returns the same id and version; ids are
//! global, start at 1, and the same schema text has the same id under every subject; an id never changes its schema
//! and is kept when its last version is deleted for good (topics may hold records that were decoded with it).

use std::sync::Arc;

use base::SchemaId;
use parking_lot::{Mutex, RwLock};
use storage::layout::SUBJECTS;
use tokio::sync::watch;
use uuid::Uuid;

use crate::validity;

mod book;
mod identity;
mod resolved;
mod types;

use book::{Book, Entry, Known, StoredVersion};
pub use resolved::{ReferencedSchema, ResolvedSchema};
pub use types::*;

/// The embedded registry. Clones share it. Reads are from memory; changes block for about as long as an fsync.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    control: storage::Control,
    /// Held by a change from its decision until it is in the book: changes are one after the other.
    changing: Mutex<()>,
    book: RwLock<Book>,
    changes: watch::Sender<u64>,
}

/// A schema that passed all checks.
struct Checked {
    /// Its id is not known yet.
    resolved: ResolvedSchema,
    /// What its references stand for.
    referenced: Vec<SchemaId>,
    /// What makes two schemas the same.
    identity: String,
}

impl Registry {
    /// Reads what was registered.
    pub fn open(control: storage::Control) -> Result<Self, RegistryError> {
        let book = Book::load(&control)?;
        let shared = Shared {
            control,
            changing: Mutex::new(()),
            book: RwLock::new(book),
            changes: watch::Sender::new(0),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Registers, or finds what is registered already. Durable on return.
    pub fn register(&self, subject: &str, schema: NewSchema) -> Result<SubjectVersion, RegistryError> {
        check_subject(subject)?;
        let checked = self.check(schema)?;
        let _one_at_a_time = self.0.changing.lock();
        let (known, next_id, version) = {
            let book = self.0.book.read();
            if book.referenced(&checked.resolved.schema.references)? != checked.referenced {
                let reason = "what it refers to was registered anew meanwhile: register it again".into();
                return Err(RegistryError::InvalidSchema { reason });
            }
            let known = book.by_identity(&checked.identity);
            if let Some(schema) = &known
                && let Some(version) = book.version_of(subject, schema.id)
            {
                return Ok(SubjectVersion { subject: subject.to_owned(), version, schema: schema.clone() });
            }
            (known, book.last_id() + 1, book.last_version(subject) + 1)
        };
        let is_new = known.is_none();
        let schema = known.unwrap_or_else(|| {
            let schema = Arc::unwrap_or_clone(checked.resolved.schema);
            Arc::new(RegisteredSchema { id: next_id, ..schema })
        });
        let known = Known { schema: schema.clone(), referenced: checked.referenced };
        let stored = StoredVersion { subject: subject.to_owned(), version, id: schema.id, deleted: false };
        self.0.control.transact::<_, RegistryError>(|tx| {
            if is_new {
                tx.put_json(SUBJECTS, &book::id_key(schema.id), &known.stored())?;
            }
            Ok(tx.put_json(SUBJECTS, &stored.key(), &stored)?)
        })?;
        let mut book = self.0.book.write();
        if is_new {
            book.add_schema(checked.identity, known);
        }
        book.put(stored);
        drop(book);
        self.announce();
        Ok(SubjectVersion { subject: subject.to_owned(), version, schema })
    }

    /// Checks a schema as `register` does and finds what it refers to, but registers nothing. Its id is 0.
    pub fn candidate(&self, schema: NewSchema) -> Result<ResolvedSchema, RegistryError> {
        self.check(schema).map(|checked| checked.resolved)
    }

    /// Finds a schema under a subject without registering it.
    pub fn lookup(&self, subject: &str, schema: &NewSchema) -> Result<SubjectVersion, RegistryError> {
        let book = self.0.book.read();
        if book.live(subject).next().is_none() {
            return Err(RegistryError::SubjectNotFound(subject.to_owned()));
        }
        let NewSchema { schema_type, schema, references } = schema;
        let referenced = book.referenced(references)?;
        let identity = identity::of(*schema_type, schema, references, &referenced)?;
        book.by_identity(&identity)
            .and_then(|schema| {
                let version = book.version_of(subject, schema.id)?;
                Some(SubjectVersion { subject: subject.to_owned(), version, schema })
            })
            .ok_or_else(|| RegistryError::SchemaNotRegistered { subject: subject.to_owned() })
    }

    /// Subjects, sorted; with the soft-deleted ones when asked.
    pub fn subjects(&self, deleted_too: bool) -> Vec<String> {
        self.0.book.read().subjects(deleted_too)
    }

    /// Versions of a subject, ascending; with the soft-deleted ones when asked.
    pub fn versions(&self, subject: &str, deleted_too: bool) -> Result<Vec<i32>, RegistryError> {
        let book = self.0.book.read();
        let versions: Vec<i32> =
            book.entries(subject).filter(|e| deleted_too || !e.deleted).map(|e| e.version).collect();
        if versions.is_empty() {
            return Err(RegistryError::SubjectNotFound(subject.to_owned()));
        }
        Ok(versions)
    }

    /// One version that is not deleted.
    pub fn version(&self, subject: &str, version: Version) -> Result<SubjectVersion, RegistryError> {
        let book = self.0.book.read();
        let latest =
            book.live(subject).last().ok_or_else(|| RegistryError::SubjectNotFound(subject.to_owned()))?;
        let entry = match version {
            Version::Latest => latest,
            Version::Number(number) => book
                .live(subject)
                .find(|e| e.version == number)
                .ok_or_else(|| version_not_found(subject, number))?,
        };
        let schema = book.schema(entry.id).ok_or(RegistryError::SchemaNotFound(entry.id))?;
        Ok(SubjectVersion { subject: subject.to_owned(), version: entry.version, schema })
    }

    /// A schema by its id; deleted ones too, since records may have been written with them.
    pub fn by_id(&self, id: SchemaId) -> Result<Arc<RegisteredSchema>, RegistryError> {
        self.0.book.read().schema(id).ok_or(RegistryError::SchemaNotFound(id))
    }

    /// A schema by its GUID; deleted ones too.
    pub fn by_guid(&self, guid: Uuid) -> Result<Arc<RegisteredSchema>, RegistryError> {
        self.0.book.read().by_guid(guid).ok_or(RegistryError::GuidNotFound(guid))
    }

    /// Subjects and versions that use a schema, sorted; deleted versions are left out.
    pub fn usages(&self, id: SchemaId) -> Result<Vec<(String, i32)>, RegistryError> {
        let book = self.0.book.read();
        book.schema(id).ok_or(RegistryError::SchemaNotFound(id))?;
        Ok(book.usages(id))
    }

    /// Soft delete, or the permanent one that must follow it. Returns the deleted versions.
    pub fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<i32>, RegistryError> {
        let _one_at_a_time = self.0.changing.lock();
        let (entries, live) = {
            let book = self.0.book.read();
            let entries: Vec<Entry> = book.entries(subject).collect();
            let live: Vec<Entry> = book.live(subject).collect();
            for entry in &live {
                check_unreferenced(&book, subject, entry.version)?;
            }
            (entries, live)
        };
        let subject = subject.to_owned();
        if entries.is_empty() {
            return Err(RegistryError::SubjectNotFound(subject));
        }
        match (permanent, live.is_empty()) {
            (false, true) => Err(RegistryError::SoftDeleted { subject }),
            (true, false) => Err(RegistryError::NotSoftDeleted { subject }),
            (false, false) => self.delete(&subject, &live, false),
            (true, true) => self.delete(&subject, &entries, true),
        }
    }

    /// Deletes one version, softly or for good; the latter only after the former. Returns the deleted version.
    pub fn delete_version(
        &self,
        subject: &str,
        version: Version,
        permanent: bool,
    ) -> Result<i32, RegistryError> {
        let _one_at_a_time = self.0.changing.lock();
        let entry = {
            let book = self.0.book.read();
            let last = book.live(subject).last().or_else(|| book.entries(subject).last());
            let last = last.ok_or_else(|| RegistryError::SubjectNotFound(subject.to_owned()))?;
            let entry = match version {
                Version::Latest => last,
                Version::Number(number) => book
                    .entries(subject)
                    .find(|e| e.version == number)
                    .ok_or_else(|| version_not_found(subject, number))?,
            };
            check_unreferenced(&book, subject, entry.version)?;
            entry
        };
        let (subject, version) = (subject.to_owned(), entry.version);
        match (permanent, entry.deleted) {
            (false, true) => Err(RegistryError::VersionSoftDeleted { subject, version }),
            (true, false) => Err(RegistryError::VersionNotSoftDeleted { subject, version }),
            _ => self.delete(&subject, &[entry], permanent).map(|_| version),
        }
    }

    /// Changes with every registration and deletion.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Deletes entries in one transaction; the caller holds `changing`.
    fn delete(&self, subject: &str, entries: &[Entry], permanent: bool) -> Result<Vec<i32>, RegistryError> {
        let stored: Vec<StoredVersion> = entries
            .iter()
            .map(|e| StoredVersion {
                subject: subject.to_owned(),
                version: e.version,
                id: e.id,
                deleted: true,
            })
            .collect();
        self.0.control.transact::<_, RegistryError>(|tx| {
            for version in &stored {
                if permanent {
                    tx.delete(SUBJECTS, &version.key())?;
                } else {
                    tx.put_json(SUBJECTS, &version.key(), version)?;
                }
            }
            Ok(())
        })?;
        let versions = stored.iter().map(|v| v.version).collect();
        let mut book = self.0.book.write();
        for version in stored {
            if permanent { book.remove(&version.subject, version.version) } else { book.put(version) }
        }
        drop(book);
        self.announce();
        Ok(versions)
    }

    fn announce(&self) {
        self.0.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Everything that can be wrong with a schema, before any lock is taken for long.
    fn check(&self, schema: NewSchema) -> Result<Checked, RegistryError> {
        let NewSchema { schema_type, schema, references } = schema;
        let (identity, referenced, resolved) = {
            let book = self.0.book.read();
            let referenced = book.referenced(&references)?;
            let identity = identity::of(schema_type, &schema, &references, &referenced)?;
            let schema = Arc::new(RegisteredSchema { id: 0, schema_type, schema, references });
            let resolved = resolved::resolve(&book, schema, &referenced);
            (identity, referenced, resolved)
        };
        let resolved = resolved.and_then(|r| validity::check(&r).map(|()| r));
        let resolved = resolved.map_err(|reason| RegistryError::InvalidSchema { reason })?;
        Ok(Checked { resolved, referenced, identity })
    }
}

fn version_not_found(subject: &str, version: i32) -> RegistryError {
    RegistryError::VersionNotFound { subject: subject.to_owned(), version: version.to_string() }
}

fn check_subject(subject: &str) -> Result<(), RegistryError> {
    let reason = if subject.is_empty() {
        "it is empty".to_owned()
    } else if subject.len() > SUBJECT_BYTES_MAX {
        format!("it is longer than {SUBJECT_BYTES_MAX} bytes")
    } else if subject.chars().any(char::is_control) {
        "it has a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(RegistryError::InvalidSubject { reason })
}

fn check_unreferenced(book: &Book, subject: &str, version: i32) -> Result<(), RegistryError> {
    match book.referrer(subject, version) {
        None => Ok(()),
        Some(by) => Err(RegistryError::ReferenceExists { subject: subject.to_owned(), version, by }),
    }
}

#[cfg(test)]
mod tests;
