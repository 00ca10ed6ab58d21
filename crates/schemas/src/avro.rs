//! Avro schemas: whether they are valid, what their names stand for, which texts are the same.
//!
//! Owns: all use of the `apache-avro` crate. It judges what may be registered; columns are made from the document
//! itself, because the crate's own form no longer knows what a `uuid` is stored as.
//! Does not own: columns (decode).
//! Invariants: a document is nested at most `DEPTH_MAX` deep before anything walks it.
//! Source: Apache Avro 1.12 specification.

use std::collections::HashMap;

use apache_avro::Schema;
use serde_json::{Map, Value};

use crate::registry::{ReferencedSchema, ResolvedSchema};

/// Deepest nesting of a schema document.
const DEPTH_MAX: usize = 64;

/// Names of the types that are no named types.
pub(crate) const PRIMITIVES: [&str; 8] =
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// Parses a schema's text and checks its nesting.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
    if crate::dialect::deeper_than(&value, DEPTH_MAX) {
        return Err(format!("it is nested deeper than {DEPTH_MAX} levels"));
    }
    Ok(value)
}

/// Checks a schema together with what it refers to.
pub(crate) fn check(resolved: &ResolvedSchema) -> Result<(), String> {
    parse(&resolved.schema.schema)?;
    for ReferencedSchema { name, schema } in &resolved.references {
        parse(&schema.schema).map_err(|e| format!("reference {name}: {e}"))?;
    }
    let text = resolved.schema.schema.as_str();
    let parsed = if resolved.references.is_empty() {
        Schema::parse_str(text).map(|_| ())
    } else {
        let others = resolved.references.iter().map(|r| r.schema.schema.as_str());
        Schema::parse_str_with_list(text, others).map(|_| ())
    };
    parsed.map_err(|e| {
        let mut message: String = e.to_string().chars().take(500).collect();
        let mut cause = std::error::Error::source(&e);
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            cause = inner.source();
        }
        message
    })
}

/// The document in a form that is the same for texts that mean the same: the order of attributes does not count
/// (fields are in arrays), nor whether a bare type is written as `"long"` or `{"type": "long"}`.
pub(crate) fn normalized(document: &Value) -> Value {
    match document {
        Value::Object(members) if members.len() == 1 && is_primitive(members.get("type")) => {
            members["type"].clone()
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_str());
            Value::Object(
                sorted
                    .into_iter()
                    .map(|(name, value)| {
                        // A default is a value, not a schema.
                        let value = if name == "default" { value.clone() } else { normalized(value) };
                        (name.clone(), value)
                    })
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(normalized).collect()),
        other => other.clone(),
    }
}

fn is_primitive(name: Option<&Value>) -> bool {
    name.and_then(Value::as_str).is_some_and(|name| PRIMITIVES.contains(&name))
}

/// A named type where it is defined, and the namespace that holds within it.
#[derive(Debug, Clone)]
pub(crate) struct Named<'a> {
    pub(crate) definition: &'a Map<String, Value>,
    pub(crate) namespace: String,
}

/// The named types of some documents, by full name.
#[derive(Debug, Default)]
pub(crate) struct Names<'a>(HashMap<String, Named<'a>>);

impl<'a> Names<'a> {
    /// Takes in all types that a document defines.
    pub(crate) fn collect(&mut self, schema: &'a Value, namespace: &str) {
        match schema {
            Value::Array(branches) => branches.iter().for_each(|branch| self.collect(branch, namespace)),
            Value::Object(members) => self.collect_object(members, namespace),
            _ => {}
        }
    }

    fn collect_object(&mut self, members: &'a Map<String, Value>, namespace: &str) {
        let kind = members.get("type");
        let mut within = namespace.to_owned();
        if let Some("record" | "error" | "enum" | "fixed") = kind.and_then(Value::as_str) {
            let (full_name, namespace) = full_name(members, namespace);
            within.clone_from(&namespace);
            self.0.insert(full_name, Named { definition: members, namespace });
        }
        if let Some(inner @ (Value::Object(_) | Value::Array(_))) = kind {
            self.collect(inner, &within);
        }
        for part in ["items", "values"] {
            if let Some(inner) = members.get(part) {
                self.collect(inner, &within);
            }
        }
        for field in members.get("fields").and_then(Value::as_array).into_iter().flatten() {
            if let Some(inner) = field.get("type") {
                self.collect(inner, &within);
            }
        }
    }

    /// What a name stands for within a namespace, and its full name.
    pub(crate) fn find(&self, name: &str, namespace: &str) -> Option<(String, &Named<'a>)> {
        let qualified = if name.contains('.') || namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{namespace}.{name}")
        };
        match self.0.get(&qualified) {
            Some(found) => Some((qualified, found)),
            None => self.0.get(name).map(|found| (name.to_owned(), found)),
        }
    }
}

/// Full name of a definition, and the namespace that holds within it.
pub(crate) fn full_name(definition: &Map<String, Value>, namespace: &str) -> (String, String) {
    let name = definition.get("name").and_then(Value::as_str).unwrap_or_default();
    if let Some((namespace, _)) = name.rsplit_once('.') {
        return (name.to_owned(), namespace.to_owned());
    }
    let namespace = definition.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    let full = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") };
    (full, namespace.to_owned())
}
