//! Payload bytes to Arrow.
//!
//! Owns: the type mapping and the decoder of each format.
//! Does not own: which schema a record has.
//! Invariants: no panic and bounded memory on any bytes; one bad value rejects its row, never its neighbours; what
//! is decoded depends on the value and the schema alone, never on the values around it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::registry::{ResolvedSchema, SchemaType};

mod avro;
mod budget;
mod column;
mod json;
mod number;
mod plan;
mod protobuf;
mod refused;
mod restrictions;
mod varint;

use column::StructColumn;
use refused::Refused;

pub use avro::ALIASES_KEY;
pub use json::inferred::{
    Era, INFERRED_COLUMNS_MAX, INFERRED_DEPTH_MAX, INFERRED_NAME_BYTES_MAX, Inferred, InferredRows, Shape,
};
pub use protobuf::FIELD_KEY;

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
    /// What the one column is called of a schema that is no record, message or object; none: such a schema is refused.
    pub bare_name: Option<String>,
}

/// The full name of the message that a value's message indexes (see [`crate::wire`]) stand for, to be given as
/// [`DecodeOptions::protobuf_name`].
pub fn protobuf_message(resolved: &ResolvedSchema, indexes: &[u32]) -> Result<String, SetupError> {
    let found = crate::protobuf::compile(resolved).and_then(|compiled| compiled.message_at(indexes));
    match found {
        Ok(message) => Ok(message.full_name().to_owned()),
        Err(reason) => Err(SetupError::Unsupported { id: resolved.schema.id, path: "$".into(), reason }),
    }
}

/// A compiled schema. Clones share it.
#[derive(Clone)]
pub struct Decoder(Arc<Format>);

/// The plan of each format.
enum Format {
    Avro(avro::Plan),
    Json(plan::Plan),
    Protobuf(protobuf::Plan),
}

/// Values that room is made for in advance, over all columns.
const RESERVED_VALUES_MAX: usize = 1 << 20;

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
        let format = match schema.schema_type {
            SchemaType::Avro => Format::Avro(avro::Plan::compile(resolved, options)?),
            SchemaType::Json => Format::Json(plan::Plan::compile(resolved, options)?),
            SchemaType::Protobuf => Format::Protobuf(protobuf::Plan::compile(resolved, options)?),
        };
        Ok(Self(Arc::new(format)))
    }

    /// The columns, in the schema's order.
    pub fn columns(&self) -> &SchemaRef {
        match &*self.0 {
            Format::Avro(plan) => &plan.columns,
            Format::Json(plan) => &plan.columns,
            Format::Protobuf(plan) => &plan.columns,
        }
    }

    /// Whether the schema is no record, message or object, but one value: there is one column.
    pub fn is_bare(&self) -> bool {
        match &*self.0 {
            Format::Avro(plan) => plan.is_bare,
            Format::Json(plan) => plan.is_bare,
            Format::Protobuf(_) => false,
        }
    }

    /// Decodes bare values, without the prefix of [`crate::wire`]; `None` is a null value (a tombstone), rejected as
    /// such. (A JSON value may have the prefix, since no JSON begins like it; the id in it is not looked at.)
    ///
    /// Avro and Protobuf: a value must have been written with this very schema, and wholly.
    ///
    /// JSON: a field that the schema does not require may be absent or null; every other value must fit its type. When
    /// a member occurs twice, both must fit and the last one counts.
    pub fn decode(&self, values: &[Option<&[u8]>]) -> Decoded {
        match &*self.0 {
            Format::Avro(plan) => {
                rows(&plan.columns, values, |root, _, bytes| avro::record(plan, root, bytes))
            }
            Format::Protobuf(plan) => {
                rows(&plan.columns, values, |root, _, bytes| protobuf::record(plan, root, bytes))
            }
            Format::Json(plan) => {
                let mut unescaped = Vec::new();
                rows(&plan.columns, values, |root, _, bytes| json::record(plan, root, bytes, &mut unescaped))
            }
        }
    }
}

/// Reads each value as a row with `read`, which is told the value's index.
fn rows(
    columns: &SchemaRef,
    values: &[Option<&[u8]>],
    mut read: impl FnMut(&mut StructColumn, usize, &[u8]) -> refused::Fit,
) -> Decoded {
    let capacity = values.len().min(RESERVED_VALUES_MAX / columns.fields().len().max(1));
    let mut root = StructColumn::new(columns.fields(), capacity);
    let mut rejected = Vec::new();
    for (row, value) in values.iter().enumerate() {
        let kept = root.len();
        let read = match value {
            None => Err(Refused::new(RejectCode::NullValue, "the record has no value".into())),
            Some(bytes) if bytes.len() > VALUE_BYTES_MAX => Err(refused::too_large(format!(
                "the value has {} bytes, more than {VALUE_BYTES_MAX}",
                bytes.len()
            ))),
            Some(bytes) => read(&mut root, row, bytes),
        };
        if let Err(refused) = read {
            root.truncate(kept);
            let (code, message) = refused.into_parts();
            rejected.push(Rejected { row, code, message });
        }
    }
    let rows = root.len();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = root
        .finish_children(columns.fields())
        .and_then(|(children, _)| RecordBatch::try_new_with_options(columns.clone(), children, &options))
        .expect("columns have the plan's types, equal lengths, ascending offsets and checked UTF-8");
    Decoded { batch, rejected }
}

#[cfg(test)]
mod tests;
