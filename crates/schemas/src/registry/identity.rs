//! What makes two schemas the same.
//!
//! Owns: the number that is equal for equal schemas.
//! Does not own: whether a schema is valid.
//! Invariants: schemas of one identity give the same columns to the same bytes.

use base::SchemaId;
use serde_json::Value;

use super::{Annotations, RegistryError, SCHEMA_BYTES_MAX, SchemaReference, SchemaType};
use crate::{avro, dialect, protobuf};

/// The identity of a schema whose references stand for the ids `referenced`: a hash of its type, normalized text and
/// references, and of what it is annotated with. White space and the spelling of numbers never count. The order of
/// members counts in JSON Schema, since columns follow it; Avro's attributes may come in any order; comments in Protobuf
/// do not count.
pub(super) fn of(
    schema_type: SchemaType,
    text: &str,
    references: &[SchemaReference],
    referenced: &[SchemaId],
    annotations: &Annotations,
) -> Result<u128, RegistryError> {
    let invalid = |reason| RegistryError::InvalidSchema { reason };
    if text.len() > SCHEMA_BYTES_MAX {
        let reason = format!("it is longer than {SCHEMA_BYTES_MAX} bytes");
        return Err(invalid(reason));
    }
    let normalized = match schema_type {
        SchemaType::Json => dialect::parse(text).map_err(invalid)?,
        SchemaType::Avro => avro::normalized(&avro::parse(text).map_err(invalid)?),
        SchemaType::Protobuf => Value::from(protobuf::normalized(text).map_err(invalid)?),
    };
    let references: Vec<Value> = references
        .iter()
        .zip(referenced)
        .map(|(r, id)| serde_json::json!([r.name, r.subject, r.version, id]))
        .collect();
    let whole = serde_json::json!([schema_type, normalized, references, annotations]).to_string();
    Ok(xxhash_rust::xxh3::xxh3_128(whole.as_bytes()))
}
