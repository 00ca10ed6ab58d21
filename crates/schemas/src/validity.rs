//! Whether a schema and all it refers to are valid in their format.
//!
//! Owns: which judge is asked for which format.
//! Does not own: the judges (`dialect` for JSON Schema, `avro`, `protobuf`); whether the schema can become columns (`decode`): a registry
//! takes what is valid.

use std::collections::HashMap;

use serde_json::Value;

use crate::registry::{ReferencedSchema, ResolvedSchema, SchemaType};
use crate::{avro, dialect, protobuf};

/// Whether a registry would take a schema; else what is wrong with it and where.
pub fn check(resolved: &ResolvedSchema) -> Result<(), String> {
    let wanted = resolved.schema.schema_type;
    if let Some(other) = resolved.references.iter().find(|r| r.schema.schema_type != wanted) {
        return Err(format!("its reference {} is no schema of the same type", other.name));
    }
    match wanted {
        SchemaType::Json => {
            let document = dialect::parse(&resolved.schema.schema)?;
            let draft = dialect::draft_of(&document)?;
            dialect::check(&document, draft)?;
            dialect::compile(&document, draft, documents(&resolved.references)?).map(|_| ())
        }
        SchemaType::Avro => avro::check(resolved),
        SchemaType::Protobuf => protobuf::compile(resolved).map(|_| ()),
    }
}

/// The JSON documents that a schema refers to, by name.
pub(crate) fn documents(references: &[ReferencedSchema]) -> Result<HashMap<String, Value>, String> {
    let parsed = references.iter().map(|r| {
        let document = dialect::parse(&r.schema.schema).map_err(|e| format!("reference {}: {e}", r.name))?;
        Ok((r.name.clone(), document))
    });
    parsed.collect()
}
