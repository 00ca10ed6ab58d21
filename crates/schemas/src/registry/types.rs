//! What the registry takes and gives, and what can go wrong.
//!
//! Owns: the words of requests and answers; limits; the errors.
//! Does not own: the registry's contents.
//! Invariants: an error names the subject, version or place in the schema that it is about.

use std::collections::BTreeMap;
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
/// Most contexts.
pub const CONTEXTS_MAX: usize = 1000;
/// Longest metadata and rules of one schema, in bytes.
pub const ANNOTATION_BYTES_MAX: usize = 64 << 10;

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
        guid(&serde_json::json!([self.schema_type, self.schema, self.references]))
    }
}

fn guid(content: &serde_json::Value) -> Uuid {
    let hash = xxhash_rust::xxh3::xxh3_128(content.to_string().as_bytes());
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid()
}

/// What a schema was registered with beside its text. Kept and given back; rules are carried out by clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotations {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_set: Option<RuleSet>,
}

/// Confluent's metadata of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Tags by path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<BTreeMap<String, String>>,
    /// Names of properties that are secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<Vec<String>>,
}

/// Confluent's rules of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleSet {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_rules: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_rules: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding_rules: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
}

impl Annotations {
    /// The GUID of a schema that has these.
    pub fn guid_of(&self, schema: &RegisteredSchema) -> Uuid {
        if *self == Self::default() {
            return schema.guid();
        }
        let content = serde_json::json!([schema.schema_type, schema.schema, schema.references, self]);
        guid(&content)
    }

    /// The value of a metadata property.
    pub(crate) fn property(&self, name: Option<&str>) -> Option<&String> {
        self.metadata.as_ref()?.properties.as_ref()?.get(name?)
    }

    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        if *self != Self::default() && serde_json::json!(self).to_string().len() > ANNOTATION_BYTES_MAX {
            let reason = format!("its metadata and rules are longer than {ANNOTATION_BYTES_MAX} bytes");
            return Err(RegistryError::InvalidSchema { reason });
        }
        Ok(())
    }
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectVersion {
    /// Qualified with its context, unless that is the default one.
    pub subject: String,
    /// From 1.
    pub version: i32,
    pub schema: Arc<RegisteredSchema>,
    pub annotations: Arc<Annotations>,
    pub deleted: bool,
}

impl SubjectVersion {
    /// See [`RegisteredSchema::guid`].
    pub fn guid(&self) -> Uuid {
        self.annotations.guid_of(&self.schema)
    }
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
    #[error(
        "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{}]",
        details.join(", ")
    )]
    Incompatible { subject: String, details: Vec<String> },
    /// The mode does not allow it (Confluent: 42205).
    #[error("{reason}")]
    NotPermitted { reason: String },
    /// An import whose id differs from the one that the schema has (Confluent: 42207).
    #[error("{reason}")]
    IdDoesNotMatch { reason: String },
    #[error(
        "The specified version '{0}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
    )]
    InvalidVersion(String),
    #[error("Context '{0}' not found.")]
    ContextNotFound(String),
    #[error("Context '{0}' is not empty: delete its subjects first, permanently")]
    ContextNotEmpty(String),
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
            | Self::ContextNotFound(_)
            | Self::VersionNotFound { .. }
            | Self::SchemaNotFound(_)
            | Self::GuidNotFound(_)
            | Self::SchemaNotRegistered { .. } => ErrorKind::NotFound,
            Self::SoftDeleted { .. }
            | Self::NotSoftDeleted { .. }
            | Self::VersionSoftDeleted { .. }
            | Self::VersionNotSoftDeleted { .. }
            | Self::ReferenceExists { .. }
            | Self::Incompatible { .. }
            | Self::NotPermitted { .. }
            | Self::IdDoesNotMatch { .. }
            | Self::ContextNotEmpty(_) => ErrorKind::Conflict,
            Self::InvalidSubject { .. } | Self::InvalidSchema { .. } | Self::InvalidVersion(_) => {
                ErrorKind::Invalid
            }
            Self::Control(e) => e.kind(),
        }
    }
}
