//! The forms of a schema's text: as registered, normal, with everything inlined, serialized.
//!
//! Owns: what `normalize` and `format` make of a text.
//! Does not own: which schemas are the same (`identity`).
//! Source: Confluent's `format` of `GET /schemas/ids/{id}`: `resolved` for Avro, `serialized` for Protobuf.

use std::collections::HashSet;

use base64::Engine;
use prost_reflect::prost::Message;
use serde_json::{Map, Value};

use super::{NewSchema, Registry, RegistryError, SchemaType};
use crate::avro::{self, Names};
use crate::{dialect, protobuf};

/// Longest text that inlining may make, in bytes.
const RESOLVED_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting that inlining may make.
const RESOLVED_DEPTH_MAX: usize = 100;

/// How a schema is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// As it was registered.
    #[default]
    Text,
    /// Avro: with the types of its references inlined.
    Resolved,
    /// Protobuf: a base64 `FileDescriptorProto`.
    Serialized,
}

/// The normal form of a schema: members sorted, no white space. Protobuf keeps its text.
pub(super) fn normal(schema: NewSchema) -> Result<NewSchema, RegistryError> {
    let invalid = |reason| RegistryError::InvalidSchema { reason };
    let text = match schema.schema_type {
        SchemaType::Json => sorted(&dialect::parse(&schema.schema).map_err(invalid)?).to_string(),
        SchemaType::Avro => avro::normalized(&avro::parse(&schema.schema).map_err(invalid)?).to_string(),
        SchemaType::Protobuf => schema.schema.clone(),
    };
    Ok(NewSchema { schema: text, ..schema })
}

/// The normal form of a text that was valid once.
pub(super) fn normal_text(schema_type: SchemaType, text: &str) -> String {
    let schema = NewSchema { schema_type, schema: text.to_owned(), references: Vec::new() };
    normal(schema).map_or_else(|_| text.to_owned(), |schema| schema.schema)
}

/// Documents are nested at most `dialect`'s depth.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut all: Vec<_> = members.iter().collect();
            all.sort_by_key(|(name, _)| name.as_str());
            Value::Object(all.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

impl Registry {
    /// A schema's text in a form. One that the schema's type does not have leaves it as it is, as with Confluent.
    pub fn text_as(&self, id: base::SchemaId, form: Form) -> Result<String, RegistryError> {
        let resolved = self.resolve(id)?;
        let invalid = |reason| RegistryError::InvalidSchema { reason };
        match (form, resolved.schema.schema_type) {
            (Form::Resolved, SchemaType::Avro) => {
                let others = resolved.references.iter().map(|r| avro::parse(&r.schema.schema));
                let others = others.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
                let main = avro::parse(&resolved.schema.schema).map_err(invalid)?;
                let mut names = Names::default();
                others.iter().for_each(|document| names.collect(document, ""));
                let mut inliner = Inliner { names, seen: HashSet::new(), left: RESOLVED_BYTES_MAX, depth: 0 };
                let whole = inliner.inline(&main, "").map_err(invalid)?;
                Ok(whole.to_string())
            }
            (Form::Serialized, SchemaType::Protobuf) => {
                let compiled = protobuf::compile(&resolved).map_err(invalid)?;
                let mut descriptor = compiled.file.file_descriptor_proto().clone();
                descriptor.source_code_info = None;
                Ok(base64::engine::general_purpose::STANDARD.encode(descriptor.encode_to_vec()))
            }
            _ => Ok(resolved.schema.schema.clone()),
        }
    }
}

/// Puts the definitions of other documents where their names are used first.
struct Inliner<'a> {
    names: Names<'a>,
    seen: HashSet<String>,
    left: usize,
    depth: usize,
}

impl<'a> Inliner<'a> {
    fn inline(&mut self, schema: &Value, namespace: &str) -> Result<Value, String> {
        if self.depth == RESOLVED_DEPTH_MAX {
            return Err(format!(
                "it is nested deeper than {RESOLVED_DEPTH_MAX} levels with its references inlined"
            ));
        }
        self.depth += 1;
        let inlined = match schema {
            Value::String(name) => self.name(name, namespace),
            Value::Array(branches) => branches
                .iter()
                .map(|branch| self.inline(branch, namespace))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Value::Object(members) => self.definition(members, namespace),
            other => Ok(other.clone()),
        };
        self.depth -= 1;
        inlined
    }

    fn name(&mut self, name: &str, namespace: &str) -> Result<Value, String> {
        let Some((full_name, found)) = self.names.find(name, namespace).map(|(n, f)| (n, f.clone())) else {
            return Ok(Value::from(name));
        };
        if self.seen.contains(&full_name) {
            return Ok(Value::from(full_name));
        }
        let size = Value::Object(found.definition.clone()).to_string().len();
        self.left = self.left.checked_sub(size).ok_or("it is too large with its references inlined")?;
        let mut inlined = self.definition(found.definition, &found.namespace)?;
        if let Value::Object(members) = &mut inlined {
            // Where it stands now another namespace may hold.
            let (full_name, _) = avro::full_name(found.definition, &found.namespace);
            members.insert("name".into(), Value::from(full_name));
            members.remove("namespace");
        }
        Ok(inlined)
    }

    fn definition(&mut self, members: &Map<String, Value>, namespace: &str) -> Result<Value, String> {
        let mut within = namespace.to_owned();
        if matches!(members.get("type").and_then(Value::as_str), Some("record" | "error" | "enum" | "fixed"))
        {
            let (full_name, of_name) = avro::full_name(members, namespace);
            self.seen.insert(full_name);
            within = of_name;
        }
        let mut inlined = Map::new();
        for (name, value) in members {
            let value = match (name.as_str(), value) {
                ("type", Value::String(kind))
                    if matches!(kind.as_str(), "record" | "error" | "enum" | "fixed" | "array" | "map") =>
                {
                    value.clone()
                }
                ("type" | "items" | "values", _) => self.inline(value, &within)?,
                ("fields", Value::Array(fields)) => {
                    let all = fields.iter().map(|field| self.field(field, &within));
                    Value::Array(all.collect::<Result<_, _>>()?)
                }
                _ => value.clone(),
            };
            inlined.insert(name.clone(), value);
        }
        Ok(Value::Object(inlined))
    }

    fn field(&mut self, field: &Value, namespace: &str) -> Result<Value, String> {
        let Some(members) = field.as_object() else { return Ok(field.clone()) };
        let mut inlined = members.clone();
        if let Some(schema) = members.get("type") {
            inlined.insert("type".into(), self.inline(schema, namespace)?);
        }
        Ok(Value::Object(inlined))
    }
}
