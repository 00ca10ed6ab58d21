//! The registry: subjects, versions, ids.
//!
//! Owns: what was registered, durably, in the control store's `SUBJECTS` space.
//! Does not own: HTTP (gateway/http/registry).
//! Invariants: registering the same schema under the same subject again returns the same id and version; ids are
//! global, start at 1, and the same schema text has the same id under every subject; an id never changes its schema.

use std::sync::Arc;

use base::{ErrorKind, Fault, SchemaId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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
    #[error("Subject '{subject}' was soft deleted. Set permanent=true to delete permanently")]
    SoftDeleted { subject: String },
    #[error("Subject '{subject}' was not deleted first before being permanently deleted")]
    NotSoftDeleted { subject: String },
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
            Self::SubjectNotFound(_) | Self::VersionNotFound { .. } | Self::SchemaNotFound(_) => {
                ErrorKind::NotFound
            }
            Self::SoftDeleted { .. } | Self::NotSoftDeleted { .. } => ErrorKind::Conflict,
            Self::InvalidSchema { .. } | Self::UnsupportedType(_) => ErrorKind::Invalid,
            Self::Control(e) => e.kind(),
        }
    }
}

/// The embedded registry. Clones share it.
#[derive(Debug, Clone)]
pub struct Registry {}

impl Registry {
    pub fn open(_control: storage::Control) -> Result<Self, RegistryError> {
        unimplemented!()
    }
    /// Registers, or finds what is registered already. Durable on return.
    pub fn register(&self, _subject: &str, _schema: NewSchema) -> Result<SubjectVersion, RegistryError> {
        unimplemented!()
    }
    /// Finds a schema under a subject without registering it.
    pub fn lookup(&self, _subject: &str, _schema: &NewSchema) -> Result<SubjectVersion, RegistryError> {
        unimplemented!()
    }
    /// Subjects, sorted; with the soft-deleted ones when asked.
    pub fn subjects(&self, _deleted_too: bool) -> Vec<String> {
        unimplemented!()
    }
    pub fn versions(&self, _subject: &str, _deleted_too: bool) -> Result<Vec<i32>, RegistryError> {
        unimplemented!()
    }
    pub fn version(&self, _subject: &str, _version: Version) -> Result<SubjectVersion, RegistryError> {
        unimplemented!()
    }
    pub fn by_id(&self, _id: SchemaId) -> Result<Arc<RegisteredSchema>, RegistryError> {
        unimplemented!()
    }
    /// Subjects and versions that use a schema.
    pub fn usages(&self, _id: SchemaId) -> Result<Vec<(String, i32)>, RegistryError> {
        unimplemented!()
    }
    /// Soft delete, or the permanent one that must follow it. Returns the deleted versions.
    pub fn delete_subject(&self, _subject: &str, _permanent: bool) -> Result<Vec<i32>, RegistryError> {
        unimplemented!()
    }
    pub fn delete_version(
        &self,
        _subject: &str,
        _version: Version,
        _permanent: bool,
    ) -> Result<i32, RegistryError> {
        unimplemented!()
    }
    /// Changes with every registration and deletion.
    pub fn watch(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }
}
