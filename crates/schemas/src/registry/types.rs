//! What the registry takes and gives, and what can go wrong.
//!
//! Owns: the words of requests and answers; limits; the errors.
//! Does not own: the registry's contents.
//! Invariants: an error names the subject, version or place in the schema that it is about.

use std::sync::Arc;

use base::{ErrorKind, Fault, SchemaId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

impl RegisteredSchema {
    /// The schema's GUID (a version 8 UUID): a function of its type, text and references alone, so that it is the
    /// same in every registry that was given the same.
    pub fn guid(&self) -> Uuid {
        let content = serde_json::json!([self.schema_type, self.schema, self.references]).to_string();
        uuid::Builder::from_custom_bytes(xxhash_rust::xxh3::xxh3_128(content.as_bytes()).to_be_bytes())
            .into_uuid()
    }
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
    #[error("Schema with GUID {0} not found")]
    GuidNotFound(Uuid),
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
    #[error("the registry's store failed")]
    Control(#[from] storage::ControlError),
}

impl Fault for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::SubjectNotFound(_)
            | Self::VersionNotFound { .. }
            | Self::SchemaNotFound(_)
            | Self::GuidNotFound(_)
            | Self::SchemaNotRegistered { .. } => ErrorKind::NotFound,
            Self::SoftDeleted { .. }
            | Self::NotSoftDeleted { .. }
            | Self::VersionSoftDeleted { .. }
            | Self::VersionNotSoftDeleted { .. }
            | Self::ReferenceExists { .. } => ErrorKind::Conflict,
            Self::InvalidSubject { .. } | Self::InvalidSchema { .. } => ErrorKind::Invalid,
            Self::Control(e) => e.kind(),
        }
    }
}
