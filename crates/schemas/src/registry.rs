//! The registry: subjects, versions, ids.
//!
//! Owns: what was registered, durably, in the control store's `SUBJECTS` space.
//! Does not own: HTTP (gateway/http/registry).
//! Invariants: registering the same schema under the same subject again returns the same id and version; ids are
//! global, start at 1, and the same schema text has the same id under every subject; an id never changes its schema
//! and is kept when its last version is deleted for good (topics may hold records that were decoded with it).

use std::collections::HashMap;
use std::sync::Arc;

use base::{ErrorKind, Fault, SchemaId};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use storage::layout::SUBJECTS;
use tokio::sync::watch;

use crate::dialect;

mod book;

use book::{Book, Entry, StoredVersion};

/// Longest schema text, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// Longest subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 1024;
/// Most references of one schema.
pub const REFERENCES_MAX: usize = 64;

/// Kind of schema, in Confluent's words (`AVRO` is the default there).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SchemaType {
    #[serde(rename = "AVRO")]
    Avro,
    #[serde(rename = "JSON")]
    Json,
    #[serde(rename = "PROTOBUF")]
    Protobuf,
}

/// A reference to another registered schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaReference {
    pub name: String,
    pub subject: String,
    pub version: i32,
}

/// A schema to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchema {
    pub schema_type: SchemaType,
    pub schema: String,
    pub references: Vec<SchemaReference>,
}

/// A schema that has an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredSchema {
    pub id: SchemaId,
    pub schema_type: SchemaType,
    pub schema: String,
    pub references: Vec<SchemaReference>,
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectVersion {
    pub subject: String,
    /// From 1.
    pub version: i32,
    pub schema: Arc<RegisteredSchema>,
}

/// Which version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Number(i32),
    /// The highest one that is not deleted.
    Latest,
}

/// A registry request that cannot be met. The door maps these to Confluent's error codes.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("Subject '{0}' not found.")]
    SubjectNotFound(String),
    #[error("Version {version} of subject '{subject}' not found.")]
    VersionNotFound { subject: String, version: String },
    #[error("Schema {0} not found")]
    SchemaNotFound(SchemaId),
    /// The subject exists, but has no version with that schema.
    #[error("Schema not found under subject '{subject}'")]
    SchemaNotRegistered { subject: String },
    #[error("Subject '{subject}' was soft deleted. Set permanent=true to delete permanently")]
    SoftDeleted { subject: String },
    #[error("Subject '{subject}' was not deleted first before being permanently deleted")]
    NotSoftDeleted { subject: String },
    #[error(
        "Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently"
    )]
    VersionSoftDeleted { subject: String, version: i32 },
    #[error("Subject '{subject}' Version {version} was not deleted first before being permanently deleted")]
    VersionNotSoftDeleted { subject: String, version: i32 },
    /// Another schema refers to the version that should go (Confluent: 42206).
    #[error("Subject '{subject}' Version {version} is referred to by subject '{by}': delete that one first")]
    ReferenceExists { subject: String, version: i32, by: String },
    #[error("Invalid subject: {reason}")]
    InvalidSubject { reason: String },
    #[error("Invalid schema: {reason}")]
    InvalidSchema { reason: String },
    #[error("Schema type {0} is not supported yet: register a JSON schema")]
    UnsupportedType(String),
    #[error("the registry's store failed")]
    Control(#[from] storage::ControlError),
}

impl Fault for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::SubjectNotFound(_)
            | Self::VersionNotFound { .. }
            | Self::SchemaNotFound(_)
            | Self::SchemaNotRegistered { .. } => ErrorKind::NotFound,
            Self::SoftDeleted { .. }
            | Self::NotSoftDeleted { .. }
            | Self::VersionSoftDeleted { .. }
            | Self::VersionNotSoftDeleted { .. }
            | Self::ReferenceExists { .. } => ErrorKind::Conflict,
            Self::InvalidSubject { .. } | Self::InvalidSchema { .. } | Self::UnsupportedType(_) => {
                ErrorKind::Invalid
            }
            Self::Control(e) => e.kind(),
        }
    }
}

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
    schema: NewSchema,
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
            self.check_references(&book, &checked.schema.references)?;
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
            Arc::new(RegisteredSchema {
                id: next_id,
                schema_type: checked.schema.schema_type,
                schema: checked.schema.schema,
                references: checked.schema.references,
            })
        });
        let stored = StoredVersion { subject: subject.to_owned(), version, id: schema.id, deleted: false };
        self.0.control.transact::<_, RegistryError>(|tx| {
            if is_new {
                tx.put_json(SUBJECTS, &book::id_key(schema.id), &*schema)?;
            }
            Ok(tx.put_json(SUBJECTS, &stored.key(), &stored)?)
        })?;
        let mut book = self.0.book.write();
        if is_new {
            book.add_schema(checked.identity, schema.clone());
        }
        book.put(stored);
        drop(book);
        self.announce();
        Ok(SubjectVersion { subject: subject.to_owned(), version, schema })
    }

    /// Finds a schema under a subject without registering it.
    pub fn lookup(&self, subject: &str, schema: &NewSchema) -> Result<SubjectVersion, RegistryError> {
        let identity = book::identity_of(schema)?;
        let book = self.0.book.read();
        if book.live(subject).next().is_none() {
            return Err(RegistryError::SubjectNotFound(subject.to_owned()));
        }
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

    /// Everything that can be wrong with a schema, before any lock is taken.
    fn check(&self, schema: NewSchema) -> Result<Checked, RegistryError> {
        let identity = book::identity_of(&schema)?;
        let invalid = |reason: String| RegistryError::InvalidSchema { reason };
        let document = dialect::parse(&schema.schema).map_err(invalid)?;
        let draft = dialect::draft_of(&document).map_err(invalid)?;
        dialect::check(&document, draft).map_err(invalid)?;
        let referred = self.referred_documents(&schema.references)?;
        dialect::compile(&document, draft, referred).map_err(invalid)?;
        Ok(Checked { schema, identity })
    }

    /// The documents a schema refers to, and those that they refer to, by name.
    fn referred_documents(
        &self,
        references: &[SchemaReference],
    ) -> Result<HashMap<String, serde_json::Value>, RegistryError> {
        let book = self.0.book.read();
        self.check_references(&book, references)?;
        let mut found = HashMap::new();
        let mut open: Vec<SchemaReference> = references.to_vec();
        while let Some(reference) = open.pop() {
            if found.contains_key(&reference.name) {
                continue;
            }
            if found.len() == REFERENCES_MAX {
                let reason = format!("it refers to more than {REFERENCES_MAX} schemas");
                return Err(RegistryError::InvalidSchema { reason });
            }
            let entry = book.entries(&reference.subject).find(|e| e.version == reference.version);
            let Some(schema) = entry.and_then(|e| book.schema(e.id)) else { continue };
            let document =
                dialect::parse(&schema.schema).map_err(|reason| RegistryError::InvalidSchema { reason })?;
            found.insert(reference.name, document);
            open.extend(schema.references.iter().cloned());
        }
        Ok(found)
    }

    fn check_references(&self, book: &Book, references: &[SchemaReference]) -> Result<(), RegistryError> {
        if references.len() > REFERENCES_MAX {
            let reason = format!("it has more than {REFERENCES_MAX} references");
            return Err(RegistryError::InvalidSchema { reason });
        }
        for SchemaReference { name, subject, version } in references {
            if !book.live(subject).any(|e| e.version == *version) {
                let reason = format!(
                    "its reference {name} names version {version} of subject {subject}, which does not exist"
                );
                return Err(RegistryError::InvalidSchema { reason });
            }
        }
        Ok(())
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
