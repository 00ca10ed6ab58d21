//! Schemas as the registry answers with them.
//!
//! Owns: which fields an answer has; what is left out because it is the default.

use schemas::{Annotations, Form, RegisteredSchema, Registry, RegistryError, SchemaType, SubjectVersion};
use serde_json::{Map, Value, json};

use super::super::errors::RegistryFault;
use super::request::Target;

/// The form that `format` asks for.
pub(super) fn form(target: &Target) -> Result<Form, RegistryFault> {
    match target.text("format") {
        None | Some("" | "default") => Ok(Form::Text),
        Some("resolved") => Ok(Form::Resolved),
        Some("serialized") => Ok(Form::Serialized),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            Err(RegistryFault::invalid(
                42201,
                format!("format {other} is not served: use resolved (AVRO), serialized (PROTOBUF) or none"),
            ))
        }
    }
}

/// Adds what Confluent leaves out when it is the default: type `AVRO`, no references, no metadata and rules.
pub(super) fn with_schema(
    mut body: Map<String, Value>,
    registry: &Registry,
    (schema, annotations): (&RegisteredSchema, &Annotations),
    form: Form,
) -> Result<Value, RegistryError> {
    if schema.schema_type != SchemaType::Avro {
        body.insert("schemaType".into(), json!(schema.schema_type));
    }
    if !schema.references.is_empty() {
        body.insert("references".into(), json!(schema.references));
    }
    if let Some(metadata) = &annotations.metadata {
        body.insert("metadata".into(), json!(metadata));
    }
    if let Some(rules) = &annotations.rule_set {
        body.insert("ruleSet".into(), json!(rules));
    }
    let text = match form {
        Form::Text => schema.schema.clone(),
        form => registry.text_as(schema.id, form)?,
    };
    body.insert("schema".into(), Value::from(text));
    Ok(Value::Object(body))
}

/// A version with everything.
pub(super) fn full(registry: &Registry, found: &SubjectVersion, form: Form) -> Result<Value, RegistryError> {
    let mut head = Map::new();
    head.insert("subject".into(), json!(found.subject));
    head.insert("version".into(), json!(found.version));
    head.insert("id".into(), json!(found.schema.id));
    head.insert("guid".into(), json!(found.guid()));
    if found.deleted {
        head.insert("deleted".into(), json!(true));
    }
    with_schema(head, registry, (&found.schema, &found.annotations), form)
}
