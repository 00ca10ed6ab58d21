//! Schemas that records name.
//!
//! Owns: where a record names the schema of its key or value: in a header (`__key_schema_id`, `__value_schema_id`) or in
//! front of it; what is wrong when it does not.
//! Does not own: the bytes of such a name (schemas/wire), what a payload is.
//! Invariants: a header wins over what lies in front, as in Confluent's own readers.

use schemas::SchemaType;
use schemas::wire::{self, SchemaName, WireError};
use topics::batch::RecordView;

use super::RecordSchema;
use crate::mode::Side;

/// A payload and the schema it was written with.
pub(super) struct Framed<'r> {
    pub(super) schema: RecordSchema,
    /// Bare: what named the schema is taken off.
    pub(super) payload: &'r [u8],
}

/// Why a record's schema is not known.
pub(super) struct Unframed {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// The schema of one side of a record; none when the record has nothing there.
pub(super) fn framed<'r>(
    side: Side,
    record: &RecordView<'r>,
    registry: &schemas::Registry,
) -> Option<Result<Framed<'r>, Unframed>> {
    let (payload, header) = match side {
        Side::Key => (record.key?, wire::KEY_HEADER),
        Side::Value => (record.value?, wire::VALUE_HEADER),
    };
    let named = record.headers.iter().find(|(name, _)| *name == header.as_bytes());
    Some(match named {
        Some((_, value)) => taken_apart(&format!("header {header}"), value.unwrap_or_default(), registry)
            .map(|(schema, _)| Framed { schema, payload }),
        None => {
            taken_apart(side.as_str(), payload, registry).map(|(schema, payload)| Framed { schema, payload })
        }
    })
}

/// The schema, and what follows its name.
fn taken_apart<'b>(
    place: &str,
    bytes: &'b [u8],
    registry: &schemas::Registry,
) -> Result<(RecordSchema, &'b [u8]), Unframed> {
    let wire::Framed { schema, rest } = wire::split(bytes).map_err(|error| unnamed(place, error))?;
    let found = match schema {
        SchemaName::Id(id) => registry.by_id(id).map_err(|_| id),
        SchemaName::Guid(guid) => match registry.by_guid(guid) {
            Ok(schema) => Ok(schema),
            Err(error) => {
                let message = format!("{place}: {error}");
                return Err(Unframed { code: "unknown_schema_id", message });
            }
        },
    };
    match found {
        // That it is unknown is said where it is looked for.
        Err(id) => Ok((RecordSchema { id, indexes: Vec::new() }, rest)),
        Ok(schema) if schema.schema_type == SchemaType::Protobuf => {
            // A header may end with the GUID: the first message is meant.
            let split = if rest.is_empty() { Ok((vec![0], rest)) } else { wire::message_indexes(rest) };
            let (indexes, rest) = split.map_err(|error| unnamed(place, error))?;
            Ok((RecordSchema { id: schema.id, indexes }, rest))
        }
        Ok(schema) => Ok((RecordSchema { id: schema.id, indexes: Vec::new() }, rest)),
    }
}

fn unnamed(place: &str, error: WireError) -> Unframed {
    let message = format!("{place} does not name its schema as Confluent's serializers do: {error}");
    Unframed { code: "no_schema_id", message }
}
