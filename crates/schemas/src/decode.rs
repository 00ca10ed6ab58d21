//! Payload bytes to Arrow.
//!
//! Owns: the type mapping and the decoder of each format. (JSON now; Avro and Protobuf are refused by name.)
//! Does not own: which schema a record has.
//! Invariants: no panic and bounded memory on any bytes; one bad value rejects its row, never its neighbours; what
//! is decoded depends on the value and the schema alone, never on the values around it.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::registry::{ResolvedSchema, SchemaType};

mod column;
mod json;
mod number;
mod plan;
mod restrictions;

use plan::Plan;

/// Longest value that is decoded, in bytes.
pub const VALUE_BYTES_MAX: usize = 32 << 20;
/// Deepest nesting of a value.
pub const VALUE_DEPTH_MAX: usize = 64;

/// A schema that cannot become columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    #[error("schema {id}: {path}: {reason}")]
    Unsupported { id: i32, path: String, reason: String },
}

/// Why a value was rejected: a word for the dead-letter table's `error.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectCode {
    /// No value where the mode needs one.
    NullValue,
    /// The bytes do not parse.
    Malformed,
    /// They parse, but do not fit the schema.
    SchemaMismatch,
    /// Deeper or larger than allowed.
    TooLarge,
}

impl RejectCode {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NullValue => "null_value",
            Self::Malformed => "malformed",
            Self::SchemaMismatch => "schema_mismatch",
            Self::TooLarge => "too_large",
        }
    }
}

/// A value that is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Index into the values that were given.
    pub row: usize,
    pub code: RejectCode,
    /// Names the field and what was found there.
    pub message: String,
}

/// What became of some values.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The accepted rows, in order.
    pub batch: RecordBatch,
    /// Sorted by row.
    pub rejected: Vec<Rejected>,
}

/// What a schema alone does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct DecodeOptions {
    /// Full name of the message that values hold; none: the first one of the file.
    pub protobuf_name: Option<String>,
}

/// The full name of the message that a value's message indexes (see [`crate::wire`]) stand for, to be given as
/// [`DecodeOptions::protobuf_name`].
pub fn protobuf_message(resolved: &ResolvedSchema, _indexes: &[u32]) -> Result<String, SetupError> {
    let reason = "PROTOBUF is not decoded yet: register a JSON schema".into();
    Err(SetupError::Unsupported { id: resolved.schema.id, path: "$".into(), reason })
}

/// A compiled schema. Clones share it.
#[derive(Clone)]
pub struct Decoder(Arc<Plan>);

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("columns", self.columns()).finish_non_exhaustive()
    }
}

impl Decoder {
    /// Compiles a schema to columns, all of them nullable. The type mapping is each format's (module docs of `plan`).
    pub fn new(resolved: &ResolvedSchema, options: &DecodeOptions) -> Result<Self, SetupError> {
        let schema = &resolved.schema;
        let unsupported =
            |reason: String| SetupError::Unsupported { id: schema.id, path: "$".into(), reason };
        if options.protobuf_name.is_some() && schema.schema_type != SchemaType::Protobuf {
            return Err(unsupported("`protobuf_name` is for schemas of type PROTOBUF".into()));
        }
        match schema.schema_type {
            SchemaType::Json => Plan::compile(schema).map(|plan| Self(Arc::new(plan))),
            SchemaType::Avro => Err(unsupported("AVRO is not decoded yet: register a JSON schema".into())),
            SchemaType::Protobuf => {
                Err(unsupported("PROTOBUF is not decoded yet: register a JSON schema".into()))
            }
        }
    }

    /// The columns, in the schema's order.
    pub fn columns(&self) -> &SchemaRef {
        &self.0.columns
    }

    /// Decodes values; `None` is a null value (a tombstone), rejected as such. A value in Confluent's wire format
    /// (0x00, four bytes of schema id, JSON) is taken too: its id is not looked at.
    ///
    /// A field that the schema does not require may be absent or null; every other value must fit its type. When a
    /// member occurs twice, both must fit and the last one counts.
    pub fn decode(&self, values: &[Option<&[u8]>]) -> Decoded {
        json::decode(&self.0, values)
    }
}

#[cfg(test)]
mod tests;
