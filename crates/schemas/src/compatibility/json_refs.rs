//! JSON Schema documents: where a `$ref` leads.
//!
//! Owns: pointers, anchors and names of other documents.
//! Does not own: what is done with the schema that is found.
//! Invariants: nothing is fetched: a document is the schema itself or one of its references; a chain of references ends
//! after `CHAIN_MAX`.

use std::collections::HashMap;

use serde_json::Value;

use crate::registry::ResolvedSchema;
use crate::{dialect, validity};

/// Most references that are followed one after the other without anything beside them.
const CHAIN_MAX: usize = 32;

/// A schema with those it refers to.
pub(super) struct Documents {
    main: Value,
    others: HashMap<String, Value>,
    /// Whether what stands beside a `$ref` counts: since draft 2019-09.
    siblings_count: bool,
}

/// A schema, and the document that it stands in.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) schema: &'a Value,
    pub(super) root: &'a Value,
}

impl<'a> At<'a> {
    pub(super) fn of(self, schema: &'a Value) -> Self {
        Self { schema, root: self.root }
    }

    pub(super) fn member(self, name: &str) -> Option<Self> {
        self.schema.get(name).map(|schema| self.of(schema))
    }

    /// The address of the schema: the same schema has the same one.
    pub(super) fn address(self) -> usize {
        std::ptr::from_ref(self.schema) as usize
    }
}

impl Documents {
    pub(super) fn parse(resolved: &ResolvedSchema) -> Result<Self, String> {
        let main = dialect::parse(&resolved.schema.schema)?;
        let named = main.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let siblings_count = named.contains("2019-09") || named.contains("2020-12");
        Ok(Self { main, others: validity::documents(&resolved.references)?, siblings_count })
    }

    pub(super) fn root(&self) -> At<'_> {
        At { schema: &self.main, root: &self.main }
    }

    pub(super) fn siblings_count(&self) -> bool {
        self.siblings_count
    }

    /// The schema itself, or what it stands for when it is nothing but a reference.
    pub(super) fn followed<'a>(&'a self, at: At<'a>) -> At<'a> {
        let alone = at.schema.as_object().is_some_and(|members| members.len() == 1);
        if at.schema.get("$ref").is_some() && (alone || !self.siblings_count) {
            return self.target(at).unwrap_or(at);
        }
        at
    }

    /// What a schema's `$ref`s lead to in the end; none when they lead nowhere or in a circle.
    pub(super) fn target<'a>(&'a self, at: At<'a>) -> Option<At<'a>> {
        let mut at = self.step(at)?;
        for _ in 0..CHAIN_MAX {
            // What stands beside it is looked at by whoever compares the schema.
            if self.siblings_count && at.schema.as_object().is_some_and(|members| members.len() > 1) {
                return Some(at);
            }
            match self.step(at) {
                Some(next) => at = next,
                None if at.schema.get("$ref").is_some() => return None,
                None => return Some(at),
            }
        }
        None
    }

    fn step<'a>(&'a self, at: At<'a>) -> Option<At<'a>> {
        let text = at.schema.get("$ref")?.as_str()?;
        let (document, fragment) = text.split_once('#').unwrap_or((text, ""));
        let root = if document.is_empty() || at.root.get("$id").and_then(Value::as_str) == Some(document) {
            at.root
        } else {
            self.document(document)?
        };
        let schema = match fragment {
            "" => Some(root),
            pointer if pointer.starts_with('/') => root.pointer(&decoded(pointer)),
            anchor => anchored(root, anchor),
        };
        schema.map(|schema| At { schema, root })
    }

    fn document(&self, name: &str) -> Option<&Value> {
        if let Some(found) = self.others.get(name) {
            return Some(found);
        }
        let is = |known: &String, document: &Value| {
            document.get("$id").and_then(Value::as_str) == Some(name)
                || name.strip_suffix(known.as_str()).is_some_and(|base| base.ends_with('/'))
        };
        let found = self.others.iter().find(|(known, document)| is(known, document));
        found.map(|(_, document)| document).or_else(|| identified(&self.main, name))
    }
}

/// The schema within a document that calls itself by `$anchor` (or `$id: "#…"`, before draft 2019-09).
fn anchored<'a>(within: &'a Value, anchor: &str) -> Option<&'a Value> {
    search(within, &|members| {
        let is = |name: &str| members.get(name).and_then(Value::as_str);
        is("$anchor") == Some(anchor)
            || is("$dynamicAnchor") == Some(anchor)
            || is("$id").and_then(|id| id.strip_prefix('#')) == Some(anchor)
    })
}

/// The schema within a document that has an `$id` of its own.
fn identified<'a>(within: &'a Value, id: &str) -> Option<&'a Value> {
    search(within, &|members| members.get("$id").and_then(Value::as_str) == Some(id))
}

/// Nested at most as deep as a document may be.
fn search<'a>(within: &'a Value, is: &dyn Fn(&serde_json::Map<String, Value>) -> bool) -> Option<&'a Value> {
    match within {
        Value::Object(members) if is(members) => Some(within),
        Value::Object(members) => members.values().find_map(|value| search(value, is)),
        Value::Array(items) => items.iter().find_map(|value| search(value, is)),
        _ => None,
    }
}

/// `%XX` of a URI's fragment.
fn decoded(pointer: &str) -> String {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = (*byte == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(value) => {
                bytes.push(value);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
