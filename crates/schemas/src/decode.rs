//! Payload bytes to Arrow.
//!
//! Owns: the type mapping and the decoder of each format. (JSON now; Avro and Protobuf are refused by name.)
//! Does not own: which schema a record has.
//! Invariants: no panic and bounded memory on any bytes; one bad value rejects its row, never its neighbours.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::registry::RegisteredSchema;

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

/// A compiled schema.
#[derive(Debug, Clone)]
pub struct Decoder {}

impl Decoder {
    /// Compiles a schema: JSON Schema types of `ecosystem.md` §5.1 (integer → Int64, number → Float64, string → Utf8,
    /// format date-time → Timestamp(µs, "+00:00"), date → Date32, time → Time64(µs), boolean, object → Struct or Map,
    /// array → List), all columns nullable.
    pub fn new(_schema: &RegisteredSchema) -> Result<Self, SetupError> {
        unimplemented!()
    }
    /// The columns, in the schema's order.
    pub fn columns(&self) -> &SchemaRef {
        unimplemented!()
    }
    /// Decodes values; `None` is a null value (a tombstone), rejected as such.
    pub fn decode(&self, _values: &[Option<&[u8]>]) -> Decoded {
        unimplemented!()
    }
}
