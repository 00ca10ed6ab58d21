//! JSON Schema without references and `allOf`.
//!
//! Owns: following `$ref` within a document and into the schemas it refers to; merging what `allOf`, and what stands
//! beside a `$ref`, demand of one value.
//! Does not own: columns; what a keyword means for values (the validator holds values against the documents as they are).
//! Invariants: the result is finite: a reference that leads back to itself is refused, and so is a schema that grows
//! beyond `NODES_MAX`.

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::super::SetupError;
use super::{RESTRICTING, SHAPING};
use crate::dialect;
use crate::registry::ResolvedSchema;

/// Deepest nesting of schemas, references included.
const DEPTH_MAX: usize = 64;
/// Most schemas of the result.
const NODES_MAX: usize = 8_000;

/// A schema that stands for itself.
pub(super) struct Flat {
    pub(super) schema: Value,
    /// Merging left out something that only the validator can hold values against.
    pub(super) restricted: bool,
}

/// Follows and merges everything in a schema.
pub(super) fn flatten(resolved: &ResolvedSchema) -> Result<Flat, SetupError> {
    let id = resolved.schema.id;
    let at_root = |reason: String| SetupError::Unsupported { id, path: "$".into(), reason };
    let mut documents = vec![Document::parse("", &resolved.schema.schema).map_err(at_root)?];
    for reference in &resolved.references {
        documents.push(Document::parse(&reference.name, &reference.schema.schema).map_err(at_root)?);
    }
    let mut flattener =
        Flattener { id, documents: &documents, nodes: 0, open: Vec::new(), restricted: false };
    let schema = flattener.schema(&documents[0].root, 0, "$", 0)?;
    Ok(Flat { schema, restricted: flattener.restricted })
}

/// A schema document.
struct Document {
    /// The name it is referred to by.
    name: String,
    root: Value,
    draft: Draft,
}

impl Document {
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let root = dialect::parse(text)?;
        let draft = dialect::draft_of(&root)?;
        Ok(Self { name: name.to_owned(), root, draft })
    }

    /// What the document calls itself.
    fn own_id(&self) -> Option<&str> {
        let id = self.root.get("$id").or_else(|| self.root.get("id"))?.as_str()?;
        Some(id.trim_end_matches('#'))
    }
}

struct Flattener<'a> {
    id: i32,
    documents: &'a [Document],
    nodes: usize,
    /// References that are being followed: document and place.
    open: Vec<(usize, String)>,
    restricted: bool,
}

impl<'a> Flattener<'a> {
    fn refuse<T>(&self, path: &str, reason: impl Into<String>) -> Result<T, SetupError> {
        Err(SetupError::Unsupported { id: self.id, path: path.to_owned(), reason: reason.into() })
    }

    fn schema(
        &mut self,
        schema: &'a Value,
        document: usize,
        path: &str,
        depth: usize,
    ) -> Result<Value, SetupError> {
        let Value::Object(members) = schema else { return Ok(schema.clone()) };
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self
                .refuse(path, format!("with its references the schema has more than {NODES_MAX} parts"));
        }
        if depth > DEPTH_MAX {
            return self.refuse(path, format!("it is nested deeper than {DEPTH_MAX} levels"));
        }
        let Some(target) = members.get("$ref") else { return self.members(members, document, path, depth) };
        let referred = self.reference(target, document, path, depth)?;
        // Up to draft-07 what stands beside `$ref` does not count.
        let counts = matches!(self.documents[document].draft, Draft::Draft201909 | Draft::Draft202012);
        let demands = |(key, _): &(&String, &Value)| {
            *key != "$ref"
                && [SHAPING, RESTRICTING, &["format"]].iter().any(|words| words.contains(&key.as_str()))
        };
        if !counts || !members.iter().any(|member| demands(&member)) {
            return Ok(referred);
        }
        let beside = self.members(members, document, path, depth)?;
        self.merge(referred, beside, path)
    }

    /// A schema but for its `$ref`.
    fn members(
        &mut self,
        members: &'a Map<String, Value>,
        document: usize,
        path: &str,
        depth: usize,
    ) -> Result<Value, SetupError> {
        let mut out = Map::new();
        for (key, value) in members {
            let value = match (key.as_str(), value) {
                ("$ref" | "allOf" | "$defs" | "definitions", _) => continue,
                ("properties", Value::Object(properties)) => {
                    let mut flat = Map::new();
                    for (name, property) in properties {
                        let property =
                            self.schema(property, document, &format!("{path}.{name}"), depth + 1)?;
                        flat.insert(name.clone(), property);
                    }
                    Value::Object(flat)
                }
                ("items", Value::Object(_)) => {
                    self.schema(value, document, &format!("{path}[]"), depth + 1)?
                }
                ("additionalProperties", Value::Object(_)) => {
                    self.schema(value, document, &format!("{path}{{}}"), depth + 1)?
                }
                ("oneOf" | "anyOf", Value::Array(branches)) => {
                    let flat = branches.iter().map(|b| self.schema(b, document, path, depth + 1));
                    Value::Array(flat.collect::<Result<_, _>>()?)
                }
                _ => value.clone(),
            };
            out.insert(key.clone(), value);
        }
        let mut merged = Value::Object(out);
        for branch in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let branch = self.schema(branch, document, path, depth + 1)?;
            merged = self.merge(merged, branch, path)?;
        }
        Ok(merged)
    }

    fn reference(
        &mut self,
        target: &'a Value,
        document: usize,
        path: &str,
        depth: usize,
    ) -> Result<Value, SetupError> {
        let target = target.as_str().unwrap_or_default();
        let (name, place) = target.split_once('#').unwrap_or((target, ""));
        let Some(document) = self.find(name, document) else {
            let reason = format!("`$ref` to {target}: {name} is not among the schema's references");
            return self.refuse(path, reason);
        };
        if !place.is_empty() && !place.starts_with('/') {
            return self.refuse(path, format!("`$ref` to {target}: anchors are not followed, use `#/…`"));
        }
        if self.open.iter().any(|open| open.0 == document && open.1 == place) {
            return self.refuse(path, format!("`$ref` to {target} is recursive: columns have a fixed depth"));
        }
        let root = &self.documents[document].root;
        let Some(found) = percent_decoded(place).and_then(|place| root.pointer(&place)) else {
            return self.refuse(path, format!("`$ref` to {target}: there is no such place"));
        };
        self.open.push((document, place.to_owned()));
        let flat = self.schema(found, document, path, depth + 1);
        self.open.pop();
        flat
    }

    /// The document that a name stands for, seen from another one.
    fn find(&self, name: &str, from: usize) -> Option<usize> {
        let own = &self.documents[from];
        if name.is_empty() || own.own_id() == Some(name) || (from > 0 && own.name == name) {
            return Some(from);
        }
        let is_named = |document: &Document| {
            // A name may be given relative to where the document says it lies.
            document.name == name || name.strip_suffix(&document.name).is_some_and(|base| base.ends_with('/'))
        };
        let named = self.documents.iter().skip(1).position(is_named).map(|index| index + 1);
        named.or_else(|| self.documents.iter().position(|document| document.own_id() == Some(name)))
    }

    /// A schema that demands what both do.
    fn merge(&mut self, first: Value, second: Value, path: &str) -> Result<Value, SetupError> {
        let (mut first, second) = match (first, second) {
            (Value::Object(first), Value::Object(second)) => (first, second),
            (schema, Value::Bool(true)) | (Value::Bool(true), schema) => return Ok(schema),
            _ => return self.refuse(path, "`allOf` with `false` takes no value"),
        };
        if first.is_empty() {
            return Ok(Value::Object(second));
        }
        for (key, other) in second {
            // In place, because the order of members is the order of columns.
            match first.get_mut(&key) {
                None => drop(first.insert(key, other)),
                Some(known) if *known == other => {}
                Some(known) => {
                    let before = known.take();
                    *known = self.merge_keyword(&key, before, other, path)?;
                }
            }
        }
        // What is forbidden beside the members of one part may be a member of the other: the validator knows.
        if first.get("additionalProperties") == Some(&Value::Bool(false)) {
            first.shift_remove("additionalProperties");
            self.restricted = true;
        }
        Ok(Value::Object(first))
    }

    fn merge_keyword(
        &mut self,
        key: &str,
        known: Value,
        other: Value,
        path: &str,
    ) -> Result<Value, SetupError> {
        match (key, known, other) {
            ("properties", Value::Object(mut known), Value::Object(other)) => {
                for (name, property) in other {
                    let path = format!("{path}.{name}");
                    match known.get_mut(&name) {
                        None => drop(known.insert(name, property)),
                        Some(both) => {
                            let before = both.take();
                            *both = self.merge(before, property, &path)?;
                        }
                    }
                }
                Ok(Value::Object(known))
            }
            ("required", Value::Array(mut known), Value::Array(other)) => {
                known.extend(other);
                Ok(Value::Array(known))
            }
            ("type", known, other) => match common_types(&known, &other).as_slice() {
                [] => self.refuse(path, format!("`allOf` with the types {known} and {other} takes no value")),
                types => Ok(Value::Array(types.iter().map(|t| Value::from(*t)).collect())),
            },
            ("additionalProperties", Value::Bool(false), _)
            | ("additionalProperties", _, Value::Bool(false)) => Ok(Value::Bool(false)),
            ("items" | "additionalProperties", known, other) => self.merge(known, other, path),
            ("format" | "oneOf" | "anyOf" | "patternProperties" | "not" | "if", ..) => {
                self.refuse(path, format!("`allOf` with more than one `{key}` is not supported: merge them"))
            }
            // One of them shapes or restricts as well as the other; the validator holds values against both.
            (_, known, _) => {
                self.restricted |= RESTRICTING.contains(&key);
                Ok(known)
            }
        }
    }
}

/// The types that both allow.
fn common_types(a: &Value, b: &Value) -> Vec<&'static str> {
    let allows = |types: &Value, name: &str| match types {
        Value::String(one) => one == name,
        Value::Array(several) => several.iter().any(|one| one == name),
        _ => false,
    };
    let either =
        |types: &Value, name: &str| allows(types, name) || (name == "integer" && allows(types, "number"));
    let names = ["null", "boolean", "integer", "number", "string", "object", "array"];
    let both: Vec<&str> = names.into_iter().filter(|name| either(a, name) && either(b, name)).collect();
    let number = both.contains(&"number");
    both.into_iter().filter(|name| !(number && *name == "integer")).collect()
}

/// Undoes `%41`; none when the result is no UTF-8 or an escape is cut short.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: u8| char::from(b).to_digit(16);
            bytes.push((digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
